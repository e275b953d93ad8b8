"""Which operating systems the nodes have, and whether they agree.

An OS is valid if every node that can host instances has a valid definition of it; its variants, parameters and API versions
are those that all these nodes have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ganeti.base.errors import Code, NodeError, PrereqError
from ganeti.base.text import natural_key
from ganeti.model.config import Config
from ganeti.model.ids import NodeUuid
from ganeti.model.locks import Locks
from ganeti.model.objects import Cluster
from ganeti.ops.base import Op, param
from ganeti.ops.context import Context
from ganeti.rpc.node.node import NodeApi
from ganeti.rpc.node.replies import OsVariantInfo

Found = Mapping[NodeUuid, Sequence[OsVariantInfo]]
"""The definitions on each node that answered; several of one name on a node: the first in search order counts."""


@dataclass(frozen=True)
class OsSummary:
    """One OS, as the cluster sees it."""

    name: str
    valid: bool
    hidden: bool
    blacklisted: bool
    trusted: bool
    variants: list[str]
    parameters: list[list[str]]
    api_versions: list[int]
    node_status: dict[str, list[list[Any]]]
    """Per node uuid, each definition found: [path, valid, message, variants, parameters, API versions, trusted]."""
    os_hvp: dict[str, Any]
    osparams: dict[str, Any]


FIELDS: dict[str, Callable[[OsSummary], Any]] = {
    "name": lambda one: one.name,
    "valid": lambda one: one.valid,
    "hidden": lambda one: one.hidden,
    "blacklisted": lambda one: one.blacklisted,
    "trusted": lambda one: one.trusted,
    "variants": lambda one: one.variants,
    "parameters": lambda one: one.parameters,
    "api_versions": lambda one: one.api_versions,
    "node_status": lambda one: one.node_status,
    "os_hvp": lambda one: one.os_hvp,
    "osparams": lambda one: one.osparams,
}


class OsDiagnose(Op[list[NodeUuid], list[list[Any]]], changes_nothing=True):
    """The operating systems of the cluster: one row for each, with the fields asked for."""

    output_fields: list[str] = param(help="Fields of each row")
    names: list[str] = param(default_factory=list, help="Operating systems (none: all)", complete="os")

    def locks(self, config: Config) -> Locks:
        return Locks.none()

    def plan(self, ctx: Context) -> list[NodeUuid]:
        unknown = sorted(set(self.output_fields) - set(FIELDS))
        if unknown:
            raise PrereqError(f"there is no field {', '.join(unknown)}; there are {', '.join(FIELDS)}", Code.INVAL)
        return [node.uuid for node in ctx.config.online_nodes if node.vm_capable]

    def run(self, ctx: Context, plan: list[NodeUuid]) -> list[list[Any]]:
        found: dict[NodeUuid, Sequence[OsVariantInfo]] = {}
        for node, answer in ctx.nodes.call_all(plan, NodeApi.os_list).items():
            if isinstance(answer, NodeError):
                ctx.warn(str(answer))
            else:
                found[node] = answer
        wanted = set(self.names)
        rows = [one for one in summarize(ctx.config.cluster, found) if not wanted or one.name in wanted]
        return [[FIELDS[name](one) for name in self.output_fields] for one in rows]


def summarize(cluster: Cluster, found: Found) -> list[OsSummary]:
    """All OSes found, in natural order of their names. Pure."""
    names = sorted({info.name for infos in found.values() for info in infos}, key=natural_key)
    return [_summarize(cluster, name, found) for name in names]


def _summarize(cluster: Cluster, name: str, found: Found) -> OsSummary:
    by_node = {node: [info for info in infos if info.name == name] for node, infos in found.items()}
    first = [infos[0] for infos in by_node.values() if infos]
    valid = len(first) == len(found) and all(info.valid for info in first)
    return OsSummary(
        name=name,
        valid=valid,
        hidden=name in cluster.hidden_os,
        blacklisted=name in cluster.blacklisted_os,
        trusted=all(info.trusted for info in first),
        variants=common([info.variants for info in first]) if valid else [],
        parameters=common([[list(pair) for pair in info.parameters] for info in first]) if valid else [],
        api_versions=common([info.api_versions for info in first]) if valid else [],
        node_status={str(node): [_status(info) for info in infos] for node, infos in by_node.items()},
        os_hvp=dict(cluster.os_hvp.get(name, {})),
        osparams=dict(cluster.osparams.get(name, {})),
    )


def common(lists: Sequence[Sequence[Any]]) -> list[Any]:
    """What all lists have, in the order of the first."""
    return [item for item in lists[0] if all(item in other for other in lists[1:])] if lists else []


def _status(info: OsVariantInfo) -> list[Any]:
    pairs = [list(pair) for pair in info.parameters]
    return [info.path, info.valid, info.message, info.variants, pairs, info.api_versions, info.trusted]
