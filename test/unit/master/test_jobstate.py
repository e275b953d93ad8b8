"""Jobs' states: each step, and that nothing can reopen what is final."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganeti.base.errors import DecodeError, ExecError
from ganeti.master import jobstate
from ganeti.model.enums import JobStatus
from ganeti.model.job import Job
from ganeti.rpc.jobs import OpProgress
from support.objects import make_job

NOW = 5_000_000


def job(*statuses: str) -> Job:
    """A job that a worker has brought to these states."""
    result = jobstate.started(make_job(7, *["OP_TEST_DELAY"] * len(statuses)), "w1-1", 1)
    for index, status in enumerate(statuses):
        if status != "queued":
            result = jobstate.progressed(result, OpProgress(index, status, status, 2), 2)
    return result


def statuses(of: Job) -> list[str]:
    return [str(op.status) for op in of.ops]


def test_started_job_waits_with_its_first_opcode() -> None:
    started = jobstate.started(make_job(7, "OP_A", "OP_B"), "w1-1", NOW)
    assert statuses(started) == ["waiting", "queued"]
    assert (started.start, started.ops[0].start, started.worker) == (NOW, NOW, "w1-1")
    assert started.status is JobStatus.WAITING


def test_job_queued_again_has_forgotten_its_start() -> None:
    queued = make_job(7, "OP_A", "OP_B")
    assert jobstate.requeued(jobstate.started(queued, "w1-1", NOW)) == queued


def test_report_sets_the_times() -> None:
    running = jobstate.progressed(job("queued"), OpProgress(0, "running", None, 10), NOW)
    ended = jobstate.progressed(running, OpProgress(0, "success", "yes"), NOW)
    assert (ended.ops[0].start, ended.ops[0].execute, ended.ops[0].end) == (1, 10, NOW)
    assert ended.ops[0].result == "yes"


def test_opcode_that_is_final_stays_as_it_is() -> None:
    ended = job("success", "queued")
    assert jobstate.progressed(ended, OpProgress(0, "error", "late"), NOW) == ended


def test_cancelling_job_keeps_its_status_while_it_waits() -> None:
    canceling = jobstate.canceling(job("waiting"))
    assert statuses(canceling) == ["canceling"]
    assert jobstate.progressed(canceling, OpProgress(0, "waiting"), NOW) == canceling
    assert statuses(jobstate.progressed(canceling, OpProgress(0, "running"), NOW)) == ["running"]


@pytest.mark.parametrize(("index", "status"), [(1, "running"), (-1, "running"), (0, "queued"), (0, "canceling"), (0, "nonsense")])
def test_report_without_sense_is_refused(index: int, status: str) -> None:
    with pytest.raises(DecodeError, match="progress"):
        jobstate.progressed(job("queued"), OpProgress(index, status), NOW)


def test_failed_job_carries_the_error_at_its_next_opcode() -> None:
    failed = jobstate.failed(job("success", "running", "queued"), ExecError("it broke"), NOW)
    assert statuses(failed) == ["success", "error", "error"]
    assert failed.ops[1].result == ["OpExecError", ["it broke"]]
    assert failed.ops[2].result == ["OpExecError", [jobstate.NOT_REACHED]]
    assert failed.end == NOW


def test_cancelled_job_keeps_what_had_ended() -> None:
    cancelled = jobstate.cancelled(job("success", "waiting", "queued"), NOW)
    assert statuses(cancelled) == ["success", "canceled", "canceled"]
    assert cancelled.status is JobStatus.CANCELED


def test_rest_of_a_cancelled_job_is_cancelled_too() -> None:
    finished = jobstate.finished(job("queued", "queued"), [OpProgress(0, "canceled", "x")], NOW)
    assert statuses(finished) == ["canceled", "canceled"]


def test_job_that_ends_without_a_word_about_an_opcode_failed_there() -> None:
    finished = jobstate.finished(job("success", "queued"), [], NOW)
    assert statuses(finished) == ["success", "error"]
    assert "before this opcode" in finished.ops[1].result[1][0]


def test_changed_priority_leaves_ended_opcodes_alone() -> None:
    changed = jobstate.reprioritized(job("success", "waiting"), -10)
    assert [op.priority for op in changed.ops] == [0, -10]


reports = st.builds(
    OpProgress,
    st.integers(0, 2),
    st.sampled_from(["waiting", "running", "success", "error", "canceled"]),
    st.none(),
    st.integers(0, 100),
)


@given(st.lists(reports), st.lists(reports))
def test_finished_job_is_final_and_what_was_final_has_not_changed(before: list[OpProgress], after: list[OpProgress]) -> None:
    state = job("queued", "queued", "queued")
    for report in before:
        state = jobstate.progressed(state, report, NOW)
    finished = jobstate.finished(state, after, NOW)
    assert jobstate.is_final(finished) and finished.status.is_final and finished.end == NOW
    for old, new in zip(state.ops, finished.ops, strict=True):
        assert new == old or not old.status.is_final
        assert new.end is not None
