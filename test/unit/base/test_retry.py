from __future__ import annotations

import pytest

from ganeti.base.errors import Timeout
from ganeti.base.retry import retrying, wait_until


class FakeTime:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.pauses: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def test_first_true_value_is_returned() -> None:
    time, values = FakeTime(), iter([0, "", "ready"])
    assert wait_until(lambda: next(values), timeout=5, clock=time.clock, sleep=time.sleep) == "ready"
    assert time.pauses == [0.1, 0.1]


def test_true_at_once_needs_no_pause_even_without_time() -> None:
    time = FakeTime()
    assert wait_until(lambda: 7, timeout=0, clock=time.clock, sleep=time.sleep) == 7
    assert time.pauses == []


def test_pauses_grow_up_to_the_limit_and_end_at_the_deadline() -> None:
    time = FakeTime()
    with pytest.raises(Timeout, match="waited 10 s in vain for the disk"):
        wait_until(
            lambda: False, timeout=10, interval=1, backoff=2, max_interval=4, what="the disk", clock=time.clock, sleep=time.sleep
        )
    assert time.pauses == [1, 2, 4, 3]


def test_condition_is_looked_at_once_more_at_the_deadline() -> None:
    time = FakeTime()
    assert wait_until(lambda: time.now >= 103, timeout=3, interval=2, clock=time.clock, sleep=time.sleep)


def test_errors_of_the_predicate_are_not_swallowed() -> None:
    with pytest.raises(ZeroDivisionError):
        wait_until(lambda: 1 // 0, timeout=1)


def test_function_is_tried_again_on_the_named_errors() -> None:
    time, calls = FakeTime(), []

    def connect() -> str:
        calls.append(time.now)
        if len(calls) < 3:
            raise ConnectionError("refused")
        return "connected"

    assert retrying(connect, attempts=5, delay=2, backoff=3, on=(OSError,), clock=time.clock, sleep=time.sleep) == "connected"
    assert time.pauses == [2, 6]


def test_last_error_is_raised_with_the_number_of_attempts() -> None:
    time = FakeTime()

    def fail() -> None:
        raise ConnectionError("refused")

    with pytest.raises(ConnectionError, match="refused") as caught:
        retrying(fail, attempts=3, delay=1, clock=time.clock, sleep=time.sleep)
    assert caught.value.__notes__ == ["tried 3 times within 2.0 s"]
    time = FakeTime()
    with pytest.raises(ConnectionError):
        retrying(fail, timeout=2.5, delay=1, clock=time.clock, sleep=time.sleep)
    assert time.pauses == [1, 1]


def test_other_errors_are_raised_at_once() -> None:
    def fail() -> None:
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        retrying(fail, attempts=3, on=(OSError,))


def test_endless_retries_are_refused() -> None:
    with pytest.raises(TypeError):
        retrying(int)
