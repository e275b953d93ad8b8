"""Looking at jobs: rows for queries, and waiting for a job to change without asking again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ganeti.base.errors import JobLost
from ganeti.master.queue import JobQueue, LiveJob
from ganeti.model.job import Job, LogEntry
from ganeti.ops.base import summary
from ganeti.query.jobfields import JobView, check_fields, job_row, log_line, needs_log
from ganeti.rpc.luxi import WAIT_FOR_CHANGE_MAX

_MANY = 200

ReadJobs = Callable[..., list[Job]]
ReadLog = Callable[[int], list[LogEntry]]


class JobViews:
    """Jobs as clients see them: those in memory as they are now, the others as the store has them."""

    def __init__(self, queue: JobQueue, read_jobs: ReadJobs, read_log: ReadLog) -> None:
        self._queue = queue
        self._read_jobs = read_jobs
        """``(ids or None, archived=...)`` -> jobs. Blocking."""
        self._read_log = read_log

    async def find(self, ids: Sequence[int] | None, *, log: bool) -> list[JobView]:
        """Jobs in order of their ids: all that are not archived, or those of `ids` that exist (archived ones too)."""
        if ids is None:
            known = dict(self._queue.live)
        else:
            known = {ident: one for ident in ids if (one := self._in_memory(ident))}
        rest = None if ids is None else [ident for ident in ids if ident not in known]
        views: dict[int, JobView] = {}
        if rest is None or rest:
            views = await asyncio.to_thread(self._read, rest, log)
        # What ended while the store was being read is in both: memory is right.
        views |= {ident: JobView(one.job, tuple(one.log), self._summarize) for ident, one in known.items()}
        return [views[ident] for ident in sorted(views)]

    def _read(self, ids: Sequence[int] | None, log: bool) -> dict[int, JobView]:
        jobs = self._read_jobs(ids, archived=ids is not None)
        return {
            int(job.id): JobView(job, self._read_log(job.id) if log else (), self._summarize) for job in jobs
        }

    def _in_memory(self, ident: int) -> LiveJob | None:
        return self._queue.live.get(ident) or self._queue.ended.get(ident)

    def _summarize(self, op: Mapping[str, Any]) -> str:
        return summary(op, self._queue.door.find_op)

    async def rows(self, ids: Iterable[int] | None, names: Sequence[str]) -> list[list[Any] | None]:
        """Values of fields; None in the place of a job that does not exist."""
        check_fields(names)
        wanted = None if ids is None else list(ids)
        views = await self.find(wanted, log=needs_log(names))
        if len(views) < _MANY:
            rows = _rows(views, names)
        else:
            # Nobody else is to wait for it.
            rows = await asyncio.to_thread(_rows, views, names)
        return list(rows.values()) if wanted is None else [rows.get(ident) for ident in wanted]

    async def wait_for_change(
        self, ident: int, names: Sequence[str], previous: Any, serial: int, patience: float
    ) -> list[Any]:
        """Field values and log lines later than `serial`, once there is anything new, or the job is final, or time is up."""
        check_fields(names)
        live = self._queue.live.get(ident)
        if live is None:
            return await self._ended(ident, names, serial)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + min(patience, WAIT_FOR_CHANGE_MAX)
        while True:
            row = job_row(JobView(live.job, live.log, self._summarize), names)
            lines = [log_line(entry) for entry in live.log if entry.serial > serial]
            left = deadline - loop.time()
            if row != previous or lines or live.done.is_set() or left <= 0:
                return [row, lines]
            changed = loop.create_future()
            live.watchers.add(changed)
            try:
                await asyncio.wait_for(changed, left)
            except TimeoutError:
                pass  # the answer then is what it was
            finally:
                live.watchers.discard(changed)

    async def _ended(self, ident: int, names: Sequence[str], serial: int) -> list[Any]:
        views = await self.find([ident], log=True)
        if not views:
            raise JobLost(f"there is no job {ident}")
        return [job_row(views[0], names), [log_line(entry) for entry in views[0].log if entry.serial > serial]]


def _rows(views: Iterable[JobView], names: Sequence[str]) -> dict[int, list[Any]]:
    return {int(view.job.id): job_row(view, names) for view in views}
