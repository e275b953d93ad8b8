"""Locks for running jobs: waiting on the lock table, and a journal by which the next master daemon knows what is held.

Before a worker learns that it has locks they stand in ``{run}/livelocks/<worker>.held``. A new daemon reads the files of living
workers before it answers anybody, so no lock is given away that a living job holds, even if its worker is busy for an hour.
The journal need not survive the machine: neither do the workers. So it is not synced.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Iterable

from ganeti.base import jsontext
from ganeti.base.errors import GanetiError
from ganeti.master.locks import LockTable, Owner
from ganeti.model.job import PRIORITY_HIGHEST
from ganeti.model.locks import LockName

log = logging.getLogger(__name__)

AGEING = 90.0
"""Seconds after which the priority of a waiting request rises by one, so that urgent jobs cannot hold it off for ever."""


class Journal:
    """The files that say what living workers hold."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def path(self, worker: str) -> str:
        return os.path.join(self._directory, worker + ".held")

    def write(self, worker: str, job: Owner, exclusive: Iterable[LockName], shared: Iterable[LockName]) -> None:
        """Replace the entry of a worker. A failure is logged: the worker itself says what it holds when it attaches again."""
        path = self.path(worker)
        text = jsontext.dumps({"job": job, "exclusive": sorted(exclusive), "shared": sorted(shared)})
        try:
            handle = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                os.write(handle, text.encode())
            finally:
                os.close(handle)
            os.rename(path + ".new", path)
        except OSError:
            log.exception("cannot note in %s which locks job %d holds", path, job)

    def read(self, worker: str, job: Owner) -> tuple[list[LockName], list[LockName]]:
        """What the worker held, exclusively and shared, for this job. Nothing was granted before its file was there."""
        try:
            with open(self.path(worker), encoding="utf-8") as stream:
                entry = jsontext.loads(stream.read())
        except FileNotFoundError:
            return [], []
        except (OSError, GanetiError):
            log.exception("cannot read which locks job %d holds", job)
            return [], []
        return (entry["exclusive"], entry["shared"]) if entry["job"] == job else ([], [])

    def remove(self, worker: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path(worker))


class LockService:
    """The lock table with waiting. All methods belong to the event loop's thread."""

    def __init__(self, journal: Journal) -> None:
        self.table = LockTable()
        self._journal = journal
        self._workers: dict[Owner, str] = {}
        self._waiting: dict[Owner, asyncio.Future[None]] = {}

    def restore(self, owner: Owner, worker: str) -> None:
        """Take over what the journal says of a living worker; raises `ConfigError` if it conflicts with another's."""
        self._workers[owner] = worker
        self.table.present(owner, *self._journal.read(worker, owner))

    def present(self, owner: Owner, worker: str, exclusive: Iterable[LockName], shared: Iterable[LockName]) -> None:
        """The worker says what it holds, which settles it; raises `ConfigError` if it conflicts with another's."""
        self._workers[owner] = worker
        self._changed(owner, self.table.present(owner, exclusive, shared))

    async def acquire(
        self,
        owner: Owner,
        worker: str,
        exclusive: Iterable[LockName],
        shared: Iterable[LockName],
        *,
        priority: int = 0,
        patience: float | None = None,
    ) -> bool:
        """Take all locks or none; False if that was not possible within `patience` seconds (None: wait for ever).

        When the call is interrupted its request is forgotten; locks that it has been granted meanwhile stay.
        """
        self._workers[owner] = worker
        if self.table.request(owner, exclusive, shared, priority):
            self._note(owner)
            return True
        granted = self._waiting[owner] = asyncio.get_running_loop().create_future()
        try:
            return await self._wait(owner, granted, priority, patience)
        finally:
            if self._waiting.get(owner) is granted:
                del self._waiting[owner]
            if not granted.done():
                self._wake(self.table.withdraw(owner))

    async def _wait(self, owner: Owner, granted: asyncio.Future[None], priority: int, patience: float | None) -> bool:
        loop = asyncio.get_running_loop()
        deadline = None if patience is None else loop.time() + patience
        while True:
            left = AGEING if deadline is None else min(AGEING, deadline - loop.time())
            await asyncio.wait({granted}, timeout=max(left, 0))
            if granted.done():
                return True
            if deadline is not None and loop.time() >= deadline:
                return False
            priority = max(priority - 1, PRIORITY_HIGHEST)
            self._wake(self.table.set_priority(owner, priority))

    def acquire_free(self, owner: Owner, worker: str, names: Iterable[LockName], minimum: int) -> list[LockName]:
        """Take whichever of the locks are free; see `LockTable.acquire_free`."""
        self._workers[owner] = worker
        taken = self.table.acquire_free(owner, names, minimum)
        self._note(owner)
        return taken

    def set_priority(self, owner: Owner, priority: int) -> None:
        """Change the priority of a waiting request."""
        self._wake(self.table.set_priority(owner, priority))

    def release(self, owner: Owner, names: Iterable[LockName] | None) -> None:
        """Give locks back (None: all)."""
        self._changed(owner, self.table.release(owner, names))

    def downgrade(self, owner: Owner, names: Iterable[LockName]) -> None:
        """Turn exclusive locks into shared ones."""
        self._changed(owner, self.table.downgrade(owner, names))

    def drop(self, owner: Owner) -> None:
        """The job has ended: it holds nothing and wants nothing any more."""
        # No note in the journal: entries of jobs that have ended are not looked at.
        self._workers.pop(owner, None)
        self._wake(self.table.withdraw(owner))
        self._wake(self.table.release(owner))

    def _changed(self, owner: Owner, granted: Iterable[Owner]) -> None:
        self._note(owner)
        self._wake(granted)

    def _note(self, owner: Owner) -> None:
        held = self.table.held(owner)
        worker = self._workers.get(owner)
        if worker is not None:
            self._journal.write(worker, owner, held.exclusive, held.shared)

    def _wake(self, granted: Iterable[Owner]) -> None:
        for owner in granted:
            self._note(owner)
            waiting = self._waiting.get(owner)
            if waiting is not None and not waiting.done():
                waiting.set_result(None)
