"""The worker processes: how many there are, which is free, what each does, and noticing when one dies.

Workers are forked by a preloaded parent (`master.zygote`), connect to the job socket, and are used again for the next job. They
outlive the master daemon: those of an earlier one attach to the next and are taken over.

A worker is known by its name and proves that it lives by holding its livelock, ``{run}/livelocks/<name>``. Once it is connected
it is held by a pidfd: its death is noticed at once, and a signal can never reach another process that got its number.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import signal
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Protocol

from ganeti.base.errors import ExecError, GanetiError, ProtocolError
from ganeti.base.flock import is_locked
from ganeti.master.server import Connection, Peer
from ganeti.rpc.jobs import Assignment

log = logging.getLogger(__name__)

SPARE = 2
"""Workers that are kept waiting, so that a job need not wait for a fork."""
IDLE_TIME = 60.0
"""Seconds after which a worker beyond the spare ones ends."""
RESPAWN_PAUSE = 0.5
"""Seconds until a worker that ended too early is replaced."""
ATTACH_TIME = 30.0
"""Seconds that a new worker may take to connect."""
_STALE = 60.0
_NAME = re.compile(r"w[0-9a-f]+-[0-9]+")


class SpawnEvents(Protocol):
    """What a spawner tells."""

    def ready(self) -> None:
        """Workers can be asked for now."""
        ...

    def exited(self, name: str, status: int) -> None:
        """A worker's process ended with this exit status, or minus a signal."""
        ...


class Spawner(Protocol):
    """Makes worker processes."""

    async def run(self, events: SpawnEvents) -> None:
        """Work until it is closed; raises `GanetiError` if it cannot go on."""
        ...

    def spawn(self, name: str) -> bool:
        """Begin to make a worker; False if that is not possible now."""
        ...

    def reopen_logs(self) -> None:
        """The log files were moved away."""
        ...

    async def close(self) -> None:
        """Make no more workers. Those that exist live on."""
        ...


class PoolOwner(Protocol):
    """Who is told about workers."""

    def worker_free(self) -> None:
        """A worker waits for a job."""
        ...

    def worker_died(self, worker: Worker, how: str) -> None:
        """The worker is gone; `worker.job` is what it had, `worker.delivered` whether it knew."""
        ...


@dataclass(eq=False)
class Worker:
    """One worker process. `job`: what it works on, or has been chosen for; `delivered`: whether it has been told."""

    name: str
    job: int | None = None
    delivered: bool = False
    pid: int | None = None
    connection: Connection | None = None
    assignment: Assignment | None = None
    retired: bool = False
    pidfd: int | None = None
    waiting: asyncio.Future[Assignment | None] | None = None
    free_since: float = 0.0
    disconnected: asyncio.Event = field(default_factory=asyncio.Event)
    status: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_free(self) -> bool:
        return self.connection is not None and self.job is None and not self.retired


class WorkerPool:
    """All workers. Belongs to the event loop's thread."""

    def __init__(self, spawner: Spawner, directory: str, *, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        """How many workers may have jobs."""
        self.trouble = ""
        """Why no workers can be made, if that is so."""
        self._spawner = spawner
        self._directory = directory
        self._clock = clock
        self._owner: PoolOwner | None = None
        self._workers: dict[str, Worker] = {}
        self._free: dict[str, Worker] = {}
        self._coming: dict[str, asyncio.TimerHandle] = {}
        self._statuses: dict[str, int] = {}
        self._names = f"w{time.time_ns() // 1_000_000:x}"
        self._count = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._wanted = 0
        self._dismissed = False

    def open(self, owner: PoolOwner) -> None:
        """Begin: make the directory of livelocks, remove those of workers long gone."""
        self._owner = owner
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        now = time.time()
        for entry in list(os.scandir(self._directory)):
            name = entry.name.partition(".")[0]
            with contextlib.suppress(FileNotFoundError):
                # A young one may belong to a worker that has not come to lock it.
                if _NAME.fullmatch(name) and entry.stat().st_mtime < now - _STALE and not is_locked(self._livelock(name)):
                    os.unlink(entry.path)

    async def run(self) -> None:
        """Keep the parent of the workers alive and trim idle workers. Ends only by being cancelled."""
        trim = asyncio.create_task(self._trim_often())
        delay = 0.1
        try:
            while True:
                started = self._clock()
                try:
                    await self._spawner.run(self)
                    self.trouble = "the parent of the worker processes ended"
                except GanetiError as err:
                    self.trouble = str(err)
                log.error("no workers can be started: %s", self.trouble)
                for timer in self._coming.values():
                    timer.cancel()
                self._coming.clear()
                delay = 0.1 if self._clock() - started > 60 else min(delay * 2, 30.0)
                await asyncio.sleep(delay)
        finally:
            trim.cancel()

    async def dismiss(self) -> None:
        """Let the workers that have nothing to do end, and make no more."""
        self._dismissed = True
        for worker in list(self._free.values()):
            self.retire(worker)
        await asyncio.sleep(0.01)  # for the answers to get out

    async def close(self) -> None:
        """Make no more workers and forget about those that live; they go on."""
        for task in self._tasks:
            task.cancel()
        for timer in self._coming.values():
            timer.cancel()
        await self._spawner.close()
        for worker in self._workers.values():
            self._forget_process(worker)

    # --- SpawnEvents

    def ready(self) -> None:
        self.trouble = ""
        self.want(self._wanted)

    def exited(self, name: str, status: int) -> None:
        timer = self._coming.pop(name, None)
        if timer is not None:
            timer.cancel()
            log.error("worker %s ended before it was of use: %s", name, describe_status(status))
            self._remove_files(name)
            # Not at once: the next one may end in the same way.
            asyncio.get_running_loop().call_later(RESPAWN_PAUSE, self._want_again)
        worker = self._workers.get(name)
        if worker is not None:
            self._statuses[name] = status
            worker.status.set()

    # --- finding and making workers

    @property
    def free(self) -> int:
        """How many workers could take a job now."""
        return len(self._free)

    def find(self, name: str) -> Worker | None:
        return self._workers.get(name)

    def want(self, jobs: int) -> None:
        """See to it that this many further jobs will soon find a worker each, and some workers are left over."""
        self._wanted = jobs
        if self._dismissed:
            return
        missing = jobs + SPARE - len(self._free) - len(self._coming)
        room = self.limit + SPARE - len(self._workers) - len(self._coming)
        for _ in range(min(missing, room)):
            self._count += 1
            name = f"{self._names}-{self._count}"
            if not self._spawner.spawn(name):
                return
            self._coming[name] = asyncio.get_running_loop().call_later(ATTACH_TIME, self._not_come, name)

    def take(self, job: int) -> Worker | None:
        """Choose a free worker for a job. `hand` follows, or `give_back`."""
        if not self._free:
            return None
        _, worker = self._free.popitem()
        worker.job, worker.delivered, worker.assignment = job, False, None
        return worker

    def hand(self, worker: Worker, assignment: Assignment) -> None:
        """Let the worker begin with the job for which it was chosen."""
        worker.assignment = assignment
        if worker.waiting is not None and not worker.waiting.done():
            worker.waiting.set_result(assignment)

    def give_back(self, worker: Worker) -> None:
        """The worker has no job (any more)."""
        worker.job = worker.assignment = None
        worker.delivered = False
        if worker.is_free:
            worker.free_since = self._clock()
            self._free[worker.name] = worker
            if self._owner is not None:
                self._owner.worker_free()

    def expect(self, name: str, job: int) -> Worker | None:
        """A worker of an earlier daemon that had this job: it will attach, or is found dead. None if it is dead now."""
        if not _NAME.fullmatch(name) or not is_locked(self._livelock(name)):
            return None
        worker = self._workers[name] = Worker(name, job=job, delivered=True)
        self._watch_livelock(worker)
        return worker

    # --- what workers do

    async def attach(self, name: str, peer: Peer, connection: Connection) -> Worker:
        """A worker connected, for the first time or again: the new connection takes the place of an older one."""
        if not _NAME.fullmatch(name):
            raise ProtocolError(f"'{name}' is not the name of a worker")
        if not is_locked(self._livelock(name)):
            raise ProtocolError(f"worker {name} does not hold its livelock")
        timer = self._coming.pop(name, None)
        if timer is not None:
            timer.cancel()
        worker = self._workers.get(name)
        if worker is None:
            worker = self._workers[name] = Worker(name)
        if worker.connection is not None:
            await _end(worker.connection)
        worker.connection = connection
        worker.disconnected.clear()
        self._hold_process(worker, peer.pid)
        return worker

    def attached(self, worker: Worker) -> None:
        """It is settled which job the worker has."""
        if worker.job is None:
            self.give_back(worker)

    def detached(self, worker: Worker, connection: Connection) -> None:
        """A connection is gone; nothing happens if it had been replaced."""
        if worker.connection is not connection:
            return
        worker.connection = None
        worker.disconnected.set()
        self._free.pop(worker.name, None)
        if worker.pidfd is None:
            self._watch_livelock(worker)

    async def next_job(self, worker: Worker) -> Assignment | None:
        """Wait for an assignment; None: the worker is not needed any more."""
        if worker.job is None:
            # It may have attached with a job that had ended.
            self.give_back(worker)
        # What it was woken for may have been taken back before it got here.
        while worker.assignment is None and not worker.retired:
            worker.waiting = asyncio.get_running_loop().create_future()
            try:
                await worker.waiting
            finally:
                worker.waiting = None
        if worker.assignment is not None:
            worker.delivered = True
        return worker.assignment

    def send_signal(self, worker: Worker, number: signal.Signals) -> bool:
        """Signal the worker's process; False if that is not possible (it is dead, or has not attached yet)."""
        if worker.pidfd is None or not is_locked(self._livelock(worker.name)):
            return False
        try:
            signal.pidfd_send_signal(worker.pidfd, number)
        except ProcessLookupError:
            return False
        return True

    def reopen_logs(self) -> None:
        """Have all workers go on in new log files."""
        self._spawner.reopen_logs()
        for worker in self._workers.values():
            self.send_signal(worker, signal.SIGHUP)

    # --- inside

    def _livelock(self, name: str) -> str:
        return os.path.join(self._directory, name)

    def _not_come(self, name: str) -> None:
        del self._coming[name]
        log.error("worker %s did not connect within %g seconds", name, ATTACH_TIME)
        self._want_again()

    def _want_again(self) -> None:
        self.want(self._wanted)

    def _hold_process(self, worker: Worker, pid: int) -> None:
        if worker.pidfd is not None or pid == os.getpid():
            # A worker inside this process (tests) can neither be watched nor signalled.
            worker.pid = pid
            return
        try:
            worker.pidfd = os.pidfd_open(pid)
        except OSError as err:
            raise ProtocolError(f"worker {worker.name} (process {pid}) is gone: {err.strerror}") from err
        worker.pid = pid
        asyncio.get_running_loop().add_reader(worker.pidfd, self._process_ended, worker)

    def _forget_process(self, worker: Worker) -> None:
        if worker.pidfd is not None:
            asyncio.get_running_loop().remove_reader(worker.pidfd)
            os.close(worker.pidfd)
            worker.pidfd = None

    def _process_ended(self, worker: Worker) -> None:
        self._forget_process(worker)
        self._start(self._bury(worker))

    def _watch_livelock(self, worker: Worker) -> None:
        self._start(self._poll_livelock(worker))

    async def _poll_livelock(self, worker: Worker) -> None:
        delay = 0.05
        while worker.connection is None and worker.pidfd is None:
            if not is_locked(self._livelock(worker.name)):
                await self._bury(worker)
                return
            await asyncio.sleep(delay)
            delay = min(delay * 2, 1.0)

    async def _bury(self, worker: Worker) -> None:
        # What it sent before it died is dealt with first; and its parent may know how it died.
        with contextlib.suppress(TimeoutError):
            if worker.connection is not None:
                await asyncio.wait_for(worker.disconnected.wait(), 2.0)
            if worker.name.startswith(self._names + "-"):
                await asyncio.wait_for(worker.status.wait(), 0.3)
        if self._workers.get(worker.name) is not worker:
            return
        del self._workers[worker.name]
        self._free.pop(worker.name, None)
        self._remove_files(worker.name)
        status = self._statuses.pop(worker.name, None)
        how = describe_status(status) if status is not None else "how is not known"
        if worker.job is not None or not (worker.retired or status == 0):
            log.warning("worker %s (process %s) is gone: %s", worker.name, worker.pid, how)
        if self._owner is not None:
            self._owner.worker_died(worker, how)

    def _remove_files(self, name: str) -> None:
        for path in (self._livelock(name), self._livelock(name) + ".held"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    async def _trim_often(self) -> None:
        while True:
            await asyncio.sleep(IDLE_TIME / 4)
            self.trim()

    def trim(self) -> None:
        """End workers that have been free for long, beyond the spare ones."""
        old = [worker for worker in self._free.values() if self._clock() - worker.free_since > IDLE_TIME]
        for worker in old[: max(0, len(self._free) - SPARE)]:
            self.retire(worker)

    def retire(self, worker: Worker) -> None:
        """Give the worker no further job: it ends when it asks for one."""
        worker.retired = True
        self._free.pop(worker.name, None)
        if worker.waiting is not None and not worker.waiting.done():
            worker.waiting.set_result(None)

    def _start(self, coroutine: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _end(connection: Connection) -> None:
    """Drop a connection and wait until what it was doing has stopped."""
    task = connection.task
    connection.drop()
    if task is not None:
        await asyncio.wait({task}, timeout=5.0)
        if not task.done():
            raise ExecError("the earlier connection of this worker is still busy; try again")


def describe_status(status: int) -> str:
    """How a process ended, in words."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"
