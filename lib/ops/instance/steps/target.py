"""The node to which an instance moves: the one named, or the best of its group."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ganeti.base.errors import Code, PrereqError
from ganeti.model import ipolicy
from ganeti.model.config import Config
from ganeti.model.filled import fill_nic
from ganeti.model.ids import NodeUuid
from ganeti.model.locks import Locks
from ganeti.model.objects import Instance, Node
from ganeti.ops.context import Context
from ganeti.ops.instance.steps import new_nics, placement
from ganeti.ops.instance.steps.lookup import find_node, instance_locks, require_host
from ganeti.ops.instance.steps.startable import check_startable
from ganeti.ops.steps import capacity


@dataclass(frozen=True)
class Target:
    """A node that was chosen or named, and what it said of itself."""

    node: Node
    facts: capacity.NodeFacts


def candidates(config: Config, instance: Instance, name: str | None, uuid: str | None) -> list[Node]:
    """The node that was named, or all others of the instance's group, in natural order of their names.

    `PrereqError` if its data are on one node only, or if the node that was named is the one where it is.
    """
    template = instance.disk_template
    if not template.is_externally_mirrored:
        primary = config.node(instance.primary_node).name
        raise PrereqError(
            f"instance {instance.name} cannot go to another node: its disks (template {template}) are on {primary} only",
            Code.STATE,
        )
    named = find_node(config, name, uuid)
    if named is None:
        group = config.node(instance.primary_node).group
        return [node for node in config.nodes if node.group == group and node.uuid != instance.primary_node]
    if named.uuid == instance.primary_node:
        raise PrereqError(f"instance {instance.name} is on node {named.name} already", Code.STATE)
    return [named]


def cleanup_candidates(config: Config, instance: Instance, name: str | None, uuid: str | None) -> list[Node]:
    """Where else something of an instance may be after an interrupted move: the node named, the one recorded, or any other."""
    if instance.migration_peer is not None and not (name or uuid):
        return [config.node(instance.migration_peer)]
    return candidates(config, instance, name, uuid)


def moving_locks(config: Config, instance: Instance, others: Iterable[Node], *, resources: bool = True) -> Locks:
    """The instance exclusively, its node and the others shared, and (with `resources`) those of the others exclusively."""
    uuids = [node.uuid for node in others]
    return instance_locks(
        config, instance, [instance.primary_node, *uuids], resources=uuids if resources else ()
    )


def choose_target(
    ctx: Context, instance: Instance, others: Sequence[Node], *, named: bool, memory: int, ignore_ipolicy: bool
) -> Target:
    """The node to move to, checked; `memory` is MiB that the guest needs there. `PrereqError` says why none will do."""
    if named:
        (node,) = others
        require_host(node, f"instance {instance.name}")
        reason = "" if ignore_ipolicy else _against_policy(ctx.config, instance, node)
        if reason:
            raise PrereqError(f"instance {instance.name} cannot go to node {node.name}: {reason}", Code.INVAL)
        return Target(node, check_startable(ctx, instance, node, memory=memory))
    usable = [node for node in others if not node.offline]
    uuids = [node.uuid for node in usable]
    bridges = new_nics.bridges_of([fill_nic(ctx.config, nic) for nic in instance.nics])
    refused = new_nics.lacking_bridges(ctx, uuids, bridges)
    facts = capacity.ask_nodes(ctx, uuids, instance.hypervisor, besides=[instance.name])
    wanted = placement.Wanted(memory, {})
    choice = placement.choose(ctx.config, others, facts, wanted, f"instance {instance.name}", refused=refused)
    chosen = ctx.config.node(choice.node)
    ctx.info(f"Chose node {chosen.name} for instance {instance.name}")
    return Target(chosen, check_startable(ctx, instance, chosen, memory=memory))


def _against_policy(config: Config, instance: Instance, node: Node) -> str:
    """What the policy of another group has against the instance; inside its group it stays what it is."""
    if node.group == config.node(instance.primary_node).group:
        return ""
    spec = ipolicy.spec_of(config, instance, config.disks_of(instance))
    return ipolicy.describe(config, config.group(node.group), spec)


def nodes_concerned(instance: Instance, target: NodeUuid | None) -> tuple[NodeUuid, ...]:
    """Old and new nodes of a moving instance, each once."""
    return tuple(dict.fromkeys([instance.primary_node, *instance.secondary_nodes, *([target] if target else [])]))
