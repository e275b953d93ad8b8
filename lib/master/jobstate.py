"""What happens to a job, as functions from one state of it to the next. Pure: times are arguments, in microseconds.

An opcode that is final never changes again: reports that come twice, or too late, are harmless.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from ganeti.base.errors import DecodeError, ExecError, GanetiError, to_wire
from ganeti.model.enums import JobStatus
from ganeti.model.job import Job, JobOp
from ganeti.rpc.jobs import OpProgress

CANCELLED_TEXT = "Job canceled by request"
NOT_REACHED = "a preceding opcode of the job failed, so this one was not executed"

_REPORTED = (
    JobStatus.WAITING,
    JobStatus.RUNNING,
    JobStatus.SUCCESS,
    JobStatus.ERROR,
    JobStatus.CANCELED,
)


def is_final(job: Job) -> bool:
    """Whether every opcode of the job is."""
    return all(op.status.is_final for op in job.ops)


def next_op(job: Job) -> int | None:
    """Index of the first opcode that is not final."""
    return next((index for index, op in enumerate(job.ops) if not op.status.is_final), None)


def started(job: Job, worker: str, now: int) -> Job:
    """A queued job is given to a worker: its next opcode waits for locks."""
    index = next_op(job)
    ops = tuple(
        replace(op, status=JobStatus.WAITING, start=now) if number == index else op
        for number, op in enumerate(job.ops)
    )
    return replace(job, ops=ops, worker=worker, start=now if job.start is None else job.start)


def requeued(job: Job) -> Job:
    """A job that its worker never saw is queued again."""
    ops = tuple(op if op.status.is_final else replace(op, status=JobStatus.QUEUED, start=None, execute=None) for op in job.ops)
    begun = any(op.status.is_final for op in ops)
    return replace(job, ops=ops, worker=None, start=job.start if begun else None)


def progressed(job: Job, progress: OpProgress, now: int) -> Job:
    """A worker reported how far an opcode is; `DecodeError` if the report makes no sense."""
    if not 0 <= progress.index < len(job.ops):
        raise DecodeError("progress.index", f"job {job.id} has no opcode {progress.index}")
    try:
        status = JobStatus(progress.status)
    except ValueError:
        status = JobStatus.QUEUED
    if status not in _REPORTED:
        raise DecodeError("progress.status", f"'{progress.status}' is not something that a worker reports")
    op = job.ops[progress.index]
    if op.status.is_final:
        return job
    # While it waits it may be being cancelled already: the worker does not know yet.
    if not (status is JobStatus.WAITING and op.status is JobStatus.CANCELING):
        op = _advanced(op, status, progress.result, progress.timestamp or now)
    return _with_op(job, progress.index, op)


def _advanced(op: JobOp, status: JobStatus, result: Any, at: int) -> JobOp:
    start = at if op.start is None else op.start
    if status is JobStatus.WAITING:
        return replace(op, status=status, start=start)
    if status is JobStatus.RUNNING:
        return replace(op, status=status, start=start, execute=at)
    return replace(op, status=status, start=start, end=at, result=result)


def _with_op(job: Job, index: int, op: JobOp) -> Job:
    return replace(job, ops=(*job.ops[:index], op, *job.ops[index + 1 :]))


def finished(job: Job, progress: Iterable[OpProgress], now: int) -> Job:
    """A worker is done with the job. Opcodes that are left over become errors, or cancelled like the one before them."""
    for report in progress:
        job = progressed(job, report, now)
    if is_final(job):
        return replace(job, end=now)
    if job.status is JobStatus.CANCELED:
        return cancelled(job, now)
    text = NOT_REACHED if job.status is JobStatus.ERROR else "the job ended before this opcode was executed"
    return failed(job, ExecError(text), now)


def failed(job: Job, error: GanetiError, now: int) -> Job:
    """The next opcode failed with this error; those after it will not run."""
    first = next_op(job)
    rest = to_wire(ExecError(NOT_REACHED))
    return _closed(job, JobStatus.ERROR, lambda index: to_wire(error) if index == first else rest, now)


def cancelled(job: Job, now: int) -> Job:
    """Every opcode that is not final yet is cancelled."""
    return _closed(job, JobStatus.CANCELED, lambda _index: CANCELLED_TEXT, now)


def _closed(job: Job, status: JobStatus, result: Any, now: int) -> Job:
    ops = tuple(
        op if op.status.is_final else replace(op, status=status, result=result(index), end=now)
        for index, op in enumerate(job.ops)
    )
    return replace(job, ops=ops, end=now)


def canceling(job: Job) -> Job:
    """The opcode that waits for its locks shows that it is being cancelled."""
    ops = tuple(replace(op, status=JobStatus.CANCELING) if op.status is JobStatus.WAITING else op for op in job.ops)
    return replace(job, ops=ops)


def reprioritized(job: Job, priority: int) -> Job:
    """All opcodes that are not final get this priority."""
    ops = tuple(op if op.status.is_final else replace(op, priority=priority) for op in job.ops)
    return replace(job, ops=ops)
