"""Saving jobs: whatever changes within one turn of the event loop is one transaction.

So a submission that starts at once is accepted and marked as started together, and a worker that finishes one job gets the next
without a second wait for the disk. States that nobody waits for (a job began to run, a line of its log) ride along with the
next transaction, or are written after half a second.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from ganeti.base.errors import ConfigError
from ganeti.model.job import Job, LogEntry
from ganeti.store.transaction import Write

log = logging.getLogger(__name__)

LAZY = 0.5
"""Seconds after which states that nobody waits for are written."""

WriteStore = Callable[[Write], Awaitable[object]]


@dataclass
class _Batch:
    new: dict[int, Job] = field(default_factory=dict)
    jobs: dict[int, Job] = field(default_factory=dict)
    log: dict[int, list[LogEntry]] = field(default_factory=dict)
    done: asyncio.Future[None] | None = None


class JobWriter:
    """See the text of the module. States are saved in the order in which they are given."""

    def __init__(self, write: WriteStore) -> None:
        self.write = write
        """The door to the store."""
        self._batch = _Batch()
        self._timer: asyncio.TimerHandle | None = None
        self._scheduled = False
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, job: Job) -> asyncio.Future[None]:
        """Store a new job. The future is done when it is on disk and replicated, or fails with the store's error."""
        self._batch.new[job.id] = job
        return self._soon()

    def save(self, job: Job) -> asyncio.Future[None]:
        """Store the present state of a job."""
        self._put(job)
        return self._soon()

    def later(self, job: Job) -> None:
        """Store the present state of a job some time; a later state may take its place."""
        self._put(job)
        self._some_time()

    def append_log(self, job: int, entry: LogEntry) -> None:
        """Store a line of a job's log. Nobody waits for it; but it was acknowledged, so it is written at once."""
        self._batch.log.setdefault(job, []).append(entry)
        self._soon()

    async def flush(self) -> None:
        """Wait until everything given so far has been written, or refused."""
        self._write_batch()
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _put(self, job: Job) -> None:
        target = self._batch.new if job.id in self._batch.new else self._batch.jobs
        target[job.id] = job

    def _soon(self) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        if self._batch.done is None:
            self._batch.done = loop.create_future()
        if not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._write_batch)
        return self._batch.done

    def _some_time(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LAZY, self._write_batch)

    def _write_batch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._scheduled = False
        batch, self._batch = self._batch, _Batch()
        if batch.new or batch.jobs or batch.log:
            task = asyncio.get_running_loop().create_task(self._perform(batch))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _perform(self, batch: _Batch) -> None:
        try:
            await self.write(Write(new_jobs=list(batch.new.values()), jobs=list(batch.jobs.values()), log=batch.log))
        except Exception as err:
            if batch.done is not None:
                batch.done.set_exception(err)
                batch.done.exception()  # looked at: whoever saved without waiting need not
            log.error("cannot save %d jobs: %s", len(batch.new) + len(batch.jobs), err)
            if isinstance(err, ConfigError):
                # The disk is full, perhaps. States are given again by whoever waits for them; lines of logs are not.
                for job, lines in batch.log.items():
                    self._batch.log[job] = lines + self._batch.log.get(job, [])
                self._some_time()
            return
        if batch.done is not None:
            batch.done.set_result(None)
