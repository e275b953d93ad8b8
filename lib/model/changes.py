"""Changes to the configuration, made ready for storing: serial numbers checked and raised, times set. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ganeti.base.errors import ConfigError, Conflict
from ganeti.model.config import Rows
from ganeti.model.objects import AnyObject, Change, Delete, Put, Stored


@dataclass(frozen=True)
class Committed:
    """What a transaction did: its serial number, and the objects as they were stored, in the order of the changes."""

    serial: int
    objects: list[AnyObject] = field(default_factory=list)


@dataclass(frozen=True)
class Step:
    """A change as it is to be stored, and the object as it stood before (None: it is new)."""

    change: Change
    before: AnyObject | None

    @property
    def after(self) -> AnyObject | None:
        """The object as it stands afterwards (None: it is removed)."""
        return self.change.obj if isinstance(self.change, Put) else None


def stamp(rows: Rows, changes: Sequence[Change], now: float) -> list[Step]:
    """The changes as they are to be stored: each object with its next serial number and its times (seconds).

    Raises `Conflict` if an object is not stored with the serial number that the change expects.
    """
    seen: set[tuple[str, str]] = set()
    result: list[Step] = []
    for change in changes:
        key = target(change)
        if key in seen:
            raise ConfigError(f"{key[0]} {key[1]} is changed twice in one commit; a commit may change an object once")
        seen.add(key)
        result.append(_stamp(rows, change, now))
    return result


def target(change: Change) -> tuple[str, str]:
    """(kind, uuid) of the object that a change is about."""
    if isinstance(change, Put):
        return (str(change.obj.KIND), change.obj.uuid)
    return (str(change.object_kind), change.uuid)


def _stamp(rows: Rows, change: Change, now: float) -> Step:
    if isinstance(change, Delete):
        stored = rows.get(change.object_kind, change.uuid)
        _check_serial(stored, change.serial_no or -1, f"{change.object_kind} {change.uuid}")
        return Step(change, stored)
    obj = change.obj
    stored = rows.get(obj.KIND, obj.uuid)
    _check_serial(stored, obj.serial_no, f"{obj.KIND} {obj.label}")
    ctime = stored.ctime if stored is not None else (obj.ctime or now)
    return Step(Put(replace(obj, serial_no=obj.serial_no + 1, ctime=ctime, mtime=now)), stored)


def _check_serial(stored: Stored | None, expected: int, what: str) -> None:
    if stored is None:
        if expected:
            raise Conflict(f"{what} cannot be changed: it has been removed meanwhile")
    elif not expected:
        raise Conflict(f"{what} cannot be made: {stored.KIND} {stored.label} with uuid {stored.uuid} exists already")
    elif stored.serial_no != expected:
        raise Conflict(
            f"{what} cannot be changed: somebody else changed it meanwhile"
            f" (serial number {stored.serial_no}, expected {expected}); repeat the operation"
        )
