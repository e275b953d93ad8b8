"""Tables of the cluster store, and the one way in which they change: applying an entry of the change log.

The master writes an entry and applies it in the same transaction; a replica applies the entries that it is sent. Both go
through `apply`, so equal logs give equal tables.

Configuration objects are versioned: `objects` holds the present versions, `history` those that were replaced or removed, each
with the transactions between which it was valid. A reader can so go on reading the state of one transaction for hours, without
holding a read transaction open (which would keep the write-ahead log from being emptied).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ganeti.base import codec
from ganeti.base.errors import ConfigError

FORMAT = 1
"""Version of the tables. A store of an older version is migrated when its writer opens it."""

LogRow = tuple[int, int, str]
"""A row of the change log as it travels: (serial, epoch, text of the entry)."""

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY) WITHOUT ROWID, STRICT;
CREATE TABLE objects (
    kind TEXT NOT NULL, uuid TEXT NOT NULL, name TEXT, serial_no INTEGER NOT NULL, changed INTEGER NOT NULL,
    json TEXT NOT NULL, PRIMARY KEY (kind, uuid)
) STRICT;
CREATE INDEX objects_name ON objects (kind, name) WHERE name IS NOT NULL;
CREATE TABLE history (
    kind TEXT NOT NULL, uuid TEXT NOT NULL, died INTEGER NOT NULL, born INTEGER NOT NULL, name TEXT, json TEXT NOT NULL,
    PRIMARY KEY (kind, uuid, died)
) WITHOUT ROWID, STRICT;
CREATE INDEX history_died ON history (kind, died);
CREATE TABLE refs (
    name TEXT NOT NULL, value TEXT NOT NULL, kind TEXT NOT NULL, uuid TEXT NOT NULL,
    PRIMARY KEY (name, value, kind, uuid)
) WITHOUT ROWID, STRICT;
CREATE INDEX refs_object ON refs (uuid);
CREATE TABLE versions (kind TEXT PRIMARY KEY, serial INTEGER NOT NULL, epoch INTEGER NOT NULL) WITHOUT ROWID, STRICT;
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY, changed INTEGER NOT NULL, status TEXT NOT NULL, priority INTEGER NOT NULL,
    final INTEGER NOT NULL, archived INTEGER NOT NULL, json TEXT NOT NULL
) STRICT;
CREATE INDEX jobs_unfinished ON jobs (id) WHERE final = 0;
CREATE INDEX jobs_live ON jobs (id) WHERE archived = 0;
CREATE TABLE job_log (
    job INTEGER NOT NULL, serial INTEGER NOT NULL, op_index INTEGER NOT NULL, timestamp INTEGER NOT NULL, type TEXT NOT NULL,
    message TEXT NOT NULL, PRIMARY KEY (job, serial)
) WITHOUT ROWID, STRICT;
CREATE TABLE tokens (token TEXT PRIMARY KEY, serial INTEGER NOT NULL, objects TEXT NOT NULL) WITHOUT ROWID, STRICT;
CREATE INDEX tokens_serial ON tokens (serial);
CREATE TABLE changelog (serial INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, entry TEXT NOT NULL) STRICT;
"""

_META = {"format": FORMAT, "epoch": 0, "serial": 0, "last_job": 0, "log_floor": 0, "history_floor": 0, "cluster": ""}
"""`serial`, `epoch`: of the last entry; `log_floor`: the last serial no longer in the change log; `history_floor`: states before
it can no longer be read; `cluster`: uuid of the cluster."""

MIGRATIONS: dict[int, Callable[[sqlite3.Connection], None]] = {}
"""From each older format, the step to the next one; runs inside the transaction that raises the version."""


def connect(path: str, *, writable: bool) -> sqlite3.Connection:
    """A connection without implicit transactions. A reader's connection cannot change anything."""
    mode = "rwc" if writable else "ro"
    quoted = path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    connection = sqlite3.connect(
        f"file:{quoted}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False, timeout=10.0, cached_statements=128
    )
    if not writable:
        connection.execute("PRAGMA query_only = ON")
    return connection


def open_writable(path: str) -> sqlite3.Connection:
    """The writer's connection: tables made or migrated if need be, every commit durable (write-ahead log, synced).

    A new file can be read by its owner only, for it holds secrets; SQLite gives its side files the same mode.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = connect(path, writable=True)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        # After a burst the log file is cut back to this many bytes.
        connection.execute(f"PRAGMA journal_size_limit = {64 << 20}")
        connection.execute("BEGIN IMMEDIATE")
        prepare(connection)
        connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


def prepare(connection: sqlite3.Connection) -> None:
    """Make the tables, or bring them to the present format; inside a transaction."""
    found = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'meta'").fetchone()[0]
    if not found:
        for statement in _TABLES.split(";\n"):
            connection.execute(statement)
        connection.executemany("INSERT INTO meta VALUES (?, ?)", _META.items())
    version = read_meta(connection, "format")
    if version > FORMAT:
        raise ConfigError(f"the cluster store has format {version}, this software knows up to {FORMAT}; install a newer one")
    while version < FORMAT:
        MIGRATIONS[version](connection)
        version += 1
        write_meta(connection, "format", version)


def read_meta(connection: sqlite3.Connection, key: str) -> Any:
    """A value of the table of single values."""
    return connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()[0]


def write_meta(connection: sqlite3.Connection, key: str, value: Any) -> None:
    """Set a value of the table of single values."""
    connection.execute("UPDATE meta SET value = ? WHERE key = ?", (value, key))


# --- entries


@dataclass
class Entry:
    """What one transaction does, complete enough to repeat it elsewhere without understanding it."""

    time: float
    """Seconds since 1970."""
    token: str | None = None
    ops: list[list[Any]] = field(default_factory=list)
    """Each [operation, arguments ...]; the operations are the keys of `_OPERATIONS`."""

    def to_text(self) -> str:
        return codec.dumps([self.time, self.token, self.ops])

    @classmethod
    def from_text(cls, text: str) -> Entry:
        time, token, ops = codec.loads(text)
        return cls(time, token, ops)


@dataclass(frozen=True)
class _At:
    """Where an operation is applied."""

    connection: sqlite3.Connection
    serial: int
    epoch: int

    def run(self, sql: str, *arguments: Any) -> list[Any]:
        return self.connection.execute(sql, arguments).fetchall()


def apply(connection: sqlite3.Connection, row: LogRow, entry: Entry) -> None:
    """Write an entry to the change log and do what it says; inside a transaction. `finish` must follow the last one."""
    serial, epoch, _ = row
    at = _At(connection, serial, epoch)
    at.run("INSERT INTO changelog VALUES (?, ?, ?)", *row)
    for operation, *arguments in entry.ops:
        _OPERATIONS[operation](at, *arguments)
    if entry.token is not None:
        stored = [[op[1], op[5]] for op in entry.ops if op[0] == "put"]
        at.run("INSERT INTO tokens VALUES (?, ?, ?)", entry.token, serial, codec.dumps(stored))


def finish(connection: sqlite3.Connection, serial: int, epoch: int) -> None:
    """Record how far the store is, once per transaction."""
    write_meta(connection, "serial", serial)
    write_meta(connection, "epoch", epoch)


def _put(at: _At, kind: str, uuid: str, *rest: Any) -> None:
    """`rest`: name, serial number, text, index entries."""
    name, serial_no, json, refs = rest
    _bury(at, kind, uuid)
    at.run(
        "INSERT INTO objects VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (kind, uuid) DO UPDATE SET"
        " name = excluded.name, serial_no = excluded.serial_no, changed = excluded.changed, json = excluded.json",
        *(kind, uuid, name, serial_no, at.serial, json),
    )
    _set_refs(at, kind, uuid, {(index, value) for index, value in refs})
    _touch(at, kind)


def _delete(at: _At, kind: str, uuid: str) -> None:
    _bury(at, kind, uuid)
    at.run("DELETE FROM objects WHERE kind = ? AND uuid = ?", kind, uuid)
    _set_refs(at, kind, uuid, set())
    _touch(at, kind)


def _bury(at: _At, kind: str, uuid: str) -> None:
    at.run(
        "INSERT INTO history SELECT kind, uuid, ?, changed, name, json FROM objects WHERE kind = ? AND uuid = ?",
        *(at.serial, kind, uuid),
    )


def _set_refs(at: _At, kind: str, uuid: str, wanted: set[tuple[str, str]]) -> None:
    found = set(at.run("SELECT name, value FROM refs WHERE uuid = ? AND kind = ?", uuid, kind))
    for name, value in found - wanted:
        at.run("DELETE FROM refs WHERE name = ? AND value = ? AND kind = ? AND uuid = ?", name, value, kind, uuid)
    for name, value in wanted - found:
        at.run("INSERT INTO refs VALUES (?, ?, ?, ?)", name, value, kind, uuid)


def _touch(at: _At, kind: str) -> None:
    at.run(
        "INSERT INTO versions VALUES (?, ?, ?) ON CONFLICT (kind) DO UPDATE SET serial = excluded.serial, epoch = excluded.epoch",
        *(kind, at.serial, at.epoch),
    )


def _job(at: _At, ident: int, *rest: Any) -> None:
    """`rest`: status, priority, whether final, whether archived, text."""
    at.run(
        "INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET changed = excluded.changed,"
        " status = excluded.status, priority = excluded.priority, final = excluded.final, archived = excluded.archived,"
        " json = excluded.json",
        *(ident, at.serial, *rest),
    )
    at.run("UPDATE meta SET value = ? WHERE key = 'last_job' AND value < ?", ident, ident)


def _log(at: _At, job: int, lines: list[list[Any]]) -> None:
    at.connection.executemany("INSERT OR REPLACE INTO job_log VALUES (?, ?, ?, ?, ?, ?)", [(job, *line) for line in lines])


def _archive(at: _At, ids: list[int]) -> None:
    at.connection.executemany("UPDATE jobs SET archived = 1, changed = ? WHERE id = ?", [(at.serial, ident) for ident in ids])


def _remove_jobs(at: _At, ids: list[int]) -> None:
    for ident in ids:
        at.run("DELETE FROM jobs WHERE id = ?", ident)
        at.run("DELETE FROM job_log WHERE job = ?", ident)


def _meta(at: _At, key: str, value: Any) -> None:
    write_meta(at.connection, key, value)


def _prune(at: _At, log: int, history: int, tokens: int) -> None:
    """Forget change-log rows up to `log`, versions that ended up to `history`, and tokens up to `tokens` (serials)."""
    at.run("DELETE FROM changelog WHERE serial <= ?", log)
    at.run("DELETE FROM history WHERE died <= ?", history)
    at.run("DELETE FROM tokens WHERE serial <= ?", tokens)
    write_meta(at.connection, "log_floor", log)
    write_meta(at.connection, "history_floor", history)


_OPERATIONS: dict[str, Callable[..., None]] = {
    "put": _put,
    "delete": _delete,
    "job": _job,
    "log": _log,
    "archive": _archive,
    "remove-jobs": _remove_jobs,
    "meta": _meta,
    "prune": _prune,
}
