"""The objects that can have tags, and how they are found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from ganeti.base.errors import Code, PrereqError
from ganeti.model.config import Config
from ganeti.model.locks import BGL, LockName, Locks, lock
from ganeti.model.objects import Cluster, Group, Instance, Network, Node

TagKind = Literal["cluster", "instance", "network", "node", "nodegroup"]
Tagged = Cluster | Node | Group | Instance | Network


def find_tagged(config: Config, kind: TagKind, name: str | None) -> Tagged:
    """The object of this kind and name; `PrereqError` if there is none. The cluster needs no name."""
    if kind == "cluster":
        return config.cluster
    if not name:
        raise PrereqError(f"the name of the {kind} is missing", Code.INVAL)
    if kind == "node":
        return config.find_node(name)
    if kind == "instance":
        return config.find_instance(name)
    return config.find_group(name) if kind == "nodegroup" else config.find_network(name)


def tag_locks(obj: Tagged, *, exclusive: bool) -> Locks:
    """The lock of the object. The cluster's own settings are guarded by the big lock."""
    name = BGL if isinstance(obj, Cluster) else _lock_of(obj)
    return Locks.of(exclusive=[name]) if exclusive else Locks.of(shared=[name])


def _lock_of(obj: Node | Group | Instance | Network) -> LockName:
    if isinstance(obj, Instance):
        return lock("instance", obj.name)
    level = "node" if isinstance(obj, Node) else "nodegroup" if isinstance(obj, Group) else "network"
    return lock(level, obj.uuid)


def all_tagged(config: Config) -> Iterator[tuple[str, Tagged]]:
    """Every object that can have tags, with the path under which searches show it."""
    yield "/cluster", config.cluster
    for node in config.nodes:
        yield f"/nodes/{node.name}", node
    for group in config.groups:
        yield f"/nodegroup/{group.name}", group
    for instance in config.instances:
        yield f"/instances/{instance.name}", instance
    for network in config.networks:
        yield f"/networks/{network.name}", network
