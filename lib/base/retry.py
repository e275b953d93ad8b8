"""Waiting and trying again. Clock and sleep are arguments, so that tests take no time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from ganeti.base.errors import Timeout

T = TypeVar("T")
Clock = Callable[[], float]
Sleep = Callable[[float], None]


def wait_until(
    predicate: Callable[[], T],
    *,
    timeout: float,
    interval: float = 0.1,
    backoff: float = 1.0,
    max_interval: float = 10.0,
    what: str = "the condition",
    clock: Clock = time.monotonic,
    sleep: Sleep = time.sleep,
) -> T:
    """Call `predicate` until its value is true, and return that value.

    Pauses start with `interval` seconds and grow by `backoff` up to `max_interval`; the last one ends at the deadline, after
    which there is one more call. Raises `Timeout`, naming `what` was waited for.
    """
    deadline = clock() + timeout
    while True:
        value = predicate()
        if value:
            return value
        remaining = deadline - clock()
        if remaining <= 0:
            raise Timeout(f"waited {timeout:g} s in vain for {what}")
        sleep(min(interval, remaining))
        interval = min(interval * backoff, max_interval)


def retrying(
    function: Callable[[], T],
    *,
    attempts: int | None = None,
    timeout: float | None = None,
    delay: float = 1.0,
    backoff: float = 1.0,
    max_delay: float = 30.0,
    on: tuple[type[Exception], ...] = (Exception,),
    clock: Clock = time.monotonic,
    sleep: Sleep = time.sleep,
) -> T:
    """Call `function` until it does not raise one of `on`, and return what it returns.

    Ends after `attempts` calls or when the next one would start later than `timeout` seconds from now; at least one of the two
    must be given. Then the last error is raised as it is, with a note of how often it was tried.
    """
    if attempts is None and timeout is None:
        raise TypeError("retrying needs attempts or timeout: nothing may be tried for ever")
    start = clock()
    done = 0
    while True:
        done += 1
        try:
            return function()
        except on as err:
            late = timeout is not None and clock() - start + delay > timeout
            if late or (attempts is not None and done >= attempts):
                err.add_note(f"tried {done} times within {clock() - start:.1f} s")
                raise
        sleep(delay)
        delay = min(delay * backoff, max_delay)
