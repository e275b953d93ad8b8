from __future__ import annotations

import logging
import os
import shlex
import signal
import threading
import time
from pathlib import Path

import pytest

from ganeti.base import proc
from ganeti.base.errors import CommandError
from ganeti.base.proc import RecordingRunner, Result, Runner, run
from ganeti.base.retry import wait_until
from ganeti.base.secret import Secret

SH = ("sh", "-c")


def test_output_and_status_are_returned() -> None:
    assert run([*SH, "echo out; echo err >&2"]) == Result((*SH, "echo out; echo err >&2"), 0, "out\n", "err\n")


def test_streams_can_be_merged_in_order() -> None:
    assert run([*SH, "echo 1; echo 2 >&2; echo 3"], merge_stderr=True).stdout == "1\n2\n3\n"


def test_input_is_text_bytes_or_nothing() -> None:
    assert run(["cat"], input="straße").stdout == "straße"
    assert run(["cat"], input=b"a\xffb").stdout == "a�b"
    assert run(["cat"]).stdout == ""
    assert run(["true"], input="x" * 1_000_000).status == 0


def test_environment_is_clean_unless_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_CALLER", "1")
    assert set(run(["env"]).stdout.split("\n")) - {""} == {f"PATH={proc.SEARCH_PATH}", "LANG=C"}
    assert run(["/usr/bin/env"], env={"A": "b c"}).stdout == "A=b c\n"
    assert proc.clean_environment({"LANG": "C.UTF-8"})["LANG"] == "C.UTF-8"


def test_working_directory_is_chosen(tmp_path: Path) -> None:
    assert run(["pwd"], cwd=str(tmp_path)).stdout == f"{tmp_path}\n"
    with pytest.raises(CommandError, match="in /nonexistent: No such file"):
        run(["pwd"], cwd="/nonexistent")


def test_failure_names_command_status_and_the_end_of_the_output() -> None:
    with pytest.raises(CommandError) as caught:
        run([*SH, "seq 30; echo 'it broke' >&2; exit 5"])
    lines = caught.value.message.split("\n")
    assert lines[0] == "command failed (exit status 5): sh -c 'seq 30; echo '\"'\"'it broke'\"'\"' >&2; exit 5'"
    assert len(lines) == 21 and lines[-1] == "30"
    result = caught.value.result
    assert result.status == 5 and result.stderr == "it broke\n" and result.stdout.startswith("1\n2\n")


def test_expected_statuses_are_no_failure() -> None:
    assert run([*SH, "exit 3"], ok=(0, 3)).status == 3
    assert run([*SH, "kill -9 $$"], ok=proc.ANY_STATUS).describe_status() == "killed by SIGKILL"
    with pytest.raises(CommandError, match="killed by SIGTERM"):
        run([*SH, "kill -15 $$"])
    with pytest.raises(CommandError, match="exit status 0"):
        run(["true"], ok=(1,))


def test_missing_program_is_a_failure_with_a_hint() -> None:
    with pytest.raises(CommandError, match="cannot be started: No such file or directory; is its package installed") as caught:
        run(["no-such-program-here", "--now"])
    assert caught.value.result.status == proc.NOT_STARTED


def test_secrets_cannot_become_arguments() -> None:
    with pytest.raises(TypeError, match="not Secret"):
        run(["echo", Secret("x")])  # type: ignore[list-item]


def process_exists(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_command_that_takes_too_long_is_ended_with_its_children() -> None:
    started = time.monotonic()
    with pytest.raises(CommandError, match="took longer than 0.4 s and was ended") as caught:
        run([*SH, "sleep 60 & echo $!; wait"], timeout=0.4)
    assert time.monotonic() - started < 2.4
    assert not process_exists(int(caught.value.result.stdout))


def test_command_that_ignores_the_polite_signal_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    process = proc.start([*SH, "trap '' TERM; echo ready; while :; do sleep 0.05; done"], stdout=proc.PIPE)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert proc.stop(process, grace=0.05) == -signal.SIGKILL


def test_child_that_left_the_group_does_not_hold_up_the_caller() -> None:
    started = time.monotonic()
    with pytest.raises(CommandError) as caught:
        run([*SH, "setsid sleep 60 & echo $!; wait"], timeout=0.4)
    assert time.monotonic() - started < 3
    pid = int(caught.value.result.stdout.split()[0])
    # setsid forks only if it leads a group, which a background job of a shell without job control does not.
    os.kill(pid, signal.SIGKILL)


def test_interrupted_caller_leaves_no_command_behind(tmp_path: Path) -> None:
    note = tmp_path / "pid"

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    def alarm() -> None:
        wait_until(lambda: note.exists() and note.read_text(), timeout=10, interval=0.01)
        os.kill(os.getpid(), signal.SIGALRM)

    before = signal.signal(signal.SIGALRM, interrupt)
    thread = threading.Thread(target=alarm)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            run([*SH, f"echo $$ > {shlex.quote(str(note))}; sleep 60"])
    finally:
        thread.join()
        signal.signal(signal.SIGALRM, before)
    assert not process_exists(int(note.read_text()))


def test_log_file_collects_the_output_of_several_commands(tmp_path: Path) -> None:
    path = tmp_path / "os.log"
    assert run([*SH, "echo one; echo two >&2"], log_file=str(path)).stdout == ""
    with pytest.raises(CommandError) as caught:
        run([*SH, "echo three; exit 1"], log_file=str(path))
    assert path.read_text() == "one\ntwo\nthree\n"
    assert caught.value.message.endswith("exit 1'\nthree")
    assert path.stat().st_mode & 0o777 == 0o600


def test_log_line_can_be_pasted_into_a_shell(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    caplog.set_level(logging.DEBUG, "ganeti.base.proc")
    words = ["echo", "two words", "it's", "$HOME", ""]
    output = run(words, cwd=str(tmp_path)).stdout
    (line,) = [record.getMessage() for record in caplog.records if record.getMessage().startswith("cd ")]
    assert run([*SH, line]).stdout == output == "two words it's $HOME \n"


def test_started_command_runs_in_its_own_session_until_stopped(tmp_path: Path) -> None:
    path = tmp_path / "log"
    process = proc.start([*SH, "echo started; sleep 60"], log_file=str(path))
    assert os.getsid(process.pid) == process.pid
    while path.read_text() != "started\n":
        time.sleep(0.01)
    assert proc.stop(process) == -signal.SIGTERM
    assert proc.stop(process) == -signal.SIGTERM


def test_started_command_gets_only_the_descriptors_named() -> None:
    reader, writer = os.pipe()
    with proc.start([*SH, f"echo hello >/dev/fd/{writer}"], pass_fds=[writer]) as process:
        os.close(writer)
        assert os.read(reader, 100) == b"hello\n"
    assert process.returncode == 0
    os.close(reader)


def list_volumes(runner: Runner) -> list[str]:
    return runner(["lvs", "--noheadings"], timeout=5).stdout.split()


def test_recording_runner_answers_and_remembers() -> None:
    runner = RecordingRunner([(["lvs"], "a b\n"), (["lvremove", "-f"], 0), (["unused"], 0)])
    assert list_volumes(runner) == ["a", "b"]
    assert runner(["lvremove", "-f", "x y"], input=b"yes").status == 0
    assert runner.commands == ["lvs --noheadings", "lvremove -f 'x y'"]
    assert runner.calls[1].input == "yes"
    assert runner.unused() == ["unused"]


def test_recording_runner_judges_statuses_as_the_real_one() -> None:
    runner = RecordingRunner([(["lvs"], Result(("lvs",), 5, "", "no such group\n"))])
    assert runner(["lvs"], ok=(5,)).stderr == "no such group\n"
    with pytest.raises(CommandError, match="exit status 5\\): lvs\nno such group"):
        runner(["lvs"])


def test_recording_runner_computes_raises_and_refuses() -> None:
    runner = RecordingRunner([(["echo"], lambda call: " ".join(call.argv[1:])), (["boom"], CommandError("gone"))])
    assert runner(["echo", "a", "b"]).stdout == "a b"
    with pytest.raises(CommandError, match="gone"):
        runner(["boom"])
    with pytest.raises(LookupError, match="no answer for: other -x"):
        runner(["other", "-x"])
    assert RecordingRunner(default="")(["whatever"]).stdout == ""
