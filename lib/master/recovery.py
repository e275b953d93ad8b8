"""What becomes, when the daemon starts, of the jobs that were not final when the last one ended.

Queued jobs are queued again. A job that was being executed goes on if its worker lives, holding the locks that the journal says;
if not, it fails: nobody knows how far it came.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from ganeti.base.errors import ConfigError, ExecError, PrereqError
from ganeti.master import jobstate
from ganeti.master.acceptance import recall
from ganeti.master.lockservice import LockService
from ganeti.master.queue import JobQueue, LiveJob
from ganeti.model.enums import JobStatus
from ganeti.model.job import Job, LogEntry

log = logging.getLogger(__name__)


class Recovery:
    """One daemon's taking over from the last."""

    def __init__(
        self,
        queue: JobQueue,
        locks: LockService,
        read_unfinished: Callable[[], list[Job]],
        read_log: Callable[[int], list[LogEntry]],
    ) -> None:
        self._queue = queue
        self._locks = locks
        self._read_unfinished = read_unfinished
        self._read_log = read_log

    async def run(self) -> None:
        """Take over. Nothing else may run meanwhile."""
        jobs = await asyncio.to_thread(self._read_unfinished)
        recalled = {int(job.id): _recall(self._queue, job) for job in jobs}
        depends = {dependency.job for one in recalled.values() for dependency in one.depends}
        statuses = await self._queue.statuses_of(depends - recalled.keys())
        lost = 0
        for job in jobs:
            live = recalled[int(job.id)]
            self._queue.live[job.id] = live
            live.log = await asyncio.to_thread(self._read_log, job.id)
            if job.worker is None:
                self._queue_again(live, statuses)
            elif not self._take_over(live):
                lost += 1
        if jobs:
            log.info("%d jobs were unfinished: %d go on, %d are lost", len(jobs), self._queue.running, lost)

    def _queue_again(self, live: LiveJob, statuses: dict[int, JobStatus | None]) -> None:
        if live.unusable is not None:
            self._queue.conclude(live, jobstate.failed(live.job, live.unusable, self._queue.door.now()))
        else:
            self._queue.schedule(live, statuses)

    def _take_over(self, live: LiveJob) -> bool:
        """Whether the job's worker lives."""
        job = live.job
        assert job.worker is not None
        worker = self._queue.pool.expect(job.worker, job.id)
        if worker is None:
            text = (
                f"job {job.id} was being executed when the master daemon ended, and its process (worker {job.worker}) is gone"
                " too, perhaps because the machine was restarted: what it had begun was neither finished nor undone: look at"
                " the objects it worked on"
            )
            self._queue.conclude(live, jobstate.failed(job, ExecError(text), self._queue.door.now()))
            return False
        live.worker, live.recovered = worker, True
        live.cancelled = any(op.status is JobStatus.CANCELING for op in job.ops)
        self._queue.running += 1
        try:
            self._locks.restore(job.id, job.worker)
        except ConfigError:
            # The worker will say what it holds when it attaches.
            log.exception("cannot restore the locks of job %d", job.id)
        return True


def _recall(queue: JobQueue, job: Job) -> LiveJob:
    try:
        accepted = recall(job, queue.door.find_op)
    except PrereqError as err:
        return LiveJob(job, [op.input for op in job.ops], unusable=err)
    return LiveJob(job, accepted.ops, accepted.depends)
