"""By what objects are found besides their uuid and name: the nodes of an instance, the owner of an address, a port or a minor.

`entries` says under which (index, value) pairs an object stands; a store keeps them beside the object, so that looking one up
costs the same in a cluster of any size. Indexes:

=================  ==========================================  =============================
index              value                                       objects
=================  ==========================================  =============================
name/<kind>        name                                        of kinds in `NAMED`
primary            uuid of the primary node                    instances
secondary          uuid of a secondary node                    instances
migration-peer     uuid of the other node of a migration       instances
disk               uuid of a disk                              instances that use it
mac                MAC address, lower case                     instances
ip                 address of a NIC without network            instances
ip/<network>       address inside a network                    instances
network            uuid of a network                           instances and groups on it
port               TCP port                                    instances and DRBD disks
minor/<node>       DRBD minor on that node                     disks
lv/<node>          volume group/logical volume                 disks
path, path/<node>  file that holds a disk (shared, of a node)  disks
disk-node          uuid of a node that holds data              disks
group              uuid of a group                             nodes
node-ip            primary or secondary address                nodes
=================  ==========================================  =============================
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from ganeti.model.config import Rows
from ganeti.model.enums import DiskTemplate, Kind
from ganeti.model.objects import AnyObject, Disk, Group, Instance, Node

Entry = tuple[str, str]
"""(index, value)"""

NAMED = frozenset({Kind.NODE, Kind.GROUP, Kind.INSTANCE, Kind.NETWORK})
"""Kinds whose objects are found by name; names are unique within each."""


class IndexedRows(Rows, Protocol):
    """Rows that can also be looked up by the indexes above."""

    def lookup(self, index: str, value: str) -> list[tuple[Kind, str]]:
        """(kind, uuid) of every object that stands under the entry, sorted."""
        ...


def entries(obj: AnyObject) -> set[Entry]:
    """All entries of an object."""
    name = name_of(obj)
    found = set(_relations(obj))
    return found if name is None else found | {(f"name/{obj.KIND}", name)}


def name_of(obj: AnyObject) -> str | None:
    """The name by which the object is found; None for kinds that are not found by name."""
    return str(obj.label) if obj.KIND in NAMED else None


def _relations(obj: AnyObject) -> Iterator[Entry]:
    if isinstance(obj, Instance):
        yield from _of_instance(obj)
    elif isinstance(obj, Disk):
        yield from _of_disk(obj)
    elif isinstance(obj, Node):
        yield "group", obj.group
        yield "node-ip", obj.primary_ip
        yield "node-ip", obj.secondary_ip
    elif isinstance(obj, Group):
        for network in obj.networks:
            yield "network", network


def _of_instance(instance: Instance) -> Iterator[Entry]:
    yield "primary", instance.primary_node
    for node in instance.secondary_nodes:
        yield "secondary", node
    if instance.migration_peer is not None:
        yield "migration-peer", instance.migration_peer
    for disk in instance.disks:
        yield "disk", disk
    if instance.network_port is not None:
        yield "port", str(instance.network_port)
    for nic in instance.nics:
        yield "mac", nic.mac.lower()
        if nic.ip:
            yield f"ip/{nic.network}" if nic.network else "ip", nic.ip
        if nic.network:
            yield "network", nic.network


def _of_disk(disk: Disk) -> Iterator[Entry]:
    for node in disk.nodes:
        yield "disk-node", node
    ident = disk.logical_id
    match disk.dev_type:
        case DiskTemplate.DRBD if len(ident) == 6:
            yield "port", str(ident[2])
            yield f"minor/{ident[0]}", str(ident[3])
            yield f"minor/{ident[1]}", str(ident[4])
        case DiskTemplate.PLAIN if len(ident) == 2:
            for node in disk.nodes:
                yield f"lv/{node}", f"{ident[0]}/{ident[1]}"
        case DiskTemplate.FILE if len(ident) == 2:
            for node in disk.nodes:
                yield f"path/{node}", str(ident[1])
        case DiskTemplate.SHAREDFILE | DiskTemplate.GLUSTER if len(ident) == 2:
            yield "path", str(ident[1])
        case _:
            pass
    for child in disk.children:
        yield from _of_disk(child)
