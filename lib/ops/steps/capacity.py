"""Asking nodes for their memory and disk space, and refusing what does not fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ganeti.base.errors import Code, NodeError, PrereqError
from ganeti.model.capacity import Claim, NodeMemory, claims_on
from ganeti.model.enums import HypervisorKind
from ganeti.model.ids import NodeUuid
from ganeti.ops.context import Context
from ganeti.rpc.node.instance import InstanceApi
from ganeti.rpc.node.node import NodeApi
from ganeti.rpc.node.replies import NodeInfo

Units = Sequence[tuple[str, str]]
"""Storage units, [kind, name]."""


@dataclass(frozen=True)
class NodeFacts:
    """What a node said of itself. Sizes are MiB; space is None where the node could not tell."""

    memory: NodeMemory
    version: str = ""
    space: Mapping[tuple[str, str], int | None] = field(default_factory=dict)


def ask_nodes(
    ctx: Context,
    nodes: Iterable[NodeUuid],
    hypervisor: HypervisorKind,
    *,
    units: Units = (),
    besides: Iterable[str] = (),
) -> dict[NodeUuid, NodeFacts | NodeError]:
    """The facts of several nodes; one that fails is a value. Instances named in `besides` have no claim to memory."""
    asked = list(nodes)
    kinds = [str(kind) for kind in ctx.config.cluster.enabled_hypervisors]
    info = ctx.nodes.call_all(asked, NodeApi.node_info, list(units), [str(hypervisor)])
    states = ctx.nodes.call_all(asked, InstanceApi.instance_states, kinds)
    left_out = tuple(besides)
    found: dict[NodeUuid, NodeFacts | NodeError] = {}
    for node in asked:
        reply, guests = info[node], states[node]
        if isinstance(reply, NodeError):
            found[node] = reply
        elif isinstance(guests, NodeError):
            found[node] = guests
        elif str(hypervisor) not in reply.hypervisors:
            found[node] = NodeError(ctx.config.node(node).name, f"hypervisor {hypervisor} does not work there")
        else:
            claims = claims_on(ctx.config, node, {guest.name: guest.memory for guest in guests}, besides=left_out)
            found[node] = _facts(reply, hypervisor, claims)
    return found


def _facts(reply: NodeInfo, hypervisor: HypervisorKind, claims: tuple[Claim, ...]) -> NodeFacts:
    reported = reply.hypervisors[str(hypervisor)]
    memory = NodeMemory(reported.memory_total, reported.memory_free, claims)
    return NodeFacts(memory, reported.version, {(unit.kind, unit.name): unit.free for unit in reply.storage})


def require_memory(facts: NodeFacts, node: str, wanted: int, what: str) -> None:
    """`PrereqError` saying by how much `wanted` MiB for `what` do not fit on a node."""
    reason = lacking_memory(facts, wanted)
    if reason:
        raise PrereqError(f"{what} cannot run on node {node}: {reason}", Code.NORES)


def lacking_memory(facts: NodeFacts, wanted: int) -> str:
    """By how much the memory does not suffice (empty: it does)."""
    memory = facts.memory
    if not memory.missing(wanted):
        return ""
    return (
        f"it needs {wanted} MiB of memory, {memory.missing(wanted)} MiB more than the {max(0, memory.available)} MiB"
        f" available ({memory.free} of {memory.total} MiB free, claims of other instances: {len(memory.claims)})"
    )


def lacking_space(facts: NodeFacts, needs: Mapping[tuple[str, str], int]) -> str:
    """Which storage units do not have the space needed, [kind, name] -> MiB (empty: all have it)."""
    for (kind, name), wanted in needs.items():
        free = facts.space.get((kind, name))
        if free is not None and wanted > free:
            excess = f"{wanted - free} MiB more than the {free} MiB free there"
            return f"its disks need {wanted} MiB in {kind} storage {name}, {excess}"
    return ""
