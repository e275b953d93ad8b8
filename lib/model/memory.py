"""The configuration in memory: for simulations, for operations run without a daemon, and for tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from ganeti.base.text import natural_key
from ganeti.model import checks
from ganeti.model.changes import Committed, stamp
from ganeti.model.config import Config
from ganeti.model.enums import Kind
from ganeti.model.index import Entry, entries, name_of
from ganeti.model.objects import AnyObject, Change, Put

_Key = tuple[Kind, str]


def sort_key(name: str | None, uuid: str) -> tuple[Any, ...]:
    """Order of objects of one kind: naturally by name, objects without a name by uuid."""
    return (natural_key(name), uuid) if name is not None else (uuid,)


class MemoryRows:
    """One immutable snapshot held in dictionaries; a complete `IndexedRows`."""

    def __init__(self, objects: Iterable[AnyObject] = (), serial: int = 0) -> None:
        """Objects are taken as they are, except that a serial number of 0 becomes 1 (they are stored now)."""
        self._serial = serial
        self._objects: dict[_Key, AnyObject] = {}
        for obj in objects:
            stored = obj if obj.serial_no else replace(obj, serial_no=1)
            self._objects[(stored.KIND, stored.uuid)] = stored
        self._names: dict[Kind, dict[str, AnyObject]] = {kind: {} for kind in Kind}
        self._sorted: dict[Kind, list[AnyObject]] = {kind: [] for kind in Kind}
        self._index: dict[Entry, list[_Key]] = {}
        for key, obj in self._objects.items():
            self._sorted[key[0]].append(obj)
            name = name_of(obj)
            if name is not None:
                self._names[key[0]][name] = obj
            for entry in entries(obj):
                self._index.setdefault(entry, []).append(key)
        for found in self._sorted.values():
            found.sort(key=lambda obj: sort_key(name_of(obj), obj.uuid))

    @property
    def serial(self) -> int:
        return self._serial

    def get(self, kind: Kind, uuid: str) -> Any | None:
        return self._objects.get((kind, uuid))

    def by_name(self, kind: Kind, name: str) -> Any | None:
        return self._names[kind].get(name)

    def all(self, kind: Kind) -> Sequence[Any]:
        return self._sorted[kind]

    def names(self, kind: Kind) -> Sequence[str]:
        return [obj.label for obj in self._sorted[kind]] if self._names[kind] else []

    def instances_of(self, node: str, *, primary: bool) -> Sequence[Any]:
        keys = self._index.get(("primary" if primary else "secondary", node), ())
        return sorted((self._objects[key] for key in keys), key=lambda obj: sort_key(name_of(obj), obj.uuid))

    def lookup(self, index: str, value: str) -> list[tuple[Kind, str]]:
        return sorted(self._index.get((index, value), ()))

    def after(self, changes: Sequence[Change], now: float) -> tuple[MemoryRows, list[AnyObject]]:
        """The rows after a commit, and the objects as stored. Raises `Conflict` and `ConfigError` as the store does."""
        steps = stamp(self, changes, now)
        objects = dict(self._objects)
        stored: list[AnyObject] = []
        for step in steps:
            if isinstance(step.change, Put):
                objects[(step.change.obj.KIND, step.change.obj.uuid)] = step.change.obj
                stored.append(step.change.obj)
            else:
                del objects[(step.change.object_kind, step.change.uuid)]
        result = MemoryRows(objects.values(), self._serial + 1)
        checks.check_changes(result, steps)
        return result, stored


class MemoryStore:
    """A configuration that can be committed to, as the cluster store can, without disk, jobs and replication.

    Commits must not run at the same time; snapshots may be read by any thread.
    """

    def __init__(self, objects: Iterable[AnyObject] = (), clock: Callable[[], float] = lambda: 0.0) -> None:
        """`clock` gives the time of commits, in seconds."""
        self._rows = MemoryRows(objects)
        self._clock = clock
        self._done: dict[str, Committed] = {}

    def snapshot(self) -> MemoryRows:
        return self._rows

    def config(self) -> Config:
        return Config(self._rows)

    def commit(self, token: str | None, changes: Sequence[Change]) -> Committed:
        """Store the changes, all or none. The same token again changes nothing and gives the same answer."""
        if token is not None and token in self._done:
            return self._done[token]
        self._rows, stored = self._rows.after(changes, self._clock())
        result = Committed(self._rows.serial, stored)
        if token is not None:
            self._done[token] = result
        return result
