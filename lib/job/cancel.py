"""The wish that a job should end, told by a signal and noticed where it is safe to stop: while sleeping or waiting for locks."""

from __future__ import annotations

import math
import os
import select
import time

from ganeti.base.errors import Cancelled

_LONGEST = 2**30
"""Milliseconds that poll(2) can wait."""


class Cancellation:
    """Set by a signal handler, looked at by the job. `fileno` is readable once it is set."""

    def __init__(self) -> None:
        self._event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def fileno(self) -> int:
        return self._event

    def set(self) -> None:
        os.eventfd_write(self._event, 1)

    def clear(self) -> None:
        try:
            os.eventfd_read(self._event)
        except BlockingIOError:
            pass  # it was not set

    def is_set(self) -> bool:
        return self.wait(0)

    def wait(self, seconds: float) -> bool:
        """Sleep, but not longer than until it is set; whether it is."""
        poll = select.poll()
        poll.register(self._event, select.POLLIN)
        end = time.monotonic() + seconds
        while not (found := bool(poll.poll(min(_LONGEST, max(0, math.ceil((end - time.monotonic()) * 1000)))))):
            if time.monotonic() >= end:
                break
        return found

    def check(self) -> None:
        """Raise `Cancelled` if it is set."""
        if self.is_set():
            raise Cancelled("the job was cancelled")

    def close(self) -> None:
        os.close(self._event)
