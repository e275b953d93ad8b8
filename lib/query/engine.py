"""Answering a query in two steps, neither with I/O: what live data it needs, and its rows once they are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ganeti.base.errors import Code, PrereqError
from ganeti.model.config import Config
from ganeti.model.objects import Instance, Node
from ganeti.query.field import Data, Field, FieldKind, FieldTable, Live, Need, Status, select
from ganeti.query.filter import Test, compile_filter, plain_names, referenced
from ganeti.query.resources import Resource, resource


@dataclass(frozen=True)
class Query:
    """A query understood: which objects may be in the answer, which fields are shown, what must be asked of nodes."""

    resource: Resource
    fields: list[Field]
    candidates: Sequence[Any]
    test: Test
    need: Need

    def nodes(self, config: Config) -> list[Node]:
        """Nodes that have to be asked, offline ones left out."""
        if not self.need:
            return []
        if self.resource.name == "node":
            return [node for node in self.candidates if not node.offline and node.vm_capable]
        # An instance may run where it should not: every node is asked unless a few instances were named.
        wanted = {one.primary_node for one in self.candidates if isinstance(one, Instance)}
        return [node for node in config.online_nodes if node.vm_capable and node.uuid in wanted]


def prepare(config: Config, what: str, fields: Sequence[str], qfilter: Any) -> Query:
    """Understand a query; `PrereqError` says what is wrong with it. Fields that do not exist become `unknown` ones."""
    chosen = resource(what)
    selected = select(chosen.fields, fields)
    used = select(chosen.fields, referenced(qfilter))
    need = Need.NONE
    for field in (*selected, *used):
        need |= field.need
    candidates, test = _candidates(config, chosen, qfilter)
    return Query(chosen, selected, candidates, test, need)


def _candidates(config: Config, chosen: Resource, qfilter: Any) -> tuple[Sequence[Any], Test]:
    """Objects to look at: only the named ones where the filter just names some. `PrereqError` if one does not exist."""
    names = plain_names(qfilter, chosen.name_field)
    test = compile_filter(chosen.fields, qfilter)
    if names is None:
        return chosen.every(config), test
    found = {}
    for name in names:
        try:
            one = chosen.find(config, str(name))
        except PrereqError as err:
            if err.code == Code.NOENT:
                raise
            # Several match: all of them are wanted.
            return chosen.every(config), test
        found[one.uuid] = one
    return list(found.values()), lambda _data, _item: True


def evaluate(query: Query, config: Config, live: Live) -> list[list[list[Any]]]:
    """The rows of the answer: for each object a list of ``[status, value]``."""
    data = Data(config, live)
    unknown_cell = [int(Status.UNKNOWN), None]
    return [
        [
            unknown_cell if field.kind is FieldKind.UNKNOWN else field.cell(data, item)
            for field in query.fields
        ]
        for item in query.candidates
        if query.test(data, item)
    ]


def answer(query: Query, config: Config, live: Live) -> dict[str, Any]:
    """The answer to LUXI's ``Query``."""
    return {"fields": [field.describe() for field in query.fields], "data": evaluate(query, config, live)}


def classic_rows(query: Query, config: Config, live: Live) -> list[list[Any]]:
    """Rows of plain values (``QueryInstances`` and its like): abnormal values are null, unknown fields an error."""
    missing = [field.name for field in query.fields if field.kind is FieldKind.UNKNOWN]
    if missing:
        raise PrereqError(f"unknown output fields selected: {', '.join(missing)}", Code.INVAL)
    return [[value for _, value in row] for row in evaluate(query, config, live)]


def describe_fields(table: FieldTable, names: Sequence[str] | None) -> dict[str, Any]:
    """The answer to LUXI's ``QueryFields``."""
    if names:
        chosen = select(table, names)
    else:
        chosen = sorted(table.values(), key=lambda field: field.name)
    return {"fields": [field.describe() for field in chosen]}
