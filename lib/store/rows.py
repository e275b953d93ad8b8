"""Configuration objects read from the tables as of one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from ganeti.base import codec
from ganeti.base.errors import ConfigError
from ganeti.base.text import natural_key
from ganeti.model.enums import Kind
from ganeti.model.index import entries
from ganeti.model.memory import sort_key
from ganeti.model.objects import CLASSES

T = TypeVar("T")
Query = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]
"""Runs one statement and returns all its rows."""
Key = tuple[Kind, str]

PRESENT = 1 << 62
"""A serial number after every transaction: the state as it is now."""

# Every statement reads the present versions that are old enough, the former versions that were valid then, and (as its last
# row) up to where former versions have been forgotten. One statement sees one state of the database.
_FLOOR = " UNION ALL SELECT NULL, NULL, value, 0 FROM meta WHERE key = 'history_floor'"
_ONE = (
    "SELECT kind, uuid, json, 0 FROM objects WHERE kind = :a1 AND uuid = :a2 AND changed <= :a3"
    " UNION ALL SELECT kind, uuid, json, 0 FROM history WHERE kind = :a1 AND uuid = :a2 AND died > :a3 AND born <= :a3" + _FLOOR
)
_NAMED = (
    "SELECT kind, uuid, json, 0 FROM objects WHERE kind = :a1 AND name = :a2 AND changed <= :a3"
    " UNION ALL SELECT kind, uuid, json, 0 FROM history WHERE kind = :a1 AND name = :a2 AND died > :a3 AND born <= :a3" + _FLOOR
)
_ALL = (
    "SELECT name, uuid, json, 0 FROM objects WHERE kind = :a1 AND changed <= :a2"
    " UNION ALL SELECT name, uuid, json, 0 FROM history WHERE kind = :a1 AND died > :a2 AND born <= :a2" + _FLOOR
)
_NAMES = (
    "SELECT name, uuid, 0, 0 FROM objects WHERE kind = :a1 AND changed <= :a2 AND name IS NOT NULL"
    " UNION ALL SELECT name, uuid, 0, 0 FROM history"
    " WHERE kind = :a1 AND died > :a2 AND born <= :a2 AND name IS NOT NULL" + _FLOOR
)
# Entries of former versions are not kept: whether one of them matches (fourth column) is left to the caller.
_LOOKUP = (
    "SELECT objects.kind, objects.uuid, json, 0 FROM refs JOIN objects USING (kind, uuid)"
    " WHERE refs.name = :a1 AND refs.value = :a2 AND changed <= :a3"
    f" UNION ALL SELECT kind, uuid, json, 1 FROM history WHERE kind IN ({', '.join(repr(str(kind)) for kind in Kind)})"
    " AND died > :a3 AND born <= :a3" + _FLOOR
)


class DecodeCache:
    """Objects by their key, each valid for exactly one text. Shared by all snapshots and threads of a process."""

    def __init__(self, limit: int = 200_000) -> None:
        self._limit = limit
        self._known: dict[Any, tuple[str, Any]] = {}

    def decode(self, key: Any, cls: type[T], text: str) -> T:
        """The object that the text stands for."""
        known = self._known.get(key)
        # Comparing texts costs next to nothing, and stays right even where a replica was replaced by another history.
        if known is not None and known[0] == text:
            hit: T = known[1]
            return hit
        value = codec.from_json(cls, text)
        self.learn(key, text, value)
        return value

    def learn(self, key: Any, text: str, value: Any) -> None:
        """Remember what a text stands for."""
        if len(self._known) >= self._limit:
            self._known.clear()
        self._known[key] = (text, value)


class View:
    """All objects of a kind at one moment, in order."""

    def __init__(self, found: list[tuple[str | None, str, Any]]) -> None:
        """`found`: (name, uuid, object)."""
        found.sort(key=lambda row: sort_key(row[0], row[1]))
        self.objects = [obj for _, _, obj in found]
        self.names = [name for name, _, _ in found if name is not None]
        self.by_uuid = {uuid: obj for _, uuid, obj in found}
        self.by_name = {name: obj for name, _, obj in found if name is not None}


class TableRows:
    """An `IndexedRows` that asks the tables each time, as of transaction `serial`."""

    def __init__(self, query: Query, cache: DecodeCache, serial: int) -> None:
        self._query = query
        self._cache = cache
        self._as_of = serial

    @property
    def serial(self) -> int:
        return self._as_of

    def get(self, kind: Kind, uuid: str) -> Any | None:
        rows = self._read(kind, _ONE, (kind.value, uuid, self._as_of))
        return self._decode(*rows[0][:3]) if rows else None

    def by_name(self, kind: Kind, name: str) -> Any | None:
        rows = self._read(kind, _NAMED, (kind.value, name, self._as_of))
        return self._decode(*rows[0][:3]) if rows else None

    def all(self, kind: Kind) -> Sequence[Any]:
        return self.view(kind).objects

    def names(self, kind: Kind) -> Sequence[str]:
        return sorted((row[0] for row in self._read(kind, _NAMES, (kind.value, self._as_of))), key=natural_key)

    def view(self, kind: Kind) -> View:
        """All objects of a kind at once."""
        rows = self._read(kind, _ALL, (kind.value, self._as_of))
        return View([(name, uuid, self._decode(kind, uuid, text)) for name, uuid, text, _ in rows])

    def instances_of(self, node: str, *, primary: bool) -> Sequence[Any]:
        found = self._look_up("primary" if primary else "secondary", node)
        return sorted(found.values(), key=lambda instance: sort_key(instance.name, instance.uuid))

    def lookup(self, index: str, value: str) -> list[Key]:
        return sorted(self._look_up(index, value))

    def _look_up(self, index: str, value: str) -> Mapping[Key, Any]:
        found = {}
        for kind, uuid, text, former in self._read(None, _LOOKUP, (index, value, self._as_of)):
            obj = self._decode(kind, uuid, text)
            if not former or (index, value) in entries(obj):
                found[(Kind(kind), uuid)] = obj
        return found

    def _decode(self, kind: str, uuid: str, text: str) -> Any:
        cls = CLASSES[Kind(kind)]
        return self._cache.decode((kind, uuid), cls, text)

    def _read(self, kind: Kind | None, sql: str, arguments: Sequence[Any]) -> list[tuple[Any, ...]]:
        rows = self._query(sql, arguments)
        floor = rows.pop()[2]
        if floor > self._as_of and self._changed_since(kind):
            raise ConfigError(
                f"the view of the configuration as of transaction {self._as_of} is too old: versions before {floor} have been"
                " forgotten; repeat the operation"
            )
        return rows

    def _changed_since(self, kind: Kind | None) -> bool:
        rows = self._query("SELECT serial FROM versions WHERE :a1 IS NULL OR kind = :a1", (kind and kind.value,))
        return any(serial > self._as_of for (serial,) in rows)


def run(connection: sqlite3.Connection, sql: str, arguments: Sequence[Any]) -> list[tuple[Any, ...]]:
    """All rows of one statement, whose placeholders are either ``?`` or, to be used several times, ``:a1``, ``:a2`` and so on.

    SQLite's own ``?1`` is not for Python: 3.12.0 to 3.12.3 warn of it, as of something that goes away.
    """
    bound = {f"a{number}": value for number, value in enumerate(arguments, 1)} if ":a1" in sql else arguments
    return connection.execute(sql, bound).fetchall()
