"""Reading the cluster store: consistent snapshots of the configuration, jobs, and the change log."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from ganeti.base import codec
from ganeti.base.errors import ConfigError
from ganeti.model.config import Config
from ganeti.model.enums import Kind
from ganeti.model.ids import JobId
from ganeti.model.job import Job, LogEntry
from ganeti.store import schema
from ganeti.store.rows import DecodeCache, TableRows, View, run
from ganeti.store.schema import LogRow

_Version = tuple[int, int]
"""(serial, epoch) of the last change to a kind."""

_POSITION = (
    "SELECT key, value, 0 FROM meta WHERE key IN ('serial', 'epoch') UNION ALL SELECT kind, serial, epoch FROM versions"
)


class Reader:
    """Read-only access to one store file, for any number of threads. Open it after a fork, not before.

    All methods raise `ConfigError` if the file cannot be read.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._mutex = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._inode: tuple[int, int] | None = None
        self._objects = DecodeCache()
        self._jobs = DecodeCache(20_000)
        self._views: dict[Kind, tuple[_Version, View]] = {}
        self._last: SnapshotRows | None = None

    def close(self) -> None:
        """Close all connections; snapshots can then answer only from what they have seen."""
        with self._mutex:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # --- configuration

    def snapshot(self) -> SnapshotRows:
        """The configuration as of the last transaction. It stays as it is, for hours, without holding up the writer."""
        self._reopen_if_replaced()
        rows = self.query(_POSITION, ())
        facts = {key: value for key, value, _ in rows if key in ("serial", "epoch")}
        versions = {Kind(key): (serial, epoch) for key, serial, epoch in rows if key not in facts}
        last = self._last
        if last is not None and (last.serial, last.epoch) == (facts["serial"], facts["epoch"]):
            return last
        self._last = fresh = SnapshotRows(self, self._objects, facts["serial"], facts["epoch"], versions)
        return fresh

    def config(self) -> Config:
        """The configuration as of the last transaction."""
        return Config(self.snapshot())

    def position(self) -> tuple[int, int]:
        """(epoch, serial) of the last transaction."""
        self._reopen_if_replaced()
        facts = dict(self.query("SELECT key, value FROM meta WHERE key IN ('serial', 'epoch')", ()))
        return facts["epoch"], facts["serial"]

    # --- jobs

    def job(self, ident: int) -> Job | None:
        """A job, archived or not; None if there is none with this id."""
        found = self.jobs([ident], archived=True)
        return found[0] if found else None

    def jobs(self, ids: Iterable[int] | None = None, *, unfinished: bool = False, archived: bool = False) -> list[Job]:
        """Jobs in the order of their ids: all of them or those of `ids` that exist; archived ones only if asked for."""
        conditions = ["1"]
        if unfinished:
            conditions.append("final = 0")
        if not archived:
            conditions.append("archived = 0")
        sql = f"SELECT id, archived, json FROM jobs WHERE {' AND '.join(conditions)}"
        if ids is None:
            rows = self.query(sql + " ORDER BY id", ())
        else:
            wanted = codec.dumps(sorted(set(ids)))
            rows = self.query(sql + " AND id IN (SELECT value FROM json_each(?)) ORDER BY id", (wanted,))
        return [self._decode_job(*row) for row in rows]

    def job_log(self, ident: int, after: int = 0) -> list[LogEntry]:
        """Lines of a job's log whose serial is greater than `after`, in order."""
        rows = self.query(
            "SELECT serial, op_index, timestamp, type, message FROM job_log WHERE job = ? AND serial > ? ORDER BY serial",
            (ident, after),
        )
        return [
            LogEntry(serial=serial, op_index=op_index, timestamp=timestamp, type=word, message=codec.loads(text))
            for serial, op_index, timestamp, word, text in rows
        ]

    def last_job_id(self) -> int:
        """The highest id ever given to a job; 0 if there was none."""
        return int(self.query("SELECT value FROM meta WHERE key = 'last_job'", ())[0][0])

    def _decode_job(self, ident: int, archived: int, text: str) -> Job:
        job = self._jobs.decode(ident, Job, text)
        return job if job.archived == bool(archived) else replace(job, id=JobId(ident), archived=bool(archived))

    # --- change log

    def log_rows(self, after: int, limit: int = 1000, size: int = 4 << 20) -> list[LogRow] | None:
        """Up to `limit` rows (about `size` bytes) of the change log after serial `after`; None if some have been forgotten."""
        rows = self.query(
            "SELECT serial, epoch, entry FROM (SELECT serial, epoch, entry, sum(length(entry)) OVER (ORDER BY serial) -"
            " length(entry) AS before FROM (SELECT * FROM changelog WHERE serial > :a1 ORDER BY serial LIMIT :a2))"
            " WHERE before < :a3 UNION ALL SELECT value, NULL, NULL FROM meta WHERE key = 'log_floor'",
            (after, limit, size),
        )
        floor = rows.pop()[0]
        return None if after < floor else [(serial, epoch, text) for serial, epoch, text in rows]

    # --- connections

    def query(self, sql: str, arguments: Sequence[Any]) -> list[tuple[Any, ...]]:
        """All rows of one statement."""
        with self._connection() as connection:
            return run(connection, sql, arguments)

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._mutex:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                connection = self._open()
            try:
                yield connection
            except sqlite3.Error:
                connection.close()
                raise
        except sqlite3.Error as err:
            raise ConfigError(f"cannot read the cluster store {self.path}: {err}; only master candidates have one") from err
        with self._mutex:
            self._idle.append(connection)

    def _open(self) -> sqlite3.Connection:
        connection = schema.connect(self.path, writable=False)
        self._inode = self._inode or self._find_inode()
        return connection

    def _find_inode(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _reopen_if_replaced(self) -> None:
        # A node that stopped being a candidate and became one again has a new file under the old name.
        if self._inode is not None and self._inode != self._find_inode():
            self.close()
            self._inode = None

    # --- whole kinds, shared by snapshots

    def loaded_view(self, kind: Kind, version: _Version) -> View | None:
        """All objects of a kind as of `version`, if they are the ones last loaded."""
        known = self._views.get(kind)
        return known[1] if known is not None and known[0] == version else None

    def keep_view(self, kind: Kind, version: _Version, view: View) -> None:
        """Share a view with other snapshots, unless it is older than what is there."""
        known = self._views.get(kind)
        if known is None or known[0] < version:
            self._views[kind] = (version, view)


class SnapshotRows:
    """The configuration as of one transaction; an `IndexedRows`. Objects are read and decoded when they are first wanted."""

    def __init__(
        self, reader: Reader, cache: DecodeCache, serial: int, epoch: int, versions: dict[Kind, _Version]
    ) -> None:
        self.epoch = epoch
        self._reader = reader
        self._tables = TableRows(reader.query, cache, serial)
        self._versions = versions
        self._views: dict[Kind, View] = {}
        self._known: dict[tuple[Kind, str], Any] = {}

    @property
    def serial(self) -> int:
        return self._tables.serial

    def get(self, kind: Kind, uuid: str) -> Any | None:
        view = self._loaded(kind)
        if view is not None:
            return view.by_uuid.get(uuid)
        key = (kind, uuid)
        if key not in self._known:
            self._known[key] = self._tables.get(kind, uuid)
        return self._known[key]

    def by_name(self, kind: Kind, name: str) -> Any | None:
        view = self._loaded(kind)
        return view.by_name.get(name) if view is not None else self._tables.by_name(kind, name)

    def all(self, kind: Kind) -> Sequence[Any]:
        view = self._loaded(kind)
        if view is None:
            view = self._views[kind] = self._tables.view(kind)
            self._reader.keep_view(kind, self._version(kind), view)
        return view.objects

    def names(self, kind: Kind) -> Sequence[str]:
        view = self._loaded(kind)
        return view.names if view is not None else self._tables.names(kind)

    def instances_of(self, node: str, *, primary: bool) -> Sequence[Any]:
        return self._tables.instances_of(node, primary=primary)

    def lookup(self, index: str, value: str) -> list[tuple[Kind, str]]:
        return self._tables.lookup(index, value)

    def _loaded(self, kind: Kind) -> View | None:
        view = self._views.get(kind)
        if view is None:
            view = self._reader.loaded_view(kind, self._version(kind))
            if view is not None:
                self._views[kind] = view
        return view

    def _version(self, kind: Kind) -> _Version:
        return self._versions.get(kind, (0, 0))
