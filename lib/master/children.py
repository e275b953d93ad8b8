"""Jobs that jobs submit. A worker that did not get the answer asks again, with the same token: nothing is submitted twice.

The token stands in the reason trail of each job that was submitted with it, so that the next daemon knows as well.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence

from ganeti.base.errors import GanetiError
from ganeti.master.queue import JobQueue
from ganeti.model.job import Job
from ganeti.rpc.luxi import WireOp

SOURCE = "gnt:job"
_TEXT = re.compile(r"job=(\d+);submission=([^;]+);index=(\d+)")

Answers = list[tuple[bool, int | str]]


class Children:
    """Submissions on behalf of running jobs."""

    def __init__(self, queue: JobQueue, read_all: Callable[[], list[Job]]) -> None:
        self._queue = queue
        self._read_all = read_all
        """All jobs that are not archived. Blocking."""
        self._answers: dict[str, asyncio.Future[Answers]] = {}
        self._parents: dict[int, list[str]] = {}

    @property
    def remembered(self) -> int:
        """How many answers are kept."""
        return len(self._answers)

    async def submit(self, parent: int, jobs: Sequence[Sequence[WireOp]], token: str) -> Answers:
        """Submit jobs; for each (True, id) or (False, what is wrong). The same token again gives the same answer."""
        if not token:
            return await self._submit(parent, jobs, token)
        known = self._answers.get(token)
        if known is None:
            known = asyncio.ensure_future(self._submit(parent, jobs, token))
            self._answers[token] = known
            self._parents.setdefault(parent, []).append(token)
            known.add_done_callback(lambda future: self._forget_failure(token, future))
        return await asyncio.shield(known)

    def ended(self, parent: int) -> None:
        """The job that submitted others has ended: it will not ask again."""
        for token in self._parents.pop(parent, ()):
            self._answers.pop(token, None)

    def _forget_failure(self, token: str, future: asyncio.Future[Answers]) -> None:
        if future.cancelled() or future.exception() is not None:
            self._answers.pop(token, None)

    async def _submit(self, parent: int, jobs: Sequence[Sequence[WireOp]], token: str) -> Answers:
        live = self._queue.live.get(parent)
        if token and live is not None and live.recovered:
            first = await self._find(parent, token)
            if first is not None:
                return await self._recall(first, jobs)
        marked = [[_marked(op, parent, token, index) for op in ops] for index, ops in enumerate(jobs)]
        answers = await self._queue.submit(marked)
        return [(False, str(one)) if isinstance(one, GanetiError) else (True, one) for one in answers]

    async def _find(self, parent: int, token: str) -> int | None:
        """The id of the first of the jobs that were submitted with the token."""
        for job in await asyncio.to_thread(self._read_all):
            for source, text, *_ in job.ops[0].input.get("reason") or ():
                found = _TEXT.fullmatch(text) if source == SOURCE else None
                if found and int(found[1]) == parent and found[2] == token:
                    return int(job.id) - int(found[3])
        return None

    async def _recall(self, first: int, jobs: Sequence[object]) -> Answers:
        ids = range(first, first + len(jobs))
        statuses = await self._queue.statuses_of(set(ids))
        refused = "it was refused when it was submitted, before the master daemon was restarted"
        return [
            (True, ident) if ident in self._queue.live or statuses.get(ident) is not None else (False, refused)
            for ident in ids
        ]


def _marked(op: WireOp, parent: int, token: str, index: int) -> WireOp:
    if not token:
        return op
    entry = [SOURCE, f"job={parent};submission={token};index={index}", 0]
    return {**op, "reason": [*(op.get("reason") or ()), entry]}
