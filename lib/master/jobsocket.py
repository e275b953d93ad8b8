"""The job socket: what workers ask of the master daemon."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from ganeti.base.errors import ConfigError, ExecError, JobLost, ProtocolError
from ganeti.master import jobstate
from ganeti.master.children import Children
from ganeti.master.lockservice import LockService
from ganeti.master.queue import JobQueue, LiveJob
from ganeti.master.server import Connection, Dispatcher, Peer
from ganeti.master.workers import Worker, WorkerPool
from ganeti.model.locks import LockName
from ganeti.model.objects import Change
from ganeti.rpc.jobs import Assignment, CommitReply, Held, JobApi, OpProgress
from ganeti.rpc.luxi import WireOp

ABANDONED = frozenset({"attach", "next_job", "acquire", "is_cancelled"})
"""Calls that are interrupted when their worker's connection breaks."""


@dataclass(frozen=True)
class ConfigDoor:
    """What workers may do to the configuration: commits and reservations, each on behalf of a job."""

    commit: Callable[[int, str, list[Change]], Awaitable[CommitReply]]
    reserve: Callable[[int, str, str], Awaitable[None]]
    generate: Callable[[int, str, str], Awaitable[str]]


@dataclass(frozen=True)
class JobDoors:
    """The parts of the daemon that workers are let in to."""

    queue: JobQueue
    pool: WorkerPool
    locks: LockService
    children: Children
    config: ConfigDoor


class JobSession:
    """One connection of a worker: the methods of `JobApi`, as coroutines."""

    def __init__(self, doors: JobDoors, peer: Peer, connection: Connection) -> None:
        self._queue, self._pool, self._locks = doors.queue, doors.pool, doors.locks
        self._children = doors.children
        self._config = doors.config
        self._peer = peer
        self._connection = connection
        self._worker: Worker | None = None
        self._dispatcher = Dispatcher(JobApi, self)

    # --- Session

    async def call(self, method: str, args: list[Any]) -> Any:
        if self._worker is None and method != "attach":
            raise ProtocolError(f"{method} before attach")
        return await self._dispatcher.call(method, args)

    def may_abandon(self, method: str) -> bool:
        return method in ABANDONED

    def closed(self) -> None:
        if self._worker is not None:
            self._pool.detached(self._worker, self._connection)

    # --- JobApi: the worker itself

    async def attach(self, worker: str, pid: int, job: int | None, held: Held) -> int:
        if pid != self._peer.pid:
            raise ProtocolError(f"worker {worker} says that it is process {pid}, but it is {self._peer.pid}")
        known = await self._pool.attach(worker, self._peer, self._connection)
        self._worker = known
        if job is None:
            self._without_job(known)
        else:
            await self._with_job(known, job, held)
        return self._queue.door.epoch()

    def _without_job(self, worker: Worker) -> None:
        live = self._queue.live.get(worker.job) if worker.job is not None else None
        if live is not None and live.worker is worker and live.ending is None:
            self._locks.present(live.job.id, worker.name, (), ())
            if worker.delivered:
                self._redeliver(worker, live)
            return
        worker.job = None
        self._pool.attached(worker)

    def _redeliver(self, worker: Worker, live: LiveJob) -> None:
        """The job was on its way to the worker when the connection broke."""
        worker.delivered = False
        now = self._queue.door.now()
        if live.cancelled:
            self._queue.conclude(live, jobstate.cancelled(live.job, now))
        elif live.unusable is not None:
            self._queue.conclude(live, jobstate.failed(live.job, live.unusable, now))
        else:
            self._queue.hand(live)

    async def _with_job(self, worker: Worker, job: int, held: Held) -> None:
        live = self._queue.live.get(job)
        if live is None or live.ending is not None:
            # It has ended; the worker may not have heard that its report arrived.
            await self._queue.check_worker_of(job, worker)
            return
        if live.worker is not worker:
            self._pool.retire(worker)
            raise JobLost(f"job {job} is not executed by worker {worker.name} (any more)")
        worker.job, worker.delivered = job, True
        try:
            self._locks.present(job, worker.name, held.exclusive, held.shared)
        except ConfigError as err:
            self._pool.retire(worker)
            self._queue.conclude(live, jobstate.failed(live.job, ExecError(str(err)), self._queue.door.now()))
            raise JobLost(str(err)) from err
        if live.cancelled:
            self._pool.send_signal(worker, signal.SIGKILL if live.killed else signal.SIGTERM)

    async def next_job(self) -> Assignment | None:
        worker = self._known
        live = self._queue.live.get(worker.job) if worker.job is not None else None
        if live is not None and live.worker is worker and worker.delivered and worker.assignment is None:
            # Recorded together with the end of the job before, by a daemon that died before it could say so.
            self._without_job(worker)
        return await self._pool.next_job(worker)

    # --- JobApi: its job

    async def op_progress(self, job: int, progress: OpProgress) -> None:
        self._queue.progress(job, self._known, progress)

    async def job_finished(self, job: int, progress: list[OpProgress]) -> None:
        await self._queue.finished(job, self._known, progress)

    async def log(self, job: int, op_index: int, type: str, message: Any, timestamp: int = 0) -> None:
        entries = [("message", line) for line in message] if type == "message-list" else [(type, message)]
        self._queue.append_log(job, self._known, op_index, entries, timestamp)

    async def is_cancelled(self, job: int) -> bool:
        return self._live(job).cancelled

    async def submit(self, job: int, jobs: list[list[WireOp]], token: str = "") -> list[tuple[bool, int | str]]:
        self._live(job)
        return await self._children.submit(job, jobs, token)

    # --- JobApi: locks

    async def acquire(
        self,
        job: int,
        exclusive: list[LockName],
        shared: list[LockName],
        priority: int,
        timeout: float | None,  # noqa: ASYNC109  # the contract's name
    ) -> bool:
        live = self._live(job)
        # It may have been changed since the worker got the job.
        urgent = min(priority, live.job.priority)
        return await self._locks.acquire(
            job, self._known.name, exclusive, shared, priority=urgent, patience=timeout
        )

    async def acquire_free(self, job: int, names: list[LockName], minimum: int) -> list[LockName]:
        self._live(job)
        return self._locks.acquire_free(job, self._known.name, names, minimum)

    async def release(self, job: int, names: list[LockName] | None) -> None:
        self._live(job)
        self._locks.release(job, names)

    async def downgrade(self, job: int, names: list[LockName]) -> None:
        self._live(job)
        self._locks.downgrade(job, names)

    # --- JobApi: the configuration

    async def commit(self, job: int, token: str, changes: list[Change]) -> CommitReply:
        self._live(job)
        return await self._config.commit(job, token, changes)

    async def reserve(self, job: int, what: str, value: str) -> None:
        self._live(job)
        await self._config.reserve(job, what, value)

    async def generate(self, job: int, what: str, hint: str = "") -> str:
        self._live(job)
        return await self._config.generate(job, what, hint)

    # --- inside

    @property
    def _known(self) -> Worker:
        assert self._worker is not None
        return self._worker

    def _live(self, job: int) -> LiveJob:
        return self._queue.of_worker(job, self._known)

