"""The wish that a job should end."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from ganeti.base.errors import Cancelled
from ganeti.job.cancel import Cancellation


@pytest.fixture
def cancellation() -> Iterator[Cancellation]:
    cancellation = Cancellation()
    yield cancellation
    cancellation.close()


def test_it_is_set_until_it_is_cleared(cancellation: Cancellation) -> None:
    cancellation.check()
    assert not cancellation.is_set()
    cancellation.set()
    cancellation.set()
    assert cancellation.is_set() and cancellation.is_set()
    with pytest.raises(Cancelled):
        cancellation.check()
    cancellation.clear()
    cancellation.clear()
    assert not cancellation.is_set()


def test_waiting_takes_its_time(cancellation: Cancellation) -> None:
    before = time.monotonic()
    assert not cancellation.wait(0.02)
    assert time.monotonic() - before >= 0.02


def test_waiting_ends_early_when_it_is_set(cancellation: Cancellation) -> None:
    timer = threading.Timer(0.01, cancellation.set)
    timer.start()
    before = time.monotonic()
    assert cancellation.wait(1e12)
    assert time.monotonic() - before < 5
    timer.join()


def test_signal_handler_ends_the_waiting(cancellation: Cancellation) -> None:
    before = signal.signal(signal.SIGUSR1, lambda number, frame: cancellation.set())
    timer = threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    try:
        assert cancellation.wait(10)
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, before)
