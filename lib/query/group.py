"""Fields of node groups."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ganeti.model import parameters, params
from ganeti.model.objects import Group, Instance, Node, Params
from ganeti.query.field import UNAVAILABLE, Data, Field, FieldKind, FieldTable, common_fields, fields
from ganeti.query.instance import param_kind
from ganeti.query.node import NDPARAM_TITLES


def _nodes(data: Data, group: Group) -> list[Node]:
    index: dict[str, list[Node]] | None = data.memo.get("group_nodes")
    if index is None:
        index = {}
        for node in data.config.nodes:
            index.setdefault(node.group, []).append(node)
        data.memo["group_nodes"] = index
    return index.get(group.uuid, [])


def _instances(data: Data, group: Group) -> list[Instance]:
    return [one for node in _nodes(data, group) for one in data.config.primary_instances(node.uuid)]


def _ndparams(data: Data, group: Group) -> Params:
    return params.fill(data.config.cluster.ndparams, group.ndparams)


def _diskparams(data: Data, group: Group) -> dict[str, Params]:
    defaults = data.config.cluster.diskparams
    return {name: params.fill(values, group.diskparams.get(name, {})) for name, values in defaults.items()}


_PLAIN = fields(
    Field("name", "Group", FieldKind.TEXT, lambda _, g: g.name, "Name of the group"),
    Field(
        "alloc_policy",
        "AllocPolicy",
        FieldKind.TEXT,
        lambda _, g: str(g.alloc_policy),
        "Whether the allocator uses it",
    ),
    Field("node_cnt", "Nodes", FieldKind.NUMBER, lambda d, g: len(_nodes(d, g)), "Number of nodes"),
    Field(
        "node_list", "NodeList", FieldKind.OTHER, lambda d, g: [n.name for n in _nodes(d, g)], "Their names"
    ),
    Field(
        "pinst_cnt", "Instances", FieldKind.NUMBER, lambda d, g: len(_instances(d, g)), "Primary instances"
    ),
    Field(
        "pinst_list",
        "InstanceList",
        FieldKind.OTHER,
        lambda d, g: [i.name for i in _instances(d, g)],
        "Their names",
    ),
    Field("ndparams", "NDParams", FieldKind.OTHER, _ndparams, "Node parameters, filled"),
    Field(
        "custom_ndparams",
        "CustomNDParams",
        FieldKind.OTHER,
        lambda _, g: g.ndparams,
        "Node parameters of its own",
    ),
    Field(
        "ipolicy",
        "InstancePolicy",
        FieldKind.OTHER,
        lambda d, g: params.fill(d.config.cluster.ipolicy, g.ipolicy),
        "Instance policy, filled",
    ),
    Field(
        "custom_ipolicy",
        "CustomInstancePolicy",
        FieldKind.OTHER,
        lambda _, g: g.ipolicy,
        "Instance policy of its own",
    ),
    Field("diskparams", "DiskParameters", FieldKind.OTHER, _diskparams, "Disk parameters, filled"),
    Field(
        "custom_diskparams",
        "CustomDiskParameters",
        FieldKind.OTHER,
        lambda _, g: g.diskparams,
        "Disk parameters of its own",
    ),
)


def _ndparam(name: str) -> Callable[[Data, Group], Any]:
    def get(data: Data, group: Group) -> Any:
        value = _ndparams(data, group).get(name)
        return UNAVAILABLE if value is None else value

    return get


_NDPARAMS = {
    f"ndp/{name}": Field(
        f"ndp/{name}",
        NDPARAM_TITLES.get(name, f"ndp/{name}"),
        param_kind(param),
        _ndparam(name),
        f"Node parameter {name}",
    )
    for name, param in parameters.NODE.items()
}

FIELDS: FieldTable = {**common_fields("group"), **_PLAIN, **_NDPARAMS}
"""Every field of a node group."""
