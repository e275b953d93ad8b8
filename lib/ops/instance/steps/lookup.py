"""Finding the instance and the nodes that an operation is about, and the locks for them."""

from __future__ import annotations

from collections.abc import Iterable

from ganeti.base.errors import Code, PrereqError
from ganeti.model.config import Config
from ganeti.model.enums import AdminState
from ganeti.model.ids import NodeUuid
from ganeti.model.locks import LockName, Locks, lock
from ganeti.model.objects import Instance, Node


def find_instance(config: Config, name: str, uuid: str | None = None) -> Instance:
    """The instance that was named; its uuid, where given, decides. `PrereqError` if there is none."""
    return config.find_instance(uuid or name)


def find_node(config: Config, name: str | None, uuid: str | None) -> Node | None:
    """The node that was named by either (None: neither was given)."""
    wanted = uuid or name
    return config.find_node(wanted) if wanted else None


def instance_locks(
    config: Config,
    instance: Instance,
    nodes: Iterable[NodeUuid] | None = None,
    *,
    resources: Iterable[NodeUuid] = (),
) -> Locks:
    """The instance exclusively, its nodes (or those given) shared, and the resources of some nodes exclusively.

    Who holds the resources of a node may give away its memory and disk space.
    """
    shared = config.nodes_of(instance) if nodes is None else nodes
    return Locks.of(
        exclusive=[lock("instance", instance.name), *(lock("node-res", uuid) for uuid in resources)],
        shared=[lock("node", uuid) for uuid in shared],
    )


def kept_locks(instance: str, nodes: Iterable[str]) -> list[LockName]:
    """The locks that an operation goes on with when it has chosen its nodes: give them to `ctx.locks.keep`."""
    return [lock("instance", instance), *(lock(level, uuid) for uuid in nodes for level in ("node", "node-res"))]


def require_usable(instance: Instance) -> None:
    """`PrereqError` for an instance whose creation or migration was interrupted, or that only reserves its place."""
    if instance.forthcoming:
        raise PrereqError(
            f"instance {instance.name} is forthcoming: it has not been made completely. If its creation was interrupted,"
            " remove it (gnt-instance remove) and create it again",
            Code.STATE,
        )
    if instance.migration_peer is not None:
        raise PrereqError(
            f"a migration of instance {instance.name} was interrupted, so it may be on another node by now; settle that first:"
            f" gnt-instance migrate --cleanup {instance.name}",
            Code.STATE,
        )


def require_not_offline(instance: Instance) -> None:
    """`PrereqError` for an instance that its operator declared offline."""
    if instance.admin_state is AdminState.OFFLINE:
        raise PrereqError(
            f"instance {instance.name} is marked offline; mark it online first (gnt-instance modify --online)", Code.STATE
        )


def require_online(node: Node, why: str) -> None:
    """`PrereqError` if the node is marked offline; `why` says what it is needed for."""
    if node.offline:
        raise PrereqError(f"node {node.name} is marked offline, so {why}", Code.STATE)


def require_host(node: Node, what: str) -> None:
    """`PrereqError` unless the node may get another instance (`what`)."""
    reason = unsuitable(node)
    if reason:
        raise PrereqError(f"node {node.name} {reason}, so it cannot host {what}", Code.STATE)


def unsuitable(node: Node) -> str:
    """Why no instance may be put on this node (empty: it may)."""
    if node.offline:
        return "is marked offline"
    if node.drained:
        return "is drained"
    if not node.vm_capable:
        return "is not vm_capable"
    return ""


def group_nodes(config: Config, instance: Instance) -> list[Node]:
    """The other nodes of the instance's group that may host it, in natural order of their names."""
    group = config.node(instance.primary_node).group
    return [
        node
        for node in config.nodes
        if node.group == group and node.uuid != instance.primary_node and not unsuitable(node)
    ]
