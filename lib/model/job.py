"""Jobs and their opcodes as data. Times are microseconds since 1970 (None: has not happened)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ganeti.model.enums import JobStatus
from ganeti.model.ids import JobId

PRIORITY_HIGHEST = -20
PRIORITY_LOWEST = 19
PRIORITY_NORMAL = 0
SUBMIT_PRIORITIES = {"low": 10, "normal": 0, "high": -10}


@dataclass(frozen=True, kw_only=True)
class JobOp:
    """One opcode of a job."""

    input: dict[str, Any]
    """The opcode in wire form, ``OP_ID`` included; secrets redacted."""
    status: JobStatus = JobStatus.QUEUED
    result: Any = None
    priority: int = PRIORITY_NORMAL
    start: int | None = None
    """When it began to wait for its locks."""
    execute: int | None = None
    """When it began to do something."""
    end: int | None = None


@dataclass(frozen=True, kw_only=True)
class Job:
    """A list of opcodes that run one after the other."""

    id: JobId
    ops: tuple[JobOp, ...]
    received: int | None = None
    start: int | None = None
    end: int | None = None
    archived: bool = False
    worker: str | None = None
    """Name of the worker that runs (or ran) it; its livelock is ``{run}/livelocks/<worker>``."""

    @property
    def status(self) -> JobStatus:
        return job_status([op.status for op in self.ops])

    @property
    def priority(self) -> int:
        """The most urgent (lowest) priority among opcodes that are not final."""
        open_ops = [op.priority for op in self.ops if not op.status.is_final]
        return min(open_ops, default=PRIORITY_NORMAL)


@dataclass(frozen=True, kw_only=True)
class LogEntry:
    """A line of a job's log. Serials count per job, over all its opcodes."""

    serial: int
    op_index: int
    timestamp: int
    type: str
    message: Any


@dataclass(frozen=True)
class Dependency:
    """Start only when another job is final; run only if it ended in one of `statuses` (empty: success or error)."""

    job: int
    statuses: tuple[JobStatus, ...] = field(default=())


def job_status(ops: Sequence[JobStatus]) -> JobStatus:
    """A job's status from those of its opcodes: the first that failed or was cancelled decides, else the latest begun."""
    status = JobStatus.QUEUED
    for op in ops:
        if op in (JobStatus.ERROR, JobStatus.CANCELING, JobStatus.CANCELED):
            return op
        if op in (JobStatus.WAITING, JobStatus.RUNNING):
            status = op
    return JobStatus.SUCCESS if ops and all(op is JobStatus.SUCCESS for op in ops) else status


def split_time(microseconds: int | None) -> list[int] | None:
    """The wire form of a time: [seconds, microseconds]."""
    return None if microseconds is None else list(divmod(microseconds, 1_000_000))
