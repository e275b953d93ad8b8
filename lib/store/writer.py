"""The only writer of the cluster store.

Requests are queued and written by one thread. Those that arrive together share a transaction, and so its sync to disk; each is
checked on its own, so that a bad one does not fail the others. A request is answered when it is on disk and the hook
`on_commit` (replication) says so; the thread meanwhile goes on with the next requests.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from ganeti.base.errors import ConfigError, LockTimeout, StaleEpoch
from ganeti.base.flock import FileLock
from ganeti.model.changes import Committed
from ganeti.model.ids import JobId
from ganeti.model.job import Job, LogEntry
from ganeti.model.objects import Change
from ganeti.store import schema
from ganeti.store.rows import DecodeCache
from ganeti.store.schema import LogRow
from ganeti.store.transaction import Transaction, Write

__all__ = ["OnCommit", "Store", "Write"]

log = logging.getLogger(__name__)

OnCommit = Callable[[list[LogRow]], "Future[None] | None"]
"""Called with new change-log rows once they are on disk (with none if a request was repeated). The requests behind them are
answered when the future is done; None: at once."""

MAX_GROUP = 256
"""Requests per transaction."""
LAZY_DELAY = 0.1
"""Seconds that a lazy request waits for company."""
LOCK_WAIT = 5.0
"""Seconds to wait for a former writer to let go of the file."""

@dataclass
class _Request:
    what: Write | int
    """A number: raise the epoch to it."""
    lazy: bool
    arrived: float
    future: Future[Committed] = field(default_factory=Future)
    answer: Committed | None = None


class Store:
    """The writer's end of a store file. At most one exists per file, which a file lock ensures. Thread-safe.

    The methods that return a future fail it with `Conflict` or `ConfigError` (the change is refused), `ConfigError` (cannot be
    written, as when the disk is full; nothing was changed and later requests may succeed) or `StaleEpoch` (this master has been
    replaced; it is final).
    """

    def __init__(self, path: str, connection: sqlite3.Connection, lock: FileLock, clock: Callable[[], float]) -> None:
        """Use `Store.open`."""
        self.path = path
        self.on_commit: OnCommit | None = None
        self._connection: sqlite3.Connection | None = connection
        self._lock = lock
        self._clock = clock
        self._cache = DecodeCache(50_000)
        self._serial = int(schema.read_meta(connection, "serial"))
        self._epoch = int(schema.read_meta(connection, "epoch"))
        self._last_job = int(schema.read_meta(connection, "last_job"))
        self._replaced: StaleEpoch | None = None
        self._queue: deque[_Request] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    @classmethod
    def open(
        cls, path: str, *, epoch: int | None = None, create: bool = False, clock: Callable[[], float] = time.time,
        on_commit: OnCommit | None = None,
    ) -> Store:  # fmt: skip
        """Open the store for writing, as the master of `epoch` (None: of the epoch it holds).

        Raises `LockTimeout` if another process writes it, `StaleEpoch` if it has seen a higher epoch, `ConfigError` if it
        cannot be opened, or does not exist and `create` is not given.
        """
        lock = FileLock(path + ".lock")
        try:
            lock.acquire(LOCK_WAIT)
            connection = _open(path, create=create)
        except LockTimeout:
            raise LockTimeout(f"the cluster store {path} has another writer; is a master daemon running already?") from None
        except OSError as err:
            raise ConfigError(f"cannot open the cluster store {path}: {err.strerror or err}") from err
        except BaseException:
            lock.release()
            raise
        store = cls(path, connection, lock, clock)
        try:
            if epoch is not None:
                store._adopt(epoch)
        except BaseException:
            store.close()
            raise
        store.on_commit = on_commit
        return store

    def close(self) -> None:
        """Write what is queued, then let go of the file."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread is not threading.current_thread():
            self._thread.join()
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def serial(self) -> int:
        """Number of the last transaction on disk."""
        return self._serial

    @property
    def epoch(self) -> int:
        return self._epoch

    # --- requests

    def commit(self, token: str | None, changes: Sequence[Change]) -> Future[Committed]:
        """Store changes of the configuration, all or none."""
        return self.write(Write(changes=changes, token=token))

    def accept_jobs(self, jobs: Sequence[Job]) -> Future[Committed]:
        """Store new jobs, all or none."""
        return self.write(Write(new_jobs=jobs))

    def save_jobs(self, jobs: Sequence[Job], *, lazy: bool = False) -> Future[Committed]:
        """Store the present state of jobs that exist."""
        return self.write(Write(jobs=jobs), lazy=lazy)

    def append_log(self, job: int, lines: Sequence[LogEntry], *, lazy: bool = False) -> Future[Committed]:
        """Store lines of a job's log."""
        return self.write(Write(log={job: lines}), lazy=lazy)

    def archive_jobs(self, ids: Sequence[int]) -> Future[Committed]:
        """Move jobs out of the ordinary lists."""
        return self.write(Write(archive=ids))

    def remove_jobs(self, ids: Sequence[int]) -> Future[Committed]:
        """Forget jobs and their logs."""
        return self.write(Write(remove=ids))

    def write(self, request: Write, *, lazy: bool = False) -> Future[Committed]:
        """Store whatever the request holds, in one transaction.

        Requests are written in the order in which they were made. A lazy one waits up to `LAZY_DELAY` for others to share their
        transaction.
        """
        return self._enqueue(request, lazy)

    def allocate_job_ids(self, count: int) -> list[JobId]:
        """A block of ids that no job ever had. They are taken for good when jobs with them have been accepted."""
        with self._wake:
            first = self._last_job + 1
            self._last_job += count
        return [JobId(ident) for ident in range(first, first + count)]

    def new_epoch(self, at_least: int = 0) -> int:
        """Begin a new epoch, higher than any before and not lower than `at_least`; durable when this returns."""
        return self._set_epoch(max(self._epoch + 1, at_least))

    def flush(self) -> None:
        """Wait until everything asked for so far is on disk (and replicated)."""
        self._enqueue(Write(), False).result()

    def _adopt(self, epoch: int) -> None:
        if epoch < self._epoch:
            raise StaleEpoch(
                f"the cluster store {self.path} belongs to epoch {self._epoch}; a master of epoch {epoch} may not write it"
            )
        if epoch > self._epoch:
            self._set_epoch(epoch)

    def _set_epoch(self, epoch: int) -> int:
        self._enqueue(epoch, False).result()
        return epoch

    def _enqueue(self, what: Write | int, lazy: bool) -> Future[Committed]:
        request = _Request(what, lazy, time.monotonic())
        with self._wake:
            if self._closing:
                raise ConfigError(f"the cluster store {self.path} is closed")
            self._queue.append(request)
            self._wake.notify()
        return request.future

    # --- the writer thread

    def _run(self) -> None:
        while True:
            group = self._next_group()
            if not group:
                return
            try:
                self._write_group(group)
            except Exception as err:
                # A defect here must not leave callers waiting for ever.
                log.exception("writing to the cluster store failed")
                for request in group:
                    _fail(request, err)

    def _next_group(self) -> list[_Request]:
        """The requests of the next transaction; none when the store is being closed and all is written."""
        with self._wake:
            while True:
                if self._closing or any(not request.lazy for request in self._queue):
                    break
                age = time.monotonic() - self._queue[0].arrived if self._queue else None
                if age is not None and age >= LAZY_DELAY:
                    break
                self._wake.wait(None if age is None else LAZY_DELAY - age)
            taken = [self._queue.popleft() for _ in range(min(len(self._queue), MAX_GROUP))]
            closing = self._closing and not self._queue
        ready = [request for request in taken if request.future.set_running_or_notify_cancel()]
        return ready if ready or closing else self._next_group()

    def _write_group(self, group: list[_Request]) -> None:
        if self._replaced is not None:
            for request in group:
                _fail(request, self._replaced)
            return
        try:
            connection = self._connection = self._connection or schema.open_writable(self.path)
            rows = self._transaction(connection, group)
        except sqlite3.Error as err:
            self._abandon_connection()
            reason = ConfigError(f"cannot write the cluster store {self.path}: {err}; nothing was changed")
            log.error("%s", reason)
            for request in group:
                _fail(request, reason)
            return
        if rows:
            self._serial, self._epoch = rows[-1][0], rows[-1][1]
        answered = [request for request in group if request.answer is not None]
        if answered:
            self._acknowledge(answered, rows)

    def _transaction(self, connection: sqlite3.Connection, group: list[_Request]) -> list[LogRow]:
        connection.execute("BEGIN IMMEDIATE")
        transaction = Transaction(connection, self._cache, self._serial, self._epoch, self._clock())
        for request in group:
            try:
                request.answer = transaction.perform(request.what)
            except sqlite3.Error:
                raise
            except Exception as err:
                _fail(request, err)
        transaction.finish()
        connection.execute("COMMIT")
        return transaction.rows

    def _abandon_connection(self) -> None:
        # After an I/O error the state of a connection cannot be trusted: closing it undoes whatever was not committed.
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _acknowledge(self, answered: list[_Request], rows: list[LogRow]) -> None:
        replicated = self.on_commit(rows) if self.on_commit is not None else None
        if replicated is None:
            for request in answered:
                _answer(request)
        else:
            replicated.add_done_callback(lambda future: self._replicated(answered, future))

    def _replicated(self, answered: list[_Request], future: Future[None]) -> None:
        error = future.exception()
        if isinstance(error, StaleEpoch):
            self._replaced = error
        for request in answered:
            if error is None:
                _answer(request)
            else:
                _fail(request, error)


def _open(path: str, *, create: bool) -> sqlite3.Connection:
    try:
        if not create and not os.path.exists(path):
            raise ConfigError(f"there is no cluster store {path}; was the cluster initialised, and is this its master?")
        return schema.open_writable(path)
    except sqlite3.Error as err:
        raise ConfigError(f"cannot open the cluster store {path}: {err}") from err


def _answer(request: _Request) -> None:
    assert request.answer is not None
    if not request.future.done():
        request.future.set_result(request.answer)


def _fail(request: _Request, error: BaseException) -> None:
    if not request.future.done():
        request.future.set_exception(error)
