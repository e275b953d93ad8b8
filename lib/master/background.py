"""Work that is done some time after something changed, again and again until it succeeds."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import monotonic

from ganeti.base.errors import GanetiError

log = logging.getLogger(__name__)

RETRY_FIRST = 1.0
RETRY_LONGEST = 60.0
"""Seconds between attempts."""

Work = Callable[[], bool]
"""Does it; False: not all of it could be done, try again later. Errors count as False."""


class Background:
    """A thread that does its work some time after it was told that something changed; several changes are one."""

    def __init__(self, name: str, work: Work, delay: float) -> None:
        """`delay`: seconds to wait for further changes."""
        self.delay = delay
        self._work = work
        self._failures = 0
        self._wake = threading.Condition()
        self._due: float | None = None
        self._idle = True
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def changed(self) -> None:
        """Something changed; returns at once."""
        self._schedule(self.delay)

    def flush(self, timeout: float | None = None) -> bool:
        """Do now what is due; True when it is done, False if it failed or took longer than `timeout` seconds."""
        with self._wake:
            if self._due is not None:
                self._due = monotonic()
                self._wake.notify_all()
            tried = self._wake.wait_for(lambda: self._closing or (self._idle and not self._is_due()), timeout)
            return tried and self._failures == 0

    def close(self) -> None:
        """Stop without finishing; a call to a node that hangs is left to itself."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        self._thread.join(1.0)

    def _is_due(self) -> bool:
        return self._due is not None and self._due <= monotonic()

    def _schedule(self, delay: float) -> None:
        with self._wake:
            due = monotonic() + delay
            self._due = due if self._due is None else min(self._due, due)
            self._wake.notify_all()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._closing and not self._is_due():
                    self._wake.wait(None if self._due is None else max(0.0, self._due - monotonic()))
                if self._closing:
                    return
                self._due, self._idle = None, False
            done = self._try()
            with self._wake:
                self._failures = 0 if done else self._failures + 1
                self._idle = True
                self._wake.notify_all()
            if not done:
                self._schedule(min(RETRY_FIRST * 2 ** min(self._failures - 1, 10), RETRY_LONGEST))

    def _try(self) -> bool:
        try:
            return self._work()
        except GanetiError as err:
            log.warning("%s: %s", self._thread.name, err)
        except Exception:
            # A defect must not end the thread: the next change may go well.
            log.exception("%s failed", self._thread.name)
        return False
