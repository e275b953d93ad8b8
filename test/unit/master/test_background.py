"""Background work: several changes are one, failures are tried again, nothing ends the thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from ganeti.base.errors import ConfigError
from ganeti.master import background
from ganeti.master.background import Background

PATIENCE = 10.0
Start = Callable[[Callable[[], bool], float], Background]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    monkeypatch.setattr(background, "RETRY_FIRST", 0.01)
    started: list[Background] = []

    def start(work: Callable[[], bool], delay: float) -> Background:
        started.append(Background("test", work, delay))
        return started[-1]

    yield start
    for work in started:
        work.close()


def test_several_changes_are_one(start: Start) -> None:
    runs: list[int] = []
    work = start(lambda: runs.append(1) is None, 0.05)
    for _ in range(10):
        work.changed()
    assert work.flush(PATIENCE)
    assert len(runs) == 1


def test_change_during_the_work_is_not_lost(start: Start) -> None:
    runs, busy, go = [], threading.Event(), threading.Event()

    def run() -> bool:
        runs.append(1)
        busy.set()
        return go.wait(PATIENCE)

    work = start(run, 0.0)
    work.changed()
    assert busy.wait(PATIENCE)
    work.changed()
    go.set()
    assert work.flush(PATIENCE)
    assert len(runs) == 2


@pytest.mark.parametrize("error", [None, ConfigError("no store"), ValueError("a defect")])
def test_failed_work_is_tried_again(start: Start, error: Exception | None) -> None:
    attempts: list[int] = []
    done = threading.Event()

    def run() -> bool:
        attempts.append(1)
        if len(attempts) > 2:
            done.set()
            return True
        if error is not None:
            raise error
        return False

    work = start(run, 0.0)
    work.changed()
    assert done.wait(PATIENCE)
    assert work.flush(PATIENCE)
    assert len(attempts) == 3


def test_nothing_to_do_is_done_at_once(start: Start) -> None:
    assert start(lambda: False, 0.0).flush(PATIENCE)


def test_waiting_for_work_that_hangs_ends_in_time(start: Start) -> None:
    go = threading.Event()
    work = start(lambda: go.wait(PATIENCE), 0.0)
    work.changed()
    assert not work.flush(0.02)
    go.set()
    assert work.flush(PATIENCE)
