"""The one door to external commands.

`run` waits for a command and judges its exit status; `start` leaves it running. Commands get a clean environment, no terminal,
no input unless given, and a session of their own, so that they can be ended together with their children. Each one leaves a
debug line that can be pasted into a shell: secrets go to standard input, never to argv.
"""

from __future__ import annotations

import logging
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Protocol

from ganeti.base.errors import CommandError

log = logging.getLogger(__name__)

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ANY_STATUS = range(-64, 256)
"""For `ok`: whatever the status, the caller looks at it."""

NOT_STARTED = 127
"""Status in a `Result` of a command that could not be started, as a shell reports it."""

GRACE = 2.0
"""Seconds between the polite and the hard signal when a command takes too long."""

TAIL_LINES = 20

DEVNULL = subprocess.DEVNULL
PIPE = subprocess.PIPE
Process = subprocess.Popen[bytes]
Stream = int | IO[bytes] | None


@dataclass(frozen=True)
class Result:
    """What came of a command. `status` is the exit status, or minus the signal that ended it."""

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        """Standard error, then standard output: what a person wants to see of a failure."""
        return "\n".join(part for part in (self.stderr.rstrip("\n"), self.stdout.rstrip("\n")) if part)

    @property
    def command(self) -> str:
        """The command as it can be pasted into a shell."""
        return shlex.join(self.argv)

    def describe_status(self) -> str:
        """The status in words, such as ``exit status 5`` or ``killed by SIGTERM``."""
        if self.status < 0:
            return f"killed by {signal.Signals(-self.status).name}"
        return f"exit status {self.status}"


class Runner(Protocol):
    """The signature of `run`: whoever needs commands takes one as argument."""

    def __call__(
        self,
        argv: Sequence[str],
        *,
        input: str | bytes | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        timeout: float | None = None,
        ok: Collection[int] = (0,),
        merge_stderr: bool = False,
        log_file: str | None = None,
    ) -> Result: ...


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The minimal environment of a command, with `extra` on top."""
    return {"PATH": SEARCH_PATH, "LANG": "C", **(extra or {})}


def run(
    argv: Sequence[str],
    *,
    input: str | bytes | None = None,  # the name that subprocess uses too
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    timeout: float | None = None,
    ok: Collection[int] = (0,),
    merge_stderr: bool = False,
    log_file: str | None = None,
) -> Result:
    """Run a command to its end.

    `env` is the whole environment (None: `clean_environment`). Output is UTF-8; other bytes become replacement characters.
    With `merge_stderr` both streams are in `stdout`. With `log_file` both are appended to that file and the result has none.
    After `timeout` seconds the whole process group is ended.

    Raises `CommandError` if the command cannot be started, takes too long or ends with a status not in `ok`.
    """
    started = time.monotonic()
    data = input.encode() if isinstance(input, str) else input
    with _open_log(log_file) as sink:
        offset = sink.tell() if sink else 0
        process = start(
            argv,
            env=env,
            cwd=cwd,
            stdin=DEVNULL if data is None else PIPE,
            stdout=sink or PIPE,
            stderr=subprocess.STDOUT if sink or merge_stderr else PIPE,
        )
        late = False
        stdout: bytes | None
        stderr: bytes | None
        try:
            stdout, stderr = process.communicate(data, timeout)
        except subprocess.TimeoutExpired:
            late = True
            stdout, stderr = _end_and_collect(process)
        except BaseException:
            # Interrupted (a cancelled job): nothing may go on behind our back.
            _end_and_collect(process)
            raise
    result = Result(tuple(argv), process.returncode, _decode(stdout), _decode(stderr))
    log.debug("%s after %.2f s: %s", result.describe_status(), time.monotonic() - started, argv[0])
    if late or result.status not in ok:
        problem = f"took longer than {timeout:g} s and was ended" if late else None
        raise command_error(result, problem, result.output or _read_from(log_file, offset))
    return result


def start(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    stdin: Stream = DEVNULL,
    stdout: Stream = DEVNULL,
    stderr: Stream = DEVNULL,
    log_file: str | None = None,
    pass_fds: Sequence[int] = (),
) -> Process:
    """Start a command in a session of its own and return at once. With `log_file` all its output is appended there.

    The caller must wait for it (`stop` does). Raises `CommandError` if it cannot be started.
    """
    for word in argv:
        if not isinstance(word, str):
            raise TypeError(f"argv must be texts, not {type(word).__name__} (command {argv[0]})")
    log.debug("%s%s", f"cd {shlex.quote(cwd)} && " if cwd else "", shlex.join(argv))
    with _open_log(log_file) as sink:
        try:
            return subprocess.Popen(
                list(argv),
                env=clean_environment() if env is None else dict(env),
                cwd=cwd,
                stdin=stdin,
                stdout=sink or stdout,
                stderr=subprocess.STDOUT if sink else stderr,
                pass_fds=tuple(pass_fds),
                start_new_session=True,
            )
        except OSError as err:
            where = f" in {cwd}" if cwd and not os.path.isdir(cwd) else ""
            hint = "; is its package installed?" if isinstance(err, FileNotFoundError) and not where else ""
            result = Result(tuple(argv), NOT_STARTED, "", "")
            raise command_error(result, f"cannot be started{where}: {err.strerror}{hint}", "") from err


def stop(process: Process, grace: float = GRACE) -> int:
    """End a command of `start` and everything in its session's process group; returns its status.

    SIGTERM first, SIGKILL after `grace` seconds; whatever its children do, the group is empty afterwards.
    """
    if process.returncode is None:
        _signal_group(process, signal.SIGTERM)
        deadline = time.monotonic() + grace
        while not _has_ended(process) and time.monotonic() < deadline:
            time.sleep(0.01)
        # Before the leader is reaped, so that its group's number cannot belong to somebody else.
        _signal_group(process, signal.SIGKILL)
    return process.wait()


def _has_ended(process: Process) -> bool:
    # WNOWAIT: a look, without reaping.
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None


def _signal_group(process: Process, number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        pass  # all of them have ended by themselves


def _end_and_collect(process: Process) -> tuple[bytes | None, bytes | None]:
    stop(process)
    try:
        return process.communicate(timeout=0.5)
    except subprocess.TimeoutExpired as err:
        # A child that left the session still holds the pipe; it is not ours to wait for.
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream:
                stream.close()
        return err.stdout, err.stderr


class _NoLog:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *exc: object) -> None:
        return None


def _open_log(path: str | None) -> IO[bytes] | _NoLog:
    if path is None:
        return _NoLog()
    return open(path, "ab", buffering=0, opener=lambda name, flags: os.open(name, flags, 0o600))


def _read_from(path: str | None, offset: int) -> str:
    if path is None:
        return ""
    with open(path, "rb") as stream:
        # Only the tail is shown: no need to read a log of gigabytes.
        stream.seek(max(offset, os.fstat(stream.fileno()).st_size - 65536))
        return _decode(stream.read())


def _decode(data: bytes | None) -> str:
    return data.decode("utf-8", "replace") if data else ""


def command_error(result: Result, problem: str | None, output: str) -> CommandError:
    """The error for a command that went wrong: command, `problem` (None: its status) and the end of its output."""
    text = f"command failed ({problem or result.describe_status()}): {result.command}"
    tail = output.rstrip("\n").splitlines()[-TAIL_LINES:]
    return CommandError("\n".join([text, *tail]), result)


# --- for tests, and for whatever must not touch the machine


@dataclass(frozen=True)
class Call:
    """One command that a `RecordingRunner` was asked to run."""

    argv: tuple[str, ...]
    input: str | None = None
    env: Mapping[str, str] | None = None
    cwd: str | None = None
    log_file: str | None = None


Answer = str | int | Result | Exception | Callable[[Call], "str | int | Result"]


@dataclass
class RecordingRunner:
    """A `Runner` that runs nothing: it answers from a table and remembers what it was asked.

    The table has (beginning of argv, answer) in order; the first whose words begin the command counts. An answer is standard
    output, an exit status, a whole `Result`, an error to raise, or a function of the `Call` that gives one of these. Statuses
    are judged as by `run`. A command that no entry knows is an error, unless there is a `default`.
    """

    answers: Iterable[tuple[Sequence[str], Answer]] = ()
    default: Answer | None = None
    calls: list[Call] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._table = [(tuple(words), answer) for words, answer in self.answers]
        self._used: set[int] = set()

    @property
    def commands(self) -> list[str]:
        """The commands run so far, as they would be typed."""
        return [shlex.join(call.argv) for call in self.calls]

    def unused(self) -> list[str]:
        """Entries of the table that no command has asked for."""
        return [shlex.join(words) for index, (words, _) in enumerate(self._table) if index not in self._used]

    def __call__(
        self,
        argv: Sequence[str],
        *,
        input: str | bytes | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        timeout: float | None = None,
        ok: Collection[int] = (0,),
        merge_stderr: bool = False,
        log_file: str | None = None,
    ) -> Result:
        """As `run`."""
        text = input.decode() if isinstance(input, bytes) else input
        call = Call(tuple(argv), text, env, cwd, log_file)
        self.calls.append(call)
        answer = self._find(call)
        if callable(answer):
            answer = answer(call)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, str):
            answer = Result(call.argv, 0, answer, "")
        elif isinstance(answer, int):
            answer = Result(call.argv, answer, "", "")
        if answer.status not in ok:
            raise command_error(answer, None, answer.output)
        return answer

    def _find(self, call: Call) -> Answer:
        for index, (words, answer) in enumerate(self._table):
            if call.argv[: len(words)] == words:
                self._used.add(index)
                return answer
        if self.default is None:
            raise LookupError(f"RecordingRunner has no answer for: {shlex.join(call.argv)}")
        return self.default
