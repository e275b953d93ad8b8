"""The resources that can be queried from the configuration, and how their objects are found. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ganeti.base.errors import Code, PrereqError
from ganeti.model.config import Config
from ganeti.query import group, instance, node
from ganeti.query.defaults import DEFAULT_FIELDS
from ganeti.query.field import FieldTable


@dataclass(frozen=True)
class Resource:
    """A kind of object that can be listed. `name_field` is the field by which people name one."""

    name: str
    fields: FieldTable
    every: Callable[[Config], Sequence[Any]]
    find: Callable[[Config, str], Any]
    default_fields: tuple[str, ...]
    name_field: str = "name"


RESOURCES: dict[str, Resource] = {
    resource.name: resource
    for resource in (
        Resource(
            "instance",
            instance.FIELDS,
            lambda config: config.instances,
            Config.find_instance,
            DEFAULT_FIELDS["instance"],
        ),
        Resource("node", node.FIELDS, lambda config: config.nodes, Config.find_node, DEFAULT_FIELDS["node"]),
        Resource(
            "group", group.FIELDS, lambda config: config.groups, Config.find_group, DEFAULT_FIELDS["group"]
        ),
    )
}


def resource(name: str) -> Resource:
    """The resource with this name; `PrereqError` if there is none."""
    found = RESOURCES.get(name)
    if found is None:
        raise PrereqError(f"'{name}' cannot be queried here; known: {', '.join(RESOURCES)}", Code.INVAL)
    return found
