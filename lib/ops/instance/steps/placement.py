"""Choosing a node where none was named: the one with most memory left among those that can take the instance. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ganeti.base.errors import Code, NodeError, PrereqError
from ganeti.model.config import Config
from ganeti.model.enums import AllocPolicy
from ganeti.model.ids import NodeUuid
from ganeti.model.objects import Node
from ganeti.ops.instance.steps.lookup import unsuitable
from ganeti.ops.steps.capacity import NodeFacts, lacking_memory, lacking_space

_POLICY_ORDER = {AllocPolicy.PREFERRED: 0, AllocPolicy.LAST_RESORT: 1}


@dataclass(frozen=True)
class Wanted:
    """What the node must have: MiB of memory, and MiB of space by storage unit."""

    memory: int
    space: Mapping[tuple[str, str], int]


@dataclass(frozen=True)
class Choice:
    """The node chosen, and why each of the others was not considered (name -> reason)."""

    node: NodeUuid
    rejected: Mapping[str, str]


def choose(
    config: Config,
    nodes: Sequence[Node],
    facts: Mapping[NodeUuid, NodeFacts | NodeError],
    wanted: Wanted,
    what: str,
    *,
    refused: Mapping[str, str] | None = None,
) -> Choice:
    """The node for an instance (`what`); `PrereqError` with the reasons of all nodes if none can take it.

    Groups that are last resort are used only if no preferred one has room, unallocable ones never. `refused` are further
    reasons against nodes, by uuid. Among equals the first in the order of `nodes` is taken.
    """
    reasons: dict[str, str] = {}
    best: tuple[int, int, NodeUuid] | None = None
    for node in nodes:
        policy = config.group(node.group).alloc_policy
        fact = facts.get(node.uuid)
        reason = (refused or {}).get(node.uuid) or _reason(node, policy, fact, wanted)
        if reason:
            reasons[node.name] = reason
        elif isinstance(fact, NodeFacts):
            rank = (_POLICY_ORDER[policy], -fact.memory.available, node.uuid)
            best = rank if best is None or rank[:2] < best[:2] else best
    if best is None:
        raise PrereqError(f"no node can take {what}: {listed(reasons) or 'there is none to choose from'}", Code.NORES)
    return Choice(best[2], reasons)


def listed(reasons: Mapping[str, str], limit: int = 10) -> str:
    """The reasons in one line, at most `limit` nodes named."""
    lines = [f"{name}: {reason}" for name, reason in reasons.items()]
    more = [f"and {len(lines) - limit} more"] if len(lines) > limit else []
    return "; ".join(lines[:limit] + more)


def _reason(node: Node, policy: AllocPolicy, fact: NodeFacts | NodeError | None, wanted: Wanted) -> str:
    general = unsuitable(node)
    if general:
        return general
    if policy is AllocPolicy.UNALLOCABLE:
        return "its group is unallocable"
    if fact is None:
        return "was not asked"
    if isinstance(fact, NodeError):
        return fact.reason
    return lacking_memory(fact, wanted.memory) or lacking_space(fact, wanted.space)


def names(nodes: Iterable[Node]) -> str:
    """Names of nodes in one line."""
    return ", ".join(node.name for node in nodes)
