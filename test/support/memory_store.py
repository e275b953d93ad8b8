"""The cluster store in memory: snapshots, serial numbers and commits as the master daemon does them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from ganeti.base.errors import Conflict
from ganeti.base.text import natural_key
from ganeti.model.config import Config
from ganeti.model.enums import Kind
from ganeti.model.objects import AnyObject, Change, Cluster, Put

Table = dict[tuple[Kind, str], AnyObject]


class MemoryRows:
    """One immutable snapshot."""

    def __init__(self, table: Table, serial: int) -> None:
        self._table = table
        self._serial = serial

    @property
    def serial(self) -> int:
        return self._serial

    def get(self, kind: Kind, uuid: str) -> Any | None:
        return self._table.get((kind, uuid))

    def by_name(self, kind: Kind, name: str) -> Any | None:
        lowered = name.lower()
        return next((obj for obj in self.all(kind) if str(getattr(obj, "name", "")).lower() == lowered), None)

    def all(self, kind: Kind) -> Iterable[Any]:
        found = [obj for (row_kind, _), obj in self._table.items() if row_kind is kind]
        return sorted(found, key=lambda obj: natural_key(obj.label))

    def names(self, kind: Kind) -> Sequence[str]:
        return [obj.label for obj in self.all(kind)]

    def instances_of(self, node: str, *, primary: bool) -> Iterable[Any]:
        for instance in self.all(Kind.INSTANCE):
            if (instance.primary_node == node) if primary else (node in instance.secondary_nodes):
                yield instance


class MemoryStore:
    """Rows and commits. Every commit makes a new snapshot; old ones stay as they were."""

    def __init__(self, objects: Iterable[AnyObject] = (), now: float = 1000.0) -> None:
        self.now = now
        self._table: Table = {}
        self._serial = 0
        self.commit([Put(obj) for obj in objects])

    @property
    def config(self) -> Config:
        return Config(MemoryRows(self._table, self._serial))

    def commit(self, changes: Sequence[Change]) -> list[AnyObject]:
        table = dict(self._table)
        stored = []
        for change in changes:
            if isinstance(change, Put):
                key = (change.obj.KIND, change.obj.uuid)
                self._require_serial(table.get(key), change.obj.serial_no, key)
                ctime = change.obj.ctime or self.now
                obj = dataclasses.replace(change.obj, serial_no=change.obj.serial_no + 1, ctime=ctime, mtime=self.now)
                table[key] = obj
                stored.append(obj)
            else:
                key = (change.object_kind, change.uuid)
                self._require_serial(table.get(key), change.serial_no, key)
                del table[key]
        self._require_names(table)
        self._table, self._serial = table, self._serial + 1
        return stored

    @staticmethod
    def _require_serial(found: AnyObject | None, serial: int, key: tuple[Kind, str]) -> None:
        if (found.serial_no if found else 0) != serial:
            raise Conflict(f"{key[0]} {key[1]} has serial {found.serial_no if found else 0}, not {serial}")

    @staticmethod
    def _require_names(table: Table) -> None:
        seen = set()
        for (kind, _), obj in table.items():
            name = getattr(obj, "name", None)
            if kind is Kind.DISK or name is None or isinstance(obj, Cluster):
                continue
            if (kind, name) in seen:
                raise Conflict(f"two objects of kind {kind} are called {name}")
            seen.add((kind, name))
