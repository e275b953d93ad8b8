"""Fields of locks. Pure. Owners are jobs, named by their numbers."""

from __future__ import annotations

from dataclasses import dataclass

from ganeti.query.field import Field, FieldKind, FieldTable, fields

DEFAULT_FIELDS = ("name", "mode", "owner", "pending")


@dataclass(frozen=True)
class LockView:
    """A lock: how it is held, by whom, and who waits for it, each as [mode, owners]."""

    name: str
    mode: str | None
    owners: tuple[str, ...]
    pending: tuple[tuple[str, tuple[str, ...]], ...]


FIELDS: FieldTable = fields(
    Field("name", "Name", FieldKind.TEXT, lambda _, lock: lock.name, "Name of the lock"),
    Field("mode", "Mode", FieldKind.OTHER, lambda _, lock: lock.mode, "shared or exclusive; nothing if it is free"),
    Field("owner", "Owner", FieldKind.OTHER, lambda _, lock: list(lock.owners) or None, "Jobs that hold it"),
    Field(
        "pending",
        "Pending",
        FieldKind.OTHER,
        lambda _, lock: [[mode, list(owners)] for mode, owners in lock.pending] or None,
        "Jobs that wait for it, in the order of their turn",
    ),
)
