"""What operators do to jobs: cancel, kill, change the priority, archive."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Sequence

from ganeti.base.errors import Code, JobLost, PrereqError
from ganeti.master import jobstate
from ganeti.master.jobwriter import WriteStore
from ganeti.master.lockservice import LockService
from ganeti.master.queue import JobQueue, LiveJob
from ganeti.model.enums import JobStatus
from ganeti.model.job import PRIORITY_HIGHEST, PRIORITY_LOWEST, Job
from ganeti.store.transaction import Write

CANCEL_WAIT = 44.0
"""Seconds to wait for the end of a job that was waiting for locks."""
RUNNING_WAIT = 1.0
"""Seconds to wait for a job that was running: it looks only now and then whether it is to stop."""
ARCHIVE_GROUP = 200

ReadAll = Callable[[], list[Job]]


class JobControl:
    """Requests of operators. Each answers (whether it was done, text) where the public contract says so."""

    def __init__(self, queue: JobQueue, locks: LockService, write: WriteStore, read_all: ReadAll) -> None:
        self._queue = queue
        self._locks = locks
        self._write = write
        self._read_all = read_all
        """All jobs that are not archived. Blocking."""

    async def cancel(self, ident: int, kill: bool = False) -> tuple[bool, str]:
        """Cancel a job; with `kill`, end its process without ceremony."""
        live = self._queue.live.get(ident)
        if live is None:
            return False, f"Job {ident} has already ended with status {(await self.find(ident)).status}"
        if live.ending is None:
            self._ask(live, kill=kill)
        patience = CANCEL_WAIT
        if live.ending is None and live.job.status is JobStatus.RUNNING and not kill:
            patience = RUNNING_WAIT
        try:
            await asyncio.wait_for(live.done.wait(), patience)
        except TimeoutError:
            return False, self._still_there(live)
        if live.job.status is JobStatus.CANCELED:
            return True, f"Job {ident} was cancelled"
        if kill and live.killed:
            return True, f"Job {ident} was killed; its status is {live.job.status}"
        return False, f"Job {ident} has ended with status {live.job.status} before it could be cancelled"

    def _ask(self, live: LiveJob, *, kill: bool) -> None:
        live.cancelled = True
        worker = live.worker
        if worker is None or not worker.delivered:
            self._queue.conclude(live, jobstate.cancelled(live.job, self._queue.door.now()))
            return
        live.killed = live.killed or kill
        live.job = jobstate.canceling(live.job)
        live.changed()
        # A worker that has not come back since the daemon was restarted gets the signal when it does.
        self._queue.pool.send_signal(worker, signal.SIGKILL if kill else signal.SIGTERM)

    @staticmethod
    def _still_there(live: LiveJob) -> str:
        if live.job.status is JobStatus.RUNNING:
            return (
                f"Job {live.job.id} is running; it has been asked to stop and will, at the next place where it can."
                " To end it regardless, leaving its work half done, kill it"
            )
        return f"Job {live.job.id} has been asked to stop but its status is still {live.job.status}"

    async def change_priority(self, ident: int, priority: int) -> tuple[bool, str]:
        """Give the opcodes of a job that have not ended another priority."""
        if not PRIORITY_HIGHEST <= priority <= PRIORITY_LOWEST:
            text = f"priority {priority} is not between {PRIORITY_HIGHEST} (most urgent) and {PRIORITY_LOWEST}"
            raise PrereqError(text, Code.INVAL)
        live = self._queue.live.get(ident)
        if live is None or live.ending is not None:
            job = live.ending if live is not None and live.ending is not None else await self.find(ident)
            return False, f"Job {ident} has already ended with status {job.status}"
        live.job = jobstate.reprioritized(live.job, priority)
        self._queue.scheduler.set_priority(ident, priority)
        self._locks.set_priority(ident, priority)
        live.changed()
        await asyncio.shield(self._queue.writer.save(live.job))
        return True, f"Priorities of job {ident} have been changed to {priority}"

    async def archive(self, ident: int) -> bool:
        """Archive a job; False if it has not ended yet, or is archived already."""
        if ident in self._queue.live:
            return False
        job = await self.find(ident)
        if job.archived:
            return False
        await self._archive([ident])
        return True

    async def auto_archive(self, age: float, limit: float) -> tuple[int, int]:
        """Archive jobs that ended more than `age` seconds ago (-1: all that ended), for at most `limit` seconds.

        Returns how many were archived, and how many were not looked at for lack of time.
        """
        deadline = time.monotonic() + limit
        jobs = [job for job in await asyncio.to_thread(self._read_all) if jobstate.is_final(job)]
        before = self._queue.door.now() - int(age * 1_000_000)
        old = [job.id for job in jobs if age < 0 or (job.end or job.start or job.received or 0) < before]
        old = [ident for ident in old if ident not in self._queue.live]
        archived = 0
        while archived < len(old) and time.monotonic() < deadline:
            group = old[archived : archived + ARCHIVE_GROUP]
            await self._archive(group)
            archived += len(group)
        return archived, len(old) - archived

    async def _archive(self, ids: Sequence[int]) -> None:
        await self._write(Write(archive=ids))
        for ident in ids:
            self._queue.ended.pop(ident, None)

    async def find(self, ident: int) -> Job:
        """A job as everybody may see it; `JobLost` if there is none."""
        known = self._queue.live.get(ident) or self._queue.ended.get(ident)
        if known is not None:
            return known.job
        found = await asyncio.to_thread(self._queue.door.read_jobs, [ident])
        if not found:
            raise JobLost(f"there is no job {ident}")
        return found[0]
