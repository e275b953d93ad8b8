"""What a query field is: declared once, with its title, kind, and the live data it needs. Pure.

A row cell is ``[status, value]``; see `Status`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ganeti.base.errors import NodeError
from ganeti.model.config import Config
from ganeti.model.enums import Word
from ganeti.rpc.node.replies import ConsoleInfo, InstanceState, NodeInfo


class FieldKind(Word):
    """How a value is shown and compared. `UNIT` values are MiB, `TIMESTAMP` values seconds since 1970."""

    TEXT = "text"
    BOOL = "bool"
    NUMBER = "number"
    FLOAT = "float"
    UNIT = "unit"
    TIMESTAMP = "timestamp"
    OTHER = "other"
    UNKNOWN = "unknown"


class Status(enum.IntEnum):
    """First part of a row cell."""

    NORMAL = 0
    UNKNOWN = 1
    """No such field."""
    NO_DATA = 2
    """It could not be found out."""
    UNAVAILABLE = 3
    """It does not exist for this object."""
    OFFLINE = 4
    """It is on a node that is marked offline."""


class Need(enum.Flag):
    """Live data that a field needs; `NONE`: the configuration is enough, so no node is called."""

    NONE = 0
    NODE_INFO = enum.auto()
    INSTANCE_STATE = enum.auto()
    CONSOLE = enum.auto()


class Missing(enum.Enum):
    """What a field's function returns instead of a value."""

    NO_DATA = Status.NO_DATA
    UNAVAILABLE = Status.UNAVAILABLE
    OFFLINE = Status.OFFLINE


NO_DATA, UNAVAILABLE, OFFLINE = Missing.NO_DATA, Missing.UNAVAILABLE, Missing.OFFLINE


@dataclass(frozen=True)
class Live:
    """Live data gathered for one query, by node uuid or instance name."""

    node_info: Mapping[str, NodeInfo | NodeError] = field(default_factory=dict)
    states: Mapping[str, list[InstanceState] | NodeError] = field(default_factory=dict)
    """All guests of each node."""
    consoles: Mapping[str, ConsoleInfo | NodeError] = field(default_factory=dict)


@dataclass(frozen=True)
class Data:
    """What field functions read from."""

    config: Config
    live: Live = field(default_factory=Live)
    memo: dict[Any, Any] = field(default_factory=dict)
    """For indexes that field functions of one query share."""


Getter = Callable[[Data, Any], Any]


@dataclass(frozen=True)
class Field:
    """A field of a resource. `get(data, item)` returns a JSON value, or a `Missing`."""

    name: str
    title: str
    kind: FieldKind
    get: Getter
    doc: str = ""
    need: Need = Need.NONE
    is_hostname: bool = False
    """Compared by leading components, ignoring case."""

    def describe(self) -> dict[str, str]:
        """The field's definition on the wire."""
        return {"name": self.name, "title": self.title, "kind": str(self.kind), "doc": self.doc}

    def cell(self, data: Data, item: Any) -> list[Any]:
        """``[status, value]`` for one object."""
        value = self.get(data, item)
        if isinstance(value, Missing):
            return [int(value.value), None]
        return [int(Status.NORMAL), value]


FieldTable = Mapping[str, Field]


def unknown(name: str) -> Field:
    """Stands in for a field that does not exist."""
    return Field(name, name, FieldKind.UNKNOWN, lambda _data, _item: UNAVAILABLE, f"Unknown field '{name}'")


def fields(*declared: Field) -> dict[str, Field]:
    """Fields by name."""
    return {one.name: one for one in declared}


def with_aliases(table: dict[str, Field], aliases: Mapping[str, str]) -> dict[str, Field]:
    """The table with further names for some of its fields; each keeps the title of the field it stands for."""
    result = dict(table)
    for alias, target in aliases.items():
        original = table[target]
        result[alias] = Field(
            alias,
            original.title,
            original.kind,
            original.get,
            original.doc,
            original.need,
            original.is_hostname,
        )
    return result


def select(table: FieldTable, names: Iterable[str]) -> list[Field]:
    """The fields with these names, in order; `unknown` ones included."""
    return [table.get(name) or unknown(name) for name in names]


def common_fields(what: str) -> dict[str, Field]:
    """Fields that every stored object has."""
    kind = FieldKind
    return fields(
        Field("ctime", "CTime", kind.TIMESTAMP, lambda _, item: item.ctime, "When it was created"),
        Field("mtime", "MTime", kind.TIMESTAMP, lambda _, item: item.mtime, "When it was last changed"),
        Field(
            "serial_no",
            "SerialNo",
            kind.NUMBER,
            lambda _, item: item.serial_no,
            f"How often the {what} changed",
        ),
        Field("tags", "Tags", kind.OTHER, lambda _, item: sorted(item.tags), "Tags"),
        Field("uuid", "UUID", kind.TEXT, lambda _, item: item.uuid, f"UUID of the {what}"),
    )
