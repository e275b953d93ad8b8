"""The copy of the cluster store on a master candidate, kept equal to the master's by entries of its change log.

A replica is an ordinary store file: readers read it, and after a fail-over `Store.open` writes it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import tempfile
import threading
import zlib
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

from ganeti.base.errors import ConfigError, DecodeError, LockTimeout, StaleEpoch
from ganeti.base.files import remove_quietly
from ganeti.base.flock import FileLock
from ganeti.store import schema
from ganeti.store.schema import Entry, LogRow

log = logging.getLogger(__name__)

LOCK_WAIT = 1.0
"""Seconds to wait for another writer of the file."""
_COMPRESSION = 3
_SIDE_FILES = ("-wal", "-shm")
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class _Damaged(ConfigError):
    """What is in the file cannot be gone on with."""


class Replica:
    """The writing end of a candidate's store file, which is made when the first entries or a snapshot arrive. Thread-safe.

    The file lock is held during each call only, so that a master daemon can take the file over at any time. From then on all
    calls raise `LockTimeout`. They raise `ConfigError` if the file cannot be read or written.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._mutex = threading.Lock()
        self._lock = FileLock(path + ".lock")
        self._connection: sqlite3.Connection | None = None

    def position(self) -> tuple[int, int]:
        """(epoch, serial) of the last entry it has; (0, 0) if there is no replica."""
        with self._mutex:
            if not os.path.exists(self.path):
                return 0, 0
            with self._writable() as connection:
                return _position(connection)

    def append(self, rows: Sequence[LogRow]) -> int:
        """Apply change-log rows that follow on what is there; durable when this returns. The result is the last serial it has.

        Rows that are there already are skipped, rows after a gap are not applied. The result 0 says that nothing was applied
        because the replica has to be replaced: the first row is there already, but not the same (it followed another master), or
        the file is damaged.
        Raises `StaleEpoch` if rows that differ from, or go beyond what is there are of a master older than the last one followed.
        """
        with self._mutex:
            if not rows and not os.path.exists(self.path):
                return 0
            try:
                with self._writable() as connection:
                    return _append(connection, rows)
            except _Damaged as err:
                log.warning("%s; it has to be replaced", err)
                return 0

    def replace(self, snapshot: bytes, serial: int) -> int:
        """Replace everything by a snapshot (see `snapshot`) that holds transactions up to `serial`; returns its serial.

        Readers see the old content or the new. Raises `DecodeError` if it is not a whole snapshot, `StaleEpoch` if it is
        of a master older than the last one followed; the replica is then as before.
        """
        with self._mutex, _unpacked(snapshot, os.path.dirname(self.path)) as source:
            epoch, found = _position(source)
            if found != serial:
                raise DecodeError("snapshot", f"it ends at transaction {found}, not {serial}")
            if self._is_damaged():
                self._remove_files()
            with self._writable() as connection:
                own_epoch, _ = _position(connection)
                if epoch < own_epoch:
                    raise StaleEpoch(f"this replica follows epoch {own_epoch}; a snapshot of epoch {epoch} is refused")
                source.backup(connection)
            return found

    def remove(self) -> None:
        """Remove the replica: this node is no candidate any more."""
        with self._mutex, self._locked():
            self._remove_files()

    def close(self) -> None:
        """Close the file."""
        with self._mutex:
            self._disconnect()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # --- the file

    @contextlib.contextmanager
    def _writable(self) -> Iterator[sqlite3.Connection]:
        with self._locked():
            try:
                connection = self._connection = self._connection or schema.open_writable(self.path)
                yield connection
            except (sqlite3.Error, OSError) as err:
                self._disconnect()
                damaged = isinstance(err, sqlite3.IntegrityError) or getattr(err, "sqlite_errorcode", 0) in _DAMAGE
                kind = _Damaged if damaged else ConfigError
                raise kind(f"cannot write the replica {self.path} of the cluster store: {err}") from err
            except BaseException:
                # Whatever was begun is undone by closing.
                self._disconnect()
                raise

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self._lock.acquire(LOCK_WAIT)
        except LockTimeout:
            raise LockTimeout(f"the cluster store {self.path} has another writer; is this node the master?") from None
        try:
            yield
        finally:
            self._lock.release()

    def _is_damaged(self) -> bool:
        if not os.path.exists(self.path):
            return False
        try:
            with self._writable() as connection:
                return bool(connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok")
        except ConfigError:
            return True

    def _remove_files(self) -> None:
        self._disconnect()
        for suffix in ("", *_SIDE_FILES):
            remove_quietly(self.path + suffix)

    def _disconnect(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None


def _append(connection: sqlite3.Connection, rows: Sequence[LogRow]) -> int:
    epoch, serial = _position(connection)
    if not rows:
        return serial
    same = _agrees(connection, rows[0])
    new = list(_following(rows, serial))
    if rows[-1][1] < epoch and (new or not same):
        raise StaleEpoch(f"this replica follows epoch {epoch}; entries of epoch {rows[-1][1]} are refused")
    if not same:
        return 0
    if not new:
        return serial
    connection.execute("BEGIN IMMEDIATE")
    for row in new:
        schema.apply(connection, row, Entry.from_text(row[2]))
    schema.finish(connection, new[-1][0], new[-1][1])
    connection.execute("COMMIT")
    return new[-1][0]


def _position(connection: sqlite3.Connection) -> tuple[int, int]:
    return schema.read_meta(connection, "epoch"), schema.read_meta(connection, "serial")


def _following(rows: Sequence[LogRow], serial: int) -> Iterator[LogRow]:
    """The rows that come after `serial`, up to the first gap."""
    for row in rows:
        if row[0] == serial + 1:
            yield row
            serial += 1


def _agrees(connection: sqlite3.Connection, row: LogRow) -> bool:
    """Whether a row is not there (any more, or yet), or is there as it is."""
    found = connection.execute("SELECT epoch, entry FROM changelog WHERE serial = ?", (row[0],)).fetchone()
    return found is None or found == (row[1], row[2])


# --- snapshots


def snapshot(path: str) -> tuple[bytes, int]:
    """A compressed copy of the whole store file as of one transaction, and the serial number of that. Writers may go on."""
    try:
        with contextlib.closing(schema.connect(path, writable=False)) as source, _in_memory() as copy:
            source.backup(copy)
            return zlib.compress(copy.serialize(), _COMPRESSION), schema.read_meta(copy, "serial")
    except sqlite3.Error as err:
        raise ConfigError(f"cannot copy the cluster store {path}: {err}") from err


@contextlib.contextmanager
def _in_memory() -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        yield connection


@contextlib.contextmanager
def _unpacked(snapshot: bytes, directory: str) -> Iterator[sqlite3.Connection]:
    """A connection to a temporary file with the content of a snapshot, which has been checked."""
    try:
        content = zlib.decompress(snapshot)
    except zlib.error as err:
        raise DecodeError("snapshot", f"it is damaged: {err}") from err
    with tempfile.NamedTemporaryFile(prefix=".snapshot.", dir=directory) as file:
        file.write(content)
        file.flush()
        connection = sqlite3.connect(file.name, isolation_level=None)
        try:
            if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise DecodeError("snapshot", "it is damaged")
            schema.prepare(connection)
            yield connection
        except sqlite3.DatabaseError as err:
            raise DecodeError("snapshot", f"it is damaged: {err}") from err
        finally:
            connection.close()
            for suffix in _SIDE_FILES:
                remove_quietly(file.name + suffix)
