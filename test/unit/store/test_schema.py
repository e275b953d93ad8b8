"""The file: who may read it, how it is named, and its versions."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from ganeti.base.errors import ConfigError
from ganeti.model.objects import Put
from ganeti.store import schema
from ganeti.store.reader import Reader
from ganeti.store.schema import Entry
from ganeti.store.writer import Store
from support.objects import make_group


def test_only_the_owner_may_read_the_store(tmp_path: Path) -> None:
    former = os.umask(0o022)
    try:
        with Store.open(str(tmp_path / "cluster.db"), create=True):
            assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    finally:
        os.umask(former)


def test_name_of_the_file_may_hold_anything(tmp_path: Path) -> None:
    path = tmp_path / "what? 100% #1.db"
    with Store.open(str(path), create=True) as store, Reader(str(path)) as reader:
        store.commit(None, [Put(make_group())]).result()
        assert reader.position() == (0, 1)
    assert path.exists()


def test_reader_cannot_write(tmp_path: Path) -> None:
    path = str(tmp_path / "cluster.db")
    Store.open(path, create=True).close()
    connection = schema.connect(path, writable=False)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        connection.execute("DELETE FROM meta")
    connection.close()


def test_older_store_is_migrated_step_by_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "cluster.db")
    Store.open(path, create=True).close()
    monkeypatch.setattr(schema, "FORMAT", 3)
    monkeypatch.setitem(schema.MIGRATIONS, 1, lambda connection: connection.execute("CREATE TABLE second (a)") and None)
    monkeypatch.setitem(schema.MIGRATIONS, 2, lambda connection: connection.execute("ALTER TABLE second ADD b") and None)
    Store.open(path).close()
    connection = schema.connect(path, writable=False)
    assert schema.read_meta(connection, "format") == 3
    assert connection.execute("SELECT a, b FROM second").fetchall() == []
    connection.close()


def test_failed_migration_leaves_the_old_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "cluster.db")
    Store.open(path, create=True).close()
    monkeypatch.setattr(schema, "FORMAT", 2)
    monkeypatch.setitem(schema.MIGRATIONS, 1, lambda connection: connection.execute("ALTER TABLE absent ADD b") and None)
    with pytest.raises(ConfigError, match="no such table"):
        Store.open(path)
    monkeypatch.undo()
    Store.open(path).close()


def test_newer_store_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "cluster.db")
    Store.open(path, create=True).close()
    monkeypatch.setattr(schema, "FORMAT", 0)
    with pytest.raises(ConfigError, match="format 1, this software knows up to 0"):
        Store.open(path)


def test_entry_survives_its_text() -> None:
    entry = Entry(1234.5678901, "é\n", [["put", "node", "u", None, 3, '{"a":"\\u0000"}', [["mac", "x"]]], ["archive", [1, 2]]])
    assert Entry.from_text(entry.to_text()) == entry
