"""Invariants that every commit keeps. Pure.

Only what a set of changes can break is looked at, through indexes, so the cost does not grow with the cluster. `model.verify`
looks at everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ganeti.base.errors import ConfigError
from ganeti.model.changes import Step, target
from ganeti.model.enums import Kind
from ganeti.model.filled import fill_nicparams
from ganeti.model.index import IndexedRows, entries
from ganeti.model.objects import AnyObject, Cluster, Delete, Instance, Node

CONFIG = "ECLUSTERCFG"
"""Code of `gnt-cluster verify` for whatever is wrong in the configuration."""


@dataclass(frozen=True)
class Finding:
    """Something wrong. `kind` and `item` name the object it is about; `code` is a code of `gnt-cluster verify`."""

    code: str
    kind: str
    item: str
    message: str


_REFERENCES = {
    "primary": Kind.NODE,
    "secondary": Kind.NODE,
    "migration-peer": Kind.NODE,
    "disk-node": Kind.NODE,
    "disk": Kind.DISK,
    "network": Kind.NETWORK,
    "group": Kind.GROUP,
}
"""Indexes whose values are uuids of other objects."""

_UNIQUE = {
    "name": "name",
    "mac": "MAC address",
    "ip": "IP address",
    "port": "TCP port",
    "minor": "DRBD minor",
    "lv": "logical volume",
    "path": "file",
    "node-ip": "IP address",
    "disk": "disk",
}
"""Indexes (up to a slash) in which a value may stand once only, and what it is."""


def check_changes(after: IndexedRows, steps: Sequence[Step]) -> None:
    """Raise `ConfigError` if the changes broke an invariant. `after`: the rows as they are with the changes."""
    for step in steps:
        for finding in _check_step(after, step):
            raise ConfigError(f"{finding.kind} {finding.item}: {finding.message}; the change is refused")


def _check_step(rows: IndexedRows, step: Step) -> Iterator[Finding]:
    if isinstance(step.change, Delete):
        yield from _check_removed(rows, step)
    elif step.after is not None:
        yield from check_object(rows, step.after, step.before)
    yield from _check_master(rows, step)


def find_cluster(rows: IndexedRows) -> Cluster | None:
    """The cluster's settings, None if the rows hold none."""
    return next(iter(rows.all(Kind.CLUSTER)), None)


def about(obj: AnyObject, message: str) -> Finding:
    """A finding about an object."""
    return Finding(CONFIG, obj.KIND.value, obj.label, message)


# --- one object


def check_object(rows: IndexedRows, obj: AnyObject, before: AnyObject | None) -> Iterator[Finding]:
    """What is wrong with an object, and was not wrong with the version before."""
    fresh = entries(obj) - (entries(before) if before is not None else set())
    for index, value in sorted(fresh):
        referred = _REFERENCES.get(index)
        if referred is not None and rows.get(referred, value) is None:
            yield about(obj, f"it refers to {referred} {value}, which does not exist")
        yield from _check_unique(rows, obj, index, value)
    if isinstance(obj, Node):
        yield from _check_node(obj, before)
    elif isinstance(obj, Instance):
        yield from _check_instance(obj)
    elif isinstance(obj, Cluster):
        others = [other for other in rows.all(Kind.CLUSTER) if other.uuid != obj.uuid]
        if others:
            yield about(obj, "there is a cluster object already")


def _check_unique(rows: IndexedRows, obj: AnyObject, index: str, value: str) -> Iterator[Finding]:
    what = _UNIQUE.get(index.partition("/")[0])
    if what is None:
        return
    for kind, uuid in rows.lookup(index, value):
        if (kind, uuid) == (obj.KIND, obj.uuid):
            continue
        other = rows.get(kind, uuid)
        if index == "ip" and not _share_link(rows, obj, other, value):
            continue
        yield about(obj, f"{what} {value} is used by {kind} {other.label if other is not None else uuid} already")


def _share_link(rows: IndexedRows, one: AnyObject, other: AnyObject | None, ip: str) -> bool:
    """Addresses outside networks may stand several times, on links of different names."""
    cluster = find_cluster(rows)
    if cluster is None or not isinstance(one, Instance) or not isinstance(other, Instance):
        return True
    links = [
        {fill_nicparams(cluster, nic).get("link") for nic in instance.nics if nic.ip == ip and not nic.network}
        for instance in (one, other)
    ]
    return bool(links[0] & links[1])


def _check_node(node: Node, before: AnyObject | None) -> Iterator[Finding]:
    flags = _flags(node)
    if isinstance(before, Node) and _flags(before) == flags and before.master_capable == node.master_capable:
        return
    if len(flags) > 1:
        yield about(node, f"it is marked {' and '.join(flags)}; only one of them is possible")
    if node.master_candidate and not node.master_capable:
        yield about(node, "it is marked as master candidate, but not capable of being the master")


def _flags(node: Node) -> list[str]:
    flags = {"master candidate": node.master_candidate, "offline": node.offline, "drained": node.drained}
    return [flag for flag, value in flags.items() if value]


def _check_instance(instance: Instance) -> Iterator[Finding]:
    if instance.primary_node in instance.secondary_nodes:
        yield about(instance, "its primary node is among its secondary nodes")
    if len(set(instance.disks)) != len(instance.disks):
        yield about(instance, "a disk is listed twice")
    macs = [nic.mac.lower() for nic in instance.nics]
    if len(set(macs)) != len(macs):
        yield about(instance, "two of its network interfaces have the same MAC address")


# --- relations to others


def _check_removed(rows: IndexedRows, step: Step) -> Iterator[Finding]:
    kind, uuid = target(step.change)
    label = step.before.label if step.before is not None else uuid
    if kind == Kind.CLUSTER:
        yield Finding(CONFIG, kind, label, "the cluster's own settings cannot be removed")
    if kind == Kind.GROUP and not any(True for _ in rows.all(Kind.GROUP)):
        yield Finding(CONFIG, kind, label, "the last node group cannot be removed")
    for index, referred in _REFERENCES.items():
        if referred == kind:
            users = rows.lookup(index, uuid)
            if users:
                user = rows.get(*users[0])
                what = f"{users[0][0]} {user.label if user is not None else users[0][1]}"
                yield Finding(CONFIG, kind, label, f"it cannot be removed: {what} uses it")


def _check_master(rows: IndexedRows, step: Step) -> Iterator[Finding]:
    """The master exists and is a candidate; its address is not a node's."""
    kind, uuid = target(step.change)
    cluster = find_cluster(rows) if kind in (Kind.CLUSTER, Kind.NODE) else None
    if cluster is None:
        return
    if kind == Kind.CLUSTER or uuid == cluster.master_node:
        master = rows.get(Kind.NODE, cluster.master_node)
        if master is None:
            yield about(cluster, f"the master node {cluster.master_node} does not exist")
        elif not master.master_candidate:
            yield Finding(CONFIG, Kind.NODE.value, master.label, "it is the master, so it has to be a master candidate")
    for _, holder in rows.lookup("node-ip", cluster.master_ip):
        if kind == Kind.CLUSTER or holder == uuid:
            node = rows.get(Kind.NODE, holder)
            yield about(cluster, f"the cluster's address {cluster.master_ip} is used by node {node.label if node else holder}")
