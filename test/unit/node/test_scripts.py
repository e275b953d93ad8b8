from __future__ import annotations

import os
import stat
import threading
import time
from pathlib import Path

import pytest

from ganeti.base.errors import CommandError
from ganeti.base.retry import wait_until
from ganeti.node.scripts import Scripts

ENV = {"PATH": os.defpath}


def script(folder: Path, body: str) -> str:
    path = folder / "script"
    path.write_text("#!/bin/sh\n" + body)
    path.chmod(0o755)
    return str(path)


def test_output_and_status_are_returned(tmp_path: Path) -> None:
    result = Scripts().run([script(tmp_path, "echo out; echo err >&2; exit 3")], env=ENV, timeout=10)
    assert (result.status, result.output, result.ok) == (3, "out\nerr\n", False)
    assert result.describe(10) == "exit status 3"


def test_environment_is_exactly_what_was_given(tmp_path: Path) -> None:
    result = Scripts().run([script(tmp_path, "env | grep -v '^_=\\|^PWD=' | sort")], env={**ENV, "A": "b c"}, timeout=10)
    assert result.output.splitlines() == ["A=b c", f"PATH={os.defpath}"]


def test_output_goes_to_a_private_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    result = Scripts().run([script(tmp_path, "seq 30")], env=ENV, timeout=10, log_file=str(log))
    assert log.read_text().splitlines() == [str(number) for number in range(1, 31)]
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert result.tail().splitlines() == [str(number) for number in range(11, 31)]


def test_late_script_is_ended_with_its_children(tmp_path: Path) -> None:
    body = f"sh -c 'echo $$ > {tmp_path}/child; trap \"\" TERM; sleep 300' & wait"
    begun = time.monotonic()
    result = Scripts().run([script(tmp_path, body)], env=ENV, timeout=0.3)
    assert time.monotonic() - begun < 10
    assert result.late and not result.ok
    assert "took longer than 0.3 s" in result.describe(0.3)
    assert_dead(int((tmp_path / "child").read_text()))


def test_children_left_behind_are_ended(tmp_path: Path) -> None:
    result = Scripts().run([script(tmp_path, f"sleep 300 & echo $! > {tmp_path}/child")], env=ENV, timeout=10)
    assert result.ok
    assert_dead(int((tmp_path / "child").read_text()))


def assert_dead(pid: int) -> None:
    def is_dead() -> bool:
        # A zombie has ended; in a container nobody may ever reap it.
        try:
            return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
        except FileNotFoundError:
            return True

    wait_until(is_dead, timeout=5, interval=0.01, what=f"process {pid} to end")


def test_secrets_are_blanked_out_of_log_and_result(tmp_path: Path) -> None:
    log = tmp_path / "log"
    result = Scripts().run(
        [script(tmp_path, 'echo "the key is $KEY"; exit 1')],
        env={**ENV, "KEY": "hunter22"},
        timeout=10,
        log_file=str(log),
        secrets=["hunter22"],
    )
    assert result.output == log.read_text() == "the key is <redacted>\n"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_missing_script_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="cannot be started"):
        Scripts().run([str(tmp_path / "nothing")], env=ENV, timeout=10)


def test_closing_ends_what_runs_and_starts_no_more(tmp_path: Path) -> None:
    scripts = Scripts()
    results = []
    body = f"echo $$ > {tmp_path}/pid; sleep 300"
    thread = threading.Thread(target=lambda: results.append(scripts.run([script(tmp_path, body)], env=ENV, timeout=60)))
    thread.start()
    wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), timeout=5, interval=0.01)
    scripts.close()
    thread.join(5)
    assert [result.ok for result in results] == [False]
    with pytest.raises(CommandError, match="is stopping"):
        scripts.run(["/bin/true"], env=ENV, timeout=1)
