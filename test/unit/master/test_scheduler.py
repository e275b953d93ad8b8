"""The scheduler against its specification, and the rules of dependencies."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ganeti.base.errors import PrereqError
from ganeti.master.scheduler import Outcome, Pending, Scheduler, judge, parse_dependencies
from ganeti.model.enums import JobStatus
from ganeti.model.job import Dependency

SUCCESS, ERROR, CANCELED = JobStatus.SUCCESS, JobStatus.ERROR, JobStatus.CANCELED
FINAL = [SUCCESS, ERROR, CANCELED]


@pytest.mark.parametrize(
    ("wanted", "status", "outcome"),
    [
        ((SUCCESS,), SUCCESS, Outcome.READY),
        ((SUCCESS,), ERROR, Outcome.FAIL),
        ((SUCCESS,), CANCELED, Outcome.CANCEL),
        ((SUCCESS, ERROR), CANCELED, Outcome.CANCEL),
        ((ERROR,), SUCCESS, Outcome.FAIL),
        ((CANCELED,), CANCELED, Outcome.READY),
        ((CANCELED,), SUCCESS, Outcome.FAIL),
        ((), SUCCESS, Outcome.READY),
        ((), ERROR, Outcome.READY),
        ((), CANCELED, Outcome.CANCEL),
        ((SUCCESS,), None, Outcome.FAIL),
    ],
)
def test_end_of_a_dependency_decides(
    wanted: tuple[JobStatus, ...], status: JobStatus | None, outcome: Outcome
) -> None:
    assert judge(9, [Dependency(3, wanted)], {3: status}).outcome is outcome


def test_job_that_depends_on_itself_fails() -> None:
    verdict = judge(9, [Dependency(9)], {9: JobStatus.QUEUED})
    assert verdict.outcome is Outcome.FAIL and "itself" in verdict.reason


def test_verdict_names_both_jobs_and_the_status() -> None:
    reason = judge(9, [Dependency(3, (SUCCESS,))], {3: ERROR}).reason
    assert reason == "job 3, on which job 9 depends, ended with status error instead of success"


def test_relative_dependency_counts_back_from_the_job_itself() -> None:
    assert parse_dependencies(10, [[(-1, ["success"])], None, [(4, [])]]) == (
        Dependency(9, (SUCCESS,)),
        Dependency(4),
    )


def test_relative_dependency_before_the_first_job_is_refused() -> None:
    with pytest.raises(PrereqError, match="no job 10 places before job 10"):
        parse_dependencies(10, [[(-10, [])]])


def test_status_that_is_not_final_is_refused() -> None:
    with pytest.raises(PrereqError, match="'running' is no final status"):
        parse_dependencies(10, [[(1, ["running"])]])


def test_dependency_on_a_later_job_fails_instead_of_waiting_for_ever() -> None:
    scheduler = Scheduler(5)
    verdict = scheduler.add(Pending(3, 0, (Dependency(4),)), {4: JobStatus.QUEUED})
    assert verdict is not None and verdict.outcome is Outcome.FAIL


def test_urgent_job_starts_first_then_the_older() -> None:
    scheduler = Scheduler(3)
    for number, priority in ((1, 0), (2, 10), (3, -10), (4, 0)):
        scheduler.add(Pending(number, priority), {})
    assert scheduler.pick(0, 10) == [3, 1, 4]
    assert scheduler.pick(3, 10) == []
    assert scheduler.pick(2, 10) == [2]


def test_changed_priority_counts() -> None:
    scheduler = Scheduler(1)
    for number in (1, 2, 3):
        scheduler.add(Pending(number, 0), {})
    scheduler.set_priority(3, -10)
    scheduler.set_priority(1, 10)
    assert [scheduler.pick(0, 1)[0] for _ in range(3)] == [3, 2, 1]


def test_waiting_job_says_why() -> None:
    scheduler = Scheduler(2)
    scheduler.add(Pending(1, 0), {})
    scheduler.add(Pending(2, 0), {})
    scheduler.add(Pending(3, 0, (Dependency(1), Dependency(2))), dict.fromkeys((1, 2), JobStatus.QUEUED))
    assert scheduler.why(3, 0) == "waits for the end of jobs 1, 2"
    assert scheduler.why(2, 2) == "2 jobs run, at most 2 may; 1 queued jobs come first"
    assert scheduler.why(2, 1) == "waits for a worker process; 1 queued jobs come first"
    assert scheduler.why(7, 1) == ""


class Scheduling(RuleBasedStateMachine):
    """Every job that is accepted is started, judged or removed exactly once, and only when the rules say so."""

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = Scheduler(3)
        self.jobs: dict[int, Pending] = {}
        self.statuses: dict[int, JobStatus] = {}
        self.running: set[int] = set()

    @rule(
        data=st.data(),
        priority=st.sampled_from([-10, 0, 10]),
        wanted=st.lists(st.sampled_from(FINAL), unique=True, max_size=2),
    )
    def submit(self, data: st.DataObject, priority: int, wanted: list[JobStatus]) -> None:
        number = len(self.jobs) + 1
        others = data.draw(st.lists(st.integers(1, number + 1), unique=True, max_size=3))
        job = Pending(number, priority, tuple(Dependency(other, tuple(wanted)) for other in others))
        self.jobs[number] = job
        verdict = self.scheduler.add(job, dict(self.statuses))
        self.statuses[number] = JobStatus.QUEUED
        self.check(number, verdict.outcome if verdict else None)

    @rule(slots=st.integers(0, 4))
    def start(self, slots: int) -> None:
        ready = sorted(
            (number for number in self.queued() if self.is_ready(number)),
            key=lambda number: (self.jobs[number].priority, number),
        )
        expected = ready[: max(0, min(slots, 3 - len(self.running)))]
        assert self.scheduler.pick(len(self.running), slots) == expected
        for number in expected:
            self.statuses[number] = JobStatus.RUNNING
            self.running.add(number)

    @rule(data=st.data(), status=st.sampled_from(FINAL))
    def end(self, data: st.DataObject, status: JobStatus) -> None:
        if self.running:
            number = data.draw(st.sampled_from(sorted(self.running)))
            self.running.discard(number)
            self.finish(number, status)

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if self.queued():
            self.finish(data.draw(st.sampled_from(self.queued())), CANCELED)

    @rule(data=st.data(), priority=st.integers(-20, 19))
    def reprioritize(self, data: st.DataObject, priority: int) -> None:
        if self.queued():
            number = data.draw(st.sampled_from(self.queued()))
            self.jobs[number] = Pending(number, priority, self.jobs[number].depends)
            self.scheduler.set_priority(number, priority)

    def finish(self, number: int, status: JobStatus) -> None:
        self.statuses[number] = status
        verdicts = self.scheduler.ended(number, status)
        waited = [other for other in self.queued() if any(d.job == number for d in self.jobs[other].depends)]
        assert sorted(verdicts) == [other for other in waited if not self.open_dependencies(other)]
        for other, verdict in verdicts.items():
            self.check(other, verdict.outcome)

    def check(self, number: int, outcome: Outcome | None) -> None:
        assert (outcome is None) == bool(self.open_dependencies(number))
        if outcome is None or outcome is Outcome.READY:
            return
        status = CANCELED if outcome is Outcome.CANCEL else ERROR
        self.finish(number, status)

    def queued(self) -> list[int]:
        return [number for number, status in self.statuses.items() if status is JobStatus.QUEUED]

    def open_dependencies(self, number: int) -> list[int]:
        return [
            d.job
            for d in self.jobs[number].depends
            if d.job < number and not self.statuses[d.job].is_final
        ]

    def is_ready(self, number: int) -> bool:
        return not self.open_dependencies(number)

    @invariant()
    def ready_jobs_are_counted(self) -> None:
        assert self.scheduler.ready == sum(self.is_ready(number) for number in self.queued())

    @invariant()
    def every_queued_job_says_why(self) -> None:
        for number, status in self.statuses.items():
            assert bool(self.scheduler.why(number, 0)) == (status is JobStatus.QUEUED)


TestScheduling = Scheduling.TestCase
TestScheduling.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
