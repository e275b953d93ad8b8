"""Running scripts that users provide (OS definitions, hooks, set-up scripts), so that none of them outlives the agent."""

from __future__ import annotations

import os
import select
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ganeti.base import proc
from ganeti.base.errors import CommandError
from ganeti.base.secret import REDACTED

OUTPUT_LIMIT = 64 * 1024
"""Bytes of output, the last ones, that a result keeps."""


@dataclass(frozen=True)
class ScriptResult:
    """What came of a script. `output` is the end of standard output and error together."""

    status: int
    output: str
    late: bool = False
    """It was ended because it took too long."""
    stopped: bool = False
    """It was ended because the agent stops."""

    @property
    def ok(self) -> bool:
        return self.status == 0 and not self.late and not self.stopped

    def describe(self, timeout: float) -> str:
        """How it ended, in words."""
        if self.late:
            return f"took longer than {timeout:g} s and was ended"
        if self.stopped:
            return "was ended because the node agent stops"
        return f"killed by signal {-self.status}" if self.status < 0 else f"exit status {self.status}"

    def tail(self, lines: int = proc.TAIL_LINES) -> str:
        """The last lines of the output."""
        return "\n".join(self.output.rstrip("\n").splitlines()[-lines:])


class Scripts:
    """Runs scripts, each in a session of its own with a clean environment. Safe for use by many threads."""

    def __init__(self) -> None:
        self._idle = threading.Condition()
        self._running = 0
        self._closed = False
        self._stop = os.eventfd(0, os.EFD_CLOEXEC)

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        timeout: float,
        cwd: str | None = None,
        log_file: str | None = None,
        secrets: Sequence[str] = (),
    ) -> ScriptResult:
        """Run a script to its end; after `timeout` seconds, or when the agent stops, its whole process group is ended.

        Output goes to `log_file` (made with mode 0600), or nowhere but into the result. `secrets` are blanked out of both, in
        case the script prints them. Raises `CommandError` if the script cannot be started.
        """
        with tempfile.TemporaryFile() if log_file is None else open(log_file, "w+b", opener=_private) as sink:
            self._enter(argv[0])
            try:
                process = proc.start(argv, env=env, cwd=cwd, stdout=sink, stderr=sink)
                try:
                    ended = self._wait(process, timeout)
                finally:
                    # Also when it ended by itself: children that it left behind must not go on writing to a disk.
                    proc.stop(process)
            finally:
                self._leave()
            output = _read_tail(sink.fileno())
        late, stopped = not ended and not self._closed, not ended and self._closed
        result = ScriptResult(process.returncode, _blank(output, secrets), late, stopped)
        if log_file is not None:
            _blank_file(log_file, secrets)
        return result

    def _enter(self, name: str) -> None:
        with self._idle:
            if self._closed:
                raise CommandError(f"{name} was not started: the node agent is stopping")
            self._running += 1

    def _leave(self) -> None:
        with self._idle:
            self._running -= 1
            self._idle.notify_all()

    def _wait(self, process: proc.Process, timeout: float) -> bool:
        """Whether it ended by itself within the time.

        It is not reaped: the number of its group must stay its own until the group is ended.
        """
        handle = os.pidfd_open(process.pid)
        try:
            poll = select.poll()
            poll.register(handle, select.POLLIN)
            poll.register(self._stop, select.POLLIN)
            return handle in dict(poll.poll(timeout * 1000))
        finally:
            os.close(handle)

    def close(self, timeout: float = 2 * proc.GRACE) -> None:
        """End every script that runs, waiting up to `timeout` seconds for that, and start no more."""
        with self._idle:
            if not self._closed:
                self._closed = True
                os.eventfd_write(self._stop, 1)
            self._idle.wait_for(lambda: not self._running, timeout)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _read_tail(handle: int) -> str:
    size = os.fstat(handle).st_size
    return os.pread(handle, OUTPUT_LIMIT, max(0, size - OUTPUT_LIMIT)).decode("utf-8", "replace")


def _blank(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        # Very short values would blank out half of the text, and are no secrets.
        if len(secret) >= 4:
            text = text.replace(secret, REDACTED)
    return text


def _blank_file(path: str, secrets: Sequence[str]) -> None:
    """Blank secrets out of a log in place, line by line."""
    if not any(len(secret) >= 4 for secret in secrets):
        return
    fresh = path + ".new"
    with open(path, encoding="utf-8", errors="replace") as source, open(fresh, "w", encoding="utf-8", opener=_private) as target:
        target.writelines(_blank(line, secrets) for line in source)
    os.replace(fresh, path)
