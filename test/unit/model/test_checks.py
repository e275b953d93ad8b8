"""Invariants: what a commit may not do, and what it may."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from ganeti.base.errors import ConfigError
from ganeti.model.enums import DiskTemplate, Kind
from ganeti.model.memory import MemoryStore
from ganeti.model.objects import Delete, Put
from support.objects import (
    make_cluster,
    make_disk,
    make_group,
    make_instance,
    make_network,
    make_nic,
    make_node,
    small_cluster,
)

replace: Any = dataclasses.replace


class World:
    """Three nodes, a network, and an instance with everything."""

    def __init__(self) -> None:
        self.cluster, self.group, self.node1, self.node2, self.node3 = small_cluster(nodes=3)
        self.network = make_network(name="lan")
        self.disk = make_disk(logical_id=("loop", "/srv/web"))
        self.nic = make_nic(mac="aa:00:00:00:00:01", ip="198.51.100.5", network=self.network.uuid)
        self.web = make_instance(
            self.node2.uuid,
            name="web",
            nics=(self.nic,),
            disks=(self.disk.uuid,),
            disk_template=DiskTemplate.SHAREDFILE,
            network_port=11000,
            secondary_nodes=(self.node3.uuid,),
        )
        objects = [self.cluster, self.group, self.node1, self.node2, self.node3, self.network, self.disk, self.web]
        self.store = MemoryStore(objects)

    def stored(self, obj: Any) -> Any:
        return self.store.snapshot().get(obj.KIND, obj.uuid)

    def put(self, *objects: Any) -> None:
        self.store.commit(None, [Put(obj) for obj in objects])

    def change(self, obj: Any, **fields: Any) -> None:
        self.put(replace(self.stored(obj), **fields))

    def delete(self, *objects: Any) -> None:
        self.store.commit(None, [Delete.of(self.stored(obj)) for obj in objects])


@pytest.fixture
def world() -> World:
    return World()


def test_names_are_unique_within_a_kind(world: World) -> None:
    with pytest.raises(ConfigError, match="name web is used by instance web already"):
        world.put(make_instance(world.node1.uuid, name="web"))
    with pytest.raises(ConfigError, match="name default is used"):
        world.put(make_group(name="default"))
    world.put(make_group(name="web"))


def test_names_may_be_exchanged_in_one_commit(world: World) -> None:
    world.put(make_instance(world.node1.uuid, name="mail"))
    mail = world.store.config().find_instance("mail")
    world.put(replace(mail, name="web"), replace(world.stored(world.web), name="mail"))
    assert world.stored(mail).name == "web"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"nics": (make_nic(mac="AA:00:00:00:00:01"),)}, "MAC address aa:00:00:00:00:01 is used by instance web"),
        ({"network_port": 11000}, "TCP port 11000 is used by instance web"),
        ({"nics": (make_nic(mac="02:00:00:00:00:01"), make_nic(mac="02:00:00:00:00:01"))}, "have the same MAC address"),
        ({"primary_node": "nowhere"}, "it refers to node nowhere, which does not exist"),
        ({"secondary_nodes": ("nowhere",)}, "it refers to node nowhere"),
        ({"disks": ("nothing",)}, "it refers to disk nothing"),
        ({"nics": (make_nic(network="nonet"),)}, "it refers to network nonet"),
    ],
)
def test_instance_that_does_not_fit_is_refused(world: World, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        world.put(make_instance(world.node1.uuid, **{"primary_node": world.node1.uuid, **fields}))


def test_address_of_a_network_is_given_once(world: World) -> None:
    other = make_network(name="dmz")
    world.put(other)
    with pytest.raises(ConfigError, match="IP address 198.51.100.5 is used by instance web"):
        world.put(make_instance(world.node1.uuid, nics=(make_nic(ip="198.51.100.5", network=world.network.uuid),)))
    world.put(make_instance(world.node1.uuid, nics=(make_nic(ip="198.51.100.5", network=other.uuid),)))


def test_address_without_network_is_given_once_on_a_link(world: World) -> None:
    world.put(make_instance(world.node1.uuid, nics=(make_nic(ip="203.0.113.1"),)))
    with pytest.raises(ConfigError, match="IP address 203.0.113.1 is used"):
        world.put(make_instance(world.node1.uuid, nics=(make_nic(ip="203.0.113.1"),)))
    world.put(make_instance(world.node1.uuid, nics=(make_nic(ip="203.0.113.1", nicparams={"link": "br7"}),)))


def test_disk_belongs_to_one_instance(world: World) -> None:
    with pytest.raises(ConfigError, match=f"disk {world.disk.uuid} is used by instance web"):
        world.put(make_instance(world.node1.uuid, disks=(world.disk.uuid,)))
    with pytest.raises(ConfigError, match="a disk is listed twice"):
        disk = make_disk()
        world.put(disk, make_instance(world.node1.uuid, disks=(disk.uuid, disk.uuid)))


def test_disks_do_not_share_what_holds_their_data(world: World) -> None:
    with pytest.raises(ConfigError, match="file /srv/web is used by disk"):
        world.put(make_disk(logical_id=("loop", "/srv/web")))
    node1, node2 = world.node1.uuid, world.node2.uuid
    file = {"dev_type": DiskTemplate.FILE, "logical_id": ("loop", "/srv/web")}
    world.put(make_disk(**file, nodes=(node1,)), make_disk(**file, nodes=(node2,)))
    with pytest.raises(ConfigError, match="file /srv/web is used"):
        world.put(make_disk(**file, nodes=(node1,)))
    volume = {"dev_type": DiskTemplate.PLAIN, "logical_id": ("xenvg", "data"), "nodes": (node1,)}
    world.put(make_disk(**volume))
    with pytest.raises(ConfigError, match="logical volume xenvg/data is used"):
        world.put(make_disk(**volume))


def test_drbd_minors_and_ports_are_given_once(world: World) -> None:
    def drbd(port: int, minor1: int, minor2: int) -> Any:
        ident = (world.node1.uuid, world.node2.uuid, port, minor1, minor2, "secret")
        return make_disk(dev_type=DiskTemplate.DRBD, logical_id=ident, nodes=(world.node1.uuid, world.node2.uuid))

    world.put(drbd(11001, 0, 1))
    with pytest.raises(ConfigError, match="DRBD minor 0 is used by disk"):
        world.put(drbd(11002, 0, 2))
    with pytest.raises(ConfigError, match="TCP port 11000 is used by instance web"):
        world.put(drbd(11000, 1, 2))
    world.put(drbd(11002, 1, 0))


def test_primary_node_is_no_secondary(world: World) -> None:
    with pytest.raises(ConfigError, match="primary node is among its secondary nodes"):
        world.change(world.web, secondary_nodes=(world.node2.uuid,))
    world.change(world.web, primary_node=world.node3.uuid, secondary_nodes=(world.node2.uuid,))


@pytest.mark.parametrize("flag", ["offline", "drained"])
def test_node_has_one_role(world: World, flag: str) -> None:
    with pytest.raises(ConfigError, match=f"it is marked master candidate and {flag}; only one"):
        world.change(world.node2, **{flag: True})
    world.change(world.node2, **{flag: True, "master_candidate": False})


def test_candidate_has_to_be_capable(world: World) -> None:
    with pytest.raises(ConfigError, match="not capable of being the master"):
        world.change(world.node2, master_capable=False)
    world.change(world.node2, master_capable=False, master_candidate=False)


def test_master_stays_a_candidate(world: World) -> None:
    with pytest.raises(ConfigError, match="node1: it is the master, so it has to be a master candidate"):
        world.change(world.node1, master_candidate=False, offline=True)
    with pytest.raises(ConfigError, match="the master node nowhere does not exist"):
        world.change(world.cluster, master_node="nowhere")
    world.put(
        replace(world.stored(world.cluster), master_node=world.node2.uuid),
        replace(world.stored(world.node1), master_candidate=False, offline=True),
    )


def test_node_addresses_are_unique(world: World) -> None:
    with pytest.raises(ConfigError, match="IP address .* is used by node node1 already"):
        world.put(make_node(world.group.uuid, primary_ip=world.node1.primary_ip))
    with pytest.raises(ConfigError, match="IP address .* is used by node node1 already"):
        world.put(make_node(world.group.uuid, secondary_ip=world.node1.primary_ip))
    with pytest.raises(ConfigError, match="the cluster's address 192.0.2.250 is used by node"):
        world.put(make_node(world.group.uuid, primary_ip="192.0.2.250"))


def test_what_is_used_cannot_be_removed(world: World) -> None:
    for obj, message in (
        (world.node2, "node node2: it cannot be removed: instance web uses it"),
        (world.node3, "instance web uses it"),
        (world.disk, "instance web uses it"),
        (world.network, "network lan: it cannot be removed: instance web uses it"),
        (world.node1, "the master node .* does not exist"),
        (world.cluster, "cannot be removed"),
        (world.group, "the last node group cannot be removed"),
    ):
        with pytest.raises(ConfigError, match=message):
            world.delete(obj)
    world.put(make_group())
    with pytest.raises(ConfigError, match=r"node node\d uses it"):
        world.delete(world.group)


def test_instance_and_its_disks_go_together(world: World) -> None:
    world.delete(world.web, world.disk)
    world.delete(world.network)
    world.delete(world.node2)
    assert [node.name for node in world.store.config().nodes] == ["node1", "node3"]


def test_group_keeps_its_networks(world: World) -> None:
    world.change(world.group, networks={world.network.uuid: {"mode": "bridged", "link": "br0"}})
    world.delete(world.web)
    with pytest.raises(ConfigError, match="nodegroup default uses it"):
        world.delete(world.network)


def test_there_is_one_cluster(world: World) -> None:
    with pytest.raises(ConfigError, match="there is a cluster object already"):
        world.put(make_cluster(world.node1.uuid))


def test_old_fault_does_not_stand_in_the_way_of_other_changes() -> None:
    """An imported configuration may hold two nodes of one address: they can still be changed, and repaired one at a time."""
    settings, group, node1, node2 = small_cluster(nodes=2)
    twin = replace(node2, primary_ip=node1.primary_ip, offline=True)
    store = MemoryStore([settings, group, node1, twin])
    store.commit(None, [Put(replace(store.config().find_node("node2"), tags=("x",)))])
    store.commit(None, [Put(replace(store.config().find_node("node2"), primary_ip="192.0.2.99"))])
    with pytest.raises(ConfigError, match="is used by node node1"):
        store.commit(None, [Put(replace(store.config().find_node("node2"), primary_ip=node1.primary_ip))])


def test_refused_commit_leaves_everything_as_it_was(world: World) -> None:
    before = world.store.snapshot()
    with pytest.raises(ConfigError):
        world.put(make_group(), make_node("nowhere"))
    assert world.store.snapshot() is before
    assert [group.name for group in before.all(Kind.GROUP)] == ["default"]
