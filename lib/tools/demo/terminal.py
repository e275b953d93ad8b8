"""A command on a terminal of its own, and somebody who reads and types there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from ganeti.base import proc
from ganeti.base.errors import ExecError, Timeout
from ganeti.base.retry import wait_until

POLL = 0.02
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """The screen and keyboard of a running command."""

    def __init__(self, name: str, process: proc.Process, handle: int) -> None:
        self._name = name
        self._process = process
        self._handle = handle
        self._seen = 0
        self.screen = ""

    def expect(self, text: str, timeout: float) -> None:
        """Wait until this text appears after what was expected before. Raises `ExecError` with the whole screen."""

        def found() -> bool:
            ended = not self._read()
            if text in self.screen[self._seen :]:
                return True
            if ended:
                raise ExecError(f"{self._name} ended before it said {text!r}; it had said:\n{self.screen}")
            return False

        try:
            wait_until(found, timeout=timeout, interval=POLL)
        except Timeout:
            raise ExecError(f"{self._name} did not say {text!r} in {timeout:g} s; it had said:\n{self.screen}") from None
        self._seen = self.screen.index(text, self._seen) + len(text)

    def text(self) -> str:
        """The screen without empty lines and without what is meant for a real terminal (colours, cursor positions)."""
        lines = _CONTROL.sub("", self.screen).splitlines()
        return "\n".join(line.rstrip() for line in lines if line.strip())

    def type(self, text: str) -> None:
        """Press these keys."""
        os.write(self._handle, text.encode())

    def wait(self, timeout: float) -> int:
        """Wait for the command to end by itself; returns its status. Raises `Timeout`."""

        def ended() -> bool:
            self._read()
            return self._process.poll() is not None

        wait_until(ended, timeout=timeout, interval=POLL, what=f"{self._name} to end")
        return self._process.returncode

    def _read(self) -> bool:
        """Take what is new on the screen; False if nothing can come any more."""
        try:
            self.screen += os.read(self._handle, 65536).decode(errors="replace")
        except BlockingIOError:
            return True
        except OSError:
            return False  # the last process has closed the terminal
        return True


@contextmanager
def on_terminal(argv: Sequence[str], env: Mapping[str, str]) -> Iterator[Terminal]:
    """Run a command on a new terminal; it is ended with the block."""
    master, slave = os.openpty()
    try:
        process = proc.start(argv, env=env, stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        os.set_blocking(master, False)
        try:
            yield Terminal(argv[0], process, master)
        finally:
            proc.stop(process)
    finally:
        os.close(master)
