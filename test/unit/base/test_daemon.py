from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ganeti.base import daemon
from ganeti.base.daemon import PidFile, read_pid, stop_daemon
from ganeti.base.errors import ExecError
from ganeti.base.flock import is_locked
from ganeti.base.paths import Paths
from ganeti.base.retry import wait_until

NAME = "ganeti-testd"

# A daemon whose behaviour the options choose; it ends by SIGTERM as asyncio daemons do.
PROGRAM = f"""#!{sys.executable} -Es
import asyncio, logging, os, signal, sys
from ganeti.base import daemon, errors
from ganeti.base.paths import Paths

def main(options, ready):
    if options.act == "not-master":
        raise errors.NotMaster("this is node2; the master is node1")
    if options.act == "bad-config":
        raise errors.ConfigError("no cluster here")
    if options.act == "crash":
        1 // 0
    if options.act == "die":
        os._exit(3)
    if options.act == "no-file":
        open("/nonexistent")
    if options.act == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        ready()
        while True:
            signal.pause()
    if options.act in ("fork", "fork-die") and os.fork() == 0:
        signal.pause()
    if options.act == "fork-die":
        os._exit(3)
    asyncio.run(serve(ready))

async def serve(ready):
    stop = asyncio.Event()
    daemon.install_signal_handlers(asyncio.get_running_loop(), stop.set, lambda: logging.info("reloaded"))
    logging.info("cwd %s, sid %s, umask %o", os.getcwd(), os.getsid(0) == os.getpid(), os.umask(0o77))
    ready()
    await stop.wait()

sys.exit(daemon.run_daemon({NAME!r}, main, Paths(sys.argv[1]), argv=sys.argv[2:],
         configure=lambda parser: parser.add_argument("--act", default="serve")))
"""


class Installation:
    """One root directory with the daemon program in it."""

    def __init__(self, root: Path) -> None:
        self.paths = Paths(str(root))
        self.program = root / NAME
        self.program.write_text(PROGRAM)
        self.program.chmod(0o755)
        self.pid_file = Path(self.paths.pid_file(NAME))
        self.log_file = Path(self.paths.log_file(NAME))

    def command(self, *options: str) -> list[str]:
        return [str(self.program), self.paths.root, *options]

    def start(self, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*options), capture_output=True, text=True, timeout=20, check=False)

    def log(self) -> str:
        return self.log_file.read_text()


@pytest.fixture
def installed(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


def test_start_returns_when_ready_and_stop_ends_it(installed: Installation) -> None:
    started = installed.start()
    assert (started.returncode, started.stdout, started.stderr) == (0, "", "")
    pid = read_pid(str(installed.pid_file))
    assert pid is not None and Path(f"/proc/{pid}/comm").read_text() == f"{NAME}\n"
    assert "cwd /, sid False, umask 77" in installed.log() and f"[{pid}]" in installed.log()
    assert {os.readlink(f"/proc/{pid}/fd/{number}") for number in range(3)} == {"/dev/null"}
    assert stop_daemon(str(installed.pid_file))
    assert installed.log().endswith(f"{NAME} ends\n") and "received SIGTERM" in installed.log()
    assert installed.pid_file.read_text() == "" and not is_locked(str(installed.pid_file))
    assert not stop_daemon(str(installed.pid_file))


def test_second_copy_is_refused_with_the_first_ones_number(installed: Installation) -> None:
    installed.start()
    pid = read_pid(str(installed.pid_file))
    second = installed.start()
    assert second.returncode == 1
    assert second.stderr == f"{NAME}: already running, as process {pid} according to {installed.pid_file}\n"
    assert read_pid(str(installed.pid_file)) == pid
    assert stop_daemon(str(installed.pid_file))
    assert installed.start().returncode == 0
    assert stop_daemon(str(installed.pid_file))


@pytest.mark.parametrize(
    ("act", "status", "message"),
    [
        ("not-master", 11, "this is node2; the master is node1"),
        ("bad-config", 2, "no cluster here"),
        ("crash", 1, "ZeroDivisionError: integer division or modulo by zero"),
        ("no-file", 1, "[Errno 2] No such file or directory: '/nonexistent'"),
        ("die", 1, "it died while starting, without a word; see its log"),
    ],
)
def test_error_before_ready_reaches_the_starter(installed: Installation, act: str, status: int, message: str) -> None:
    started = installed.start("--act", act)
    assert (started.returncode, started.stderr) == (status, f"{NAME}: {message}\n")
    assert act == "die" or message in installed.log()
    assert read_pid(str(installed.pid_file)) is None


def test_errors_of_our_program_leave_a_traceback_in_the_log(installed: Installation) -> None:
    installed.start("--act", "crash")
    assert "Traceback" in installed.log() and "1 // 0" in installed.log()


def test_log_that_cannot_be_written_is_reported(installed: Installation) -> None:
    installed.log_file.mkdir(parents=True)
    started = installed.start()
    assert started.returncode == 1 and "Is a directory" in started.stderr


def test_hangup_reopens_the_log_and_reloads(installed: Installation) -> None:
    installed.start()
    pid = read_pid(str(installed.pid_file))
    assert pid
    rotated = installed.log_file.with_suffix(".1")
    installed.log_file.rename(rotated)
    os.kill(pid, signal.SIGHUP)
    wait_until(lambda: installed.log_file.exists() and "reloaded" in installed.log(), timeout=10, interval=0.01)
    assert "logs reopened" in installed.log() and "starts" in rotated.read_text()
    stop_daemon(str(installed.pid_file))


def test_daemon_that_ignores_the_signal_is_killed(installed: Installation) -> None:
    installed.start("--act", "stubborn")
    assert stop_daemon(str(installed.pid_file), timeout=0.05)
    assert not is_locked(str(installed.pid_file)) and read_pid(str(installed.pid_file)) is None


def test_children_that_outlive_the_daemon_do_not_keep_its_lock(installed: Installation) -> None:
    installed.start("--act", "fork")
    pid = read_pid(str(installed.pid_file))
    (child,) = (int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    assert stop_daemon(str(installed.pid_file))
    assert Path(f"/proc/{child}").exists()
    assert not is_locked(str(installed.pid_file))
    os.kill(child, signal.SIGKILL)


def test_children_do_not_keep_the_starter_waiting(installed: Installation) -> None:
    assert installed.start("--act", "fork-die").returncode == 1
    # It has our program's name as its command, and nobody else has this path.
    found = [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline") if command_of(path) == str(installed.program)]
    assert len(found) == 1
    os.kill(found[0], signal.SIGKILL)


def command_of(path: Path) -> str:
    try:
        return path.read_bytes().split(b"\0")[2].decode()
    except (OSError, IndexError):
        return ""


def test_foreground_stays_and_shows_warnings(installed: Installation) -> None:
    with subprocess.Popen(installed.command("-f", "-d"), stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: read_pid(str(installed.pid_file)) == process.pid, timeout=10, interval=0.01)
        wait_until(lambda: "cwd" in installed.log(), timeout=10, interval=0.01)
        process.send_signal(signal.SIGINT)
        _, shown = process.communicate(timeout=10)
    assert process.returncode == 0
    assert "received SIGINT" in shown and "received SIGINT" in installed.log()


def test_service_manager_is_told_of_readiness(installed: Installation) -> None:
    address = str(installed.program.parent / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(10)
        environment = {**os.environ, "NOTIFY_SOCKET": address}
        with subprocess.Popen(installed.command("-f"), env=environment) as process:
            assert manager.recv(100) == b"READY=1"
            assert stop_daemon(str(installed.pid_file))
    assert process.returncode == 0


def test_version_and_unknown_options(installed: Installation) -> None:
    assert installed.start("--version").stdout.startswith(f"{NAME} (ganeti) ")
    assert installed.start("--nonsense").returncode == 2


def test_pid_file_that_nobody_locks_means_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.pid"
    assert read_pid(str(path)) is None
    path.write_text(f"{os.getpid()}\n")
    assert read_pid(str(path)) is None
    assert not stop_daemon(str(path))


def test_pid_file_is_held_until_released(tmp_path: Path) -> None:
    path = str(tmp_path / "x.pid")
    first, second = PidFile(path), PidFile(path)
    first.acquire()
    assert read_pid(path) == os.getpid()
    with pytest.raises(ExecError, match=f"already running, as process {os.getpid()} "):
        second.acquire()
    second.release()
    assert read_pid(path) == os.getpid()
    first.release()
    second.acquire()
    second.release()


def test_signals_reach_the_loop() -> None:
    async def wait() -> list[str]:
        seen: list[str] = []
        stop = asyncio.Event()
        daemon.install_signal_handlers(asyncio.get_running_loop(), stop.set, lambda: seen.append("reload"))
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.wait_for(stop.wait(), 5)
        return seen

    before = signal.getsignal(signal.SIGHUP)
    try:
        assert asyncio.run(wait()) == ["reload"]
    finally:
        signal.signal(signal.SIGHUP, before)
