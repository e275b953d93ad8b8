"""What all daemons share: going to the background, the pid file, signals, and being stopped.

A daemon that is started in the background leaves its parent waiting until it says that it is ready, or why it is not: whoever
started it sees the error and the exit status, and afterwards can use it at once.
"""

from __future__ import annotations

import argparse
import logging
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

import ganeti
from ganeti.base import files, log
from ganeti.base.errors import ConfigError, ExecError, GanetiError, NotMaster
from ganeti.base.flock import FileLock, is_locked
from ganeti.base.paths import Paths

if TYPE_CHECKING:
    import asyncio

logger = logging.getLogger(__name__)

EXIT_FAILURE = 1
EXIT_BAD_CONFIG = 2
EXIT_NOT_MASTER = 11
"""A daemon that only the master runs ends with this status elsewhere; whoever starts all daemons takes it for success."""

KILL_TIMEOUT = 5.0
_READY = b"ready\n"

Ready = Callable[[], None]
Main = Callable[[argparse.Namespace, Ready], None]


# --- the pid file


class PidFile:
    """The process id of a daemon in a file that it keeps locked while it lives. A file that is not locked means nothing."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._lock = FileLock(path, mode=0o644)
        # Children that outlive the daemon (job workers) must not keep its lock.
        os.register_at_fork(after_in_child=self._lock.forget)

    def acquire(self) -> None:
        """Lock the file and write this process's id. Raises `ExecError` if another process has it."""
        if not self._lock.try_acquire():
            raise ExecError(f"already running, as process {read_pid(self.path)} according to {self.path}")
        self._lock.write(f"{os.getpid()}\n")

    def release(self) -> None:
        """Empty and unlock the file."""
        if self._lock.held:
            self._lock.write("")
            self._lock.release()


def read_pid(path: str) -> int | None:
    """The process id in a pid file whose daemon lives; None otherwise."""
    if not is_locked(path):
        return None
    text = (files.read_optional(path) or "").strip()
    return int(text) if text.isdigit() else None


def stop_daemon(path: str, timeout: float = 30.0) -> bool:
    """End the daemon of this pid file: SIGTERM, and SIGKILL after `timeout` seconds. Returns whether it was running.

    Raises `ExecError` if it cannot be ended.
    """
    pid = read_pid(path)
    if pid is None:
        return False
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        # The handle is of the process that has the number now; only if it still has the lock, it is the daemon.
        if read_pid(path) != pid:
            return False
        for number, patience in ((signal.SIGTERM, timeout), (signal.SIGKILL, KILL_TIMEOUT)):
            signal.pidfd_send_signal(handle, number)
            poll = select.poll()
            poll.register(handle, select.POLLIN)
            if poll.poll(patience * 1000):
                return True
            logger.warning("process %d of %s did not end within %g s of %s", pid, path, patience, number.name)
    except ProcessLookupError:
        return True
    finally:
        os.close(handle)
    raise ExecError(f"process {pid} of {path} cannot be ended, not even by SIGKILL; it may hang in the kernel")


# --- going to the background


class Starter:
    """The child's end of the line to the process that started it. Says one thing, once."""

    def __init__(self, pipe: int | None) -> None:
        self._pipe = pipe
        # Or a child would keep the parent waiting after the daemon has died.
        os.register_at_fork(after_in_child=self._close)

    def ready(self) -> None:
        """The daemon can be used: let the parent go (and tell systemd, if it asked for that)."""
        self._say(_READY)
        _notify_service_manager("READY=1")

    def failed(self, message: str, status: int) -> None:
        """The daemon will not come up: the parent prints the message and ends with the status."""
        self._say(f"{status} {message}\n".encode())

    def _say(self, data: bytes) -> None:
        if self._pipe is not None:
            try:
                os.write(self._pipe, data)
            except BrokenPipeError:
                pass  # the parent was interrupted: nobody waits any more
            self._close()

    def _close(self) -> None:
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None


def daemonize(name: str) -> Starter:
    """Go on as a daemon: in a session of its own, in ``/``, with umask 077 and without standard streams.

    Returns in the daemon only. The calling process waits until the daemon has spoken through the `Starter`, and ends with
    status 0 or the one it was told, after printing the message.
    """
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        os.close(writer)
        _wait_for_word(name, reader, child)
    os.close(reader)
    os.setsid()
    if os.fork():
        # The second fork: a process that does not lead its session can never get a terminal.
        os._exit(0)
    os.chdir("/")
    os.umask(0o077)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    os.close(nothing)
    return Starter(writer)


def _wait_for_word(name: str, reader: int, child: int) -> NoReturn:
    os.waitpid(child, 0)
    with os.fdopen(reader, "rb") as stream:
        word = stream.read()
    if word == _READY:
        os._exit(0)
    status, _, message = word.decode("utf-8", "replace").partition(" ")
    if not status.isdigit():
        status, message = str(EXIT_FAILURE), "it died while starting, without a word; see its log\n"
    sys.stderr.write(f"{name}: {message}")
    sys.stderr.flush()
    os._exit(int(status))


def _notify_service_manager(state: str) -> None:
    """Protocol of sd_notify(3), for units of Type=notify."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as link:
        try:
            link.sendto(state.encode(), address.replace("@", "\0", 1) if address.startswith("@") else address)
        except OSError as err:
            logger.warning("cannot notify the service manager: %s", err)


# --- running


def build_parser(name: str, description: str = "") -> argparse.ArgumentParser:
    """The options that all daemons have."""
    parser = argparse.ArgumentParser(prog=name, description=description)
    parser.add_argument("--version", action="version", version=f"%(prog)s (ganeti) {ganeti.__version__}")
    parser.add_argument("-f", "--foreground", action="store_true", help="stay in the foreground, warnings on standard error")
    parser.add_argument("-d", "--debug", action="store_true", help="log everything")
    parser.add_argument("--syslog", choices=["no", "yes", "only"], default="no", help="log to syslog as well, or only")
    return parser


def run_daemon(
    name: str,
    main: Main,
    paths: Paths,
    *,
    description: str = "",
    configure: Callable[[argparse.ArgumentParser], None] | None = None,
    prepare: Callable[[], None] | None = None,
    argv: Sequence[str] | None = None,
) -> int:
    """The whole life of a daemon; returns its exit status. Scripts are ``sys.exit(run_daemon(...))``.

    Reads the command line (`configure` adds options), goes to the background unless told otherwise, calls `prepare`, sets up the
    log and the pid file, and calls `main(options, ready)`, which must call `ready()` once others can use the daemon and returns
    when it is done. SIGHUP reopens the log. An error before `ready` reaches whoever started the daemon.
    """
    parser = build_parser(name, description)
    if configure is not None:
        configure(parser)
    options = parser.parse_args(argv)
    starter = Starter(None) if options.foreground else daemonize(name)
    pid_file = PidFile(paths.pid_file(name))
    try:
        if prepare is not None:
            prepare()
        for path in (paths.log_file(name), paths.pid_file(name)):
            # /run is empty after a boot.
            if not os.path.isdir(os.path.dirname(path)):
                files.ensure_directory(os.path.dirname(path))
        log.setup(
            None if options.syslog == "only" else paths.log_file(name),
            debug=options.debug,
            stderr=options.foreground,
            syslog=None if options.syslog == "no" else log.SYSLOG,
            program=name,
        )
        signal.signal(signal.SIGHUP, lambda number, frame: log.reopen())
        pid_file.acquire()
        logger.info("%s %s starts", name, ganeti.__version__)
        main(options, starter.ready)
        logger.info("%s ends", name)
        return 0
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except (GanetiError, OSError) as err:
        logger.error("%s", err, exc_info=options.debug)
        status = _status_of(err)
        pid_file.release()  # first: whoever hears of the failure may start another daemon at once
        starter.failed(str(err), status)
        return status
    except Exception as err:
        logger.exception("%s cannot go on", name)
        pid_file.release()
        starter.failed(f"{type(err).__name__}: {err}", EXIT_FAILURE)
        return EXIT_FAILURE
    finally:
        pid_file.release()


def _status_of(err: Exception) -> int:
    if isinstance(err, NotMaster):
        return EXIT_NOT_MASTER
    return EXIT_BAD_CONFIG if isinstance(err, ConfigError) else EXIT_FAILURE


# --- signals


def install_signal_handlers(
    loop: asyncio.AbstractEventLoop, stop: Callable[[], object], reload: Callable[[], object] | None = None
) -> None:
    """In an asyncio daemon: SIGTERM and SIGINT call `stop`; SIGHUP reopens the logs, then calls `reload`."""

    def on_stop(number: signal.Signals) -> None:
        logger.info("received %s", number.name)
        stop()

    def on_hangup() -> None:
        log.reopen()
        logger.info("logs reopened")
        if reload is not None:
            reload()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_stop, number)
    loop.add_signal_handler(signal.SIGHUP, on_hangup)
