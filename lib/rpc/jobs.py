"""The job socket: what a worker asks of the master daemon. Same framing as LUXI; the socket is open to root only.

A worker keeps one connection. When it breaks (the daemon was restarted or killed) the worker connects again, calls `attach`
with what it holds, and repeats the requests whose answers it did not get: every request is safe to repeat, `commit` and `submit`
by their tokens, `log` by its time. Requests are answered in order; a worker may send `op_progress` and `log` without waiting.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ganeti.model.locks import LockName
from ganeti.model.objects import Change, Put
from ganeti.rpc.call import FAST, HOURS_4, URGENT, rpc
from ganeti.rpc.luxi import WireOp


@dataclass(frozen=True)
class Assignment:
    """A job for a worker. `ops` are complete (secrets included); `start_at` is the first opcode not yet final."""

    job: int
    ops: list[WireOp]
    priorities: list[int]
    start_at: int = 0
    epoch: int = 0


@dataclass(frozen=True)
class Held:
    """Locks a worker holds (presented again after a restart of the daemon)."""

    exclusive: list[LockName] = field(default_factory=list)
    shared: list[LockName] = field(default_factory=list)


@dataclass(frozen=True)
class OpProgress:
    """How far one opcode has come."""

    index: int
    status: str
    result: Any = None
    timestamp: int = 0


@dataclass(frozen=True)
class CommitReply:
    """`serial` of the transaction and the objects as they were stored (new serial numbers and times)."""

    serial: int
    objects: list[Put] = field(default_factory=list)
    """One for each `Put` of the request, in order."""


class JobApi:
    """Methods of the job socket."""

    @rpc(timeout=FAST)
    def attach(self, worker: str, pid: int, job: int | None, held: Held) -> int:
        """Introduce (or re-introduce) a worker; its livelock is ``{run}/livelocks/<worker>``. Returns the epoch."""
        raise NotImplementedError

    @rpc(timeout=HOURS_4)
    def next_job(self) -> Assignment | None:
        """Wait for a job; None: the worker is not needed any more and ends."""
        raise NotImplementedError

    @rpc(timeout=FAST)
    def op_progress(self, job: int, progress: OpProgress) -> None:
        """Record that an opcode waits, runs, or has ended."""
        raise NotImplementedError

    @rpc(timeout=FAST)
    def job_finished(self, job: int, progress: list[OpProgress]) -> None:
        """Record the final states; returns when they are on disk. Locks and reservations of the job are dropped."""
        raise NotImplementedError

    @rpc(timeout=FAST)
    def log(self, job: int, op_index: int, type: str, message: Any, timestamp: int = 0) -> None:
        """Append a line to the job's log. `timestamp` (microseconds; 0: now) grows with each line of a job.

        A line that is not later than the last one of the job is the repetition of one whose answer was lost: it is ignored.
        """
        raise NotImplementedError

    @rpc(timeout=HOURS_4)
    def acquire(self, job: int, exclusive: list[LockName], shared: list[LockName], priority: int, timeout: float | None) -> bool:
        """Take all the locks or none; False if they were not free within `timeout` seconds (None: wait for ever)."""
        raise NotImplementedError

    @rpc(timeout=FAST)
    def acquire_free(self, job: int, names: list[LockName], minimum: int) -> list[LockName]:
        """Take, exclusively, whichever of `names` are free now; nothing if fewer than `minimum` are."""
        raise NotImplementedError

    @rpc(timeout=FAST)
    def release(self, job: int, names: list[LockName] | None) -> None:
        """Give locks back (None: all)."""
        raise NotImplementedError

    @rpc(timeout=FAST)
    def downgrade(self, job: int, names: list[LockName]) -> None:
        """Turn exclusive locks into shared ones."""
        raise NotImplementedError

    @rpc(timeout=FAST)
    def commit(self, job: int, token: str, changes: list[Change]) -> CommitReply:
        """Store changes in one transaction, replicate, answer. The same token again gives the same answer."""
        raise NotImplementedError

    @rpc(timeout=FAST)
    def reserve(self, job: int, what: str, value: str) -> None:
        """Reserve a value (``mac``, ``instance-name``, ``ip/<network>``, ...) until it is committed or the job ends.

        Raises `PrereqError` (already in use) if the configuration or another job has it.
        """
        raise NotImplementedError

    @rpc(timeout=FAST)
    def generate(self, job: int, what: str, hint: str = "") -> str:
        """Find and reserve a free value: ``mac`` (hint: prefix), ``port``, ``ip/<network>``."""
        raise NotImplementedError

    @rpc(timeout=FAST)
    def submit(self, job: int, jobs: list[list[WireOp]], token: str = "") -> list[tuple[bool, int | str]]:
        """Submit further jobs on behalf of this one. The same token again gives the same answer."""
        raise NotImplementedError

    @rpc(timeout=URGENT)
    def is_cancelled(self, job: int) -> bool:
        raise NotImplementedError
