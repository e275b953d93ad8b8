"""The exported document: the form that other tools read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ganeti.base import codec
from ganeti.model import export
from ganeti.model.config import Config
from ganeti.model.enums import DiskTemplate
from ganeti.model.memory import MemoryRows
from support.objects import make_disk, make_instance, make_network, make_nic, make_node, small_cluster


class World:
    def __init__(self) -> None:
        self.cluster, self.group, self.master = small_cluster(tags=("b", "a"))
        self.node = make_node(self.group.uuid, name="node2", certificate_digest="dd", ssh_host_key="key")
        ident = (self.master.uuid, self.node.uuid, 11002, 0, 1, "secret")
        child = make_disk(dev_type=DiskTemplate.PLAIN, logical_id=("xenvg", "data"))
        self.disk = make_disk(dev_type=DiskTemplate.DRBD, logical_id=ident, children=(child,), iv_name="disk/0")
        self.network = make_network(name="lan")
        self.web = make_instance(
            self.master.uuid, name="web", disks=(self.disk.uuid,), nics=(make_nic(mac="aa:00:00:00:00:01"),), network_port=11000
        )
        objects = [self.cluster, self.group, self.master, self.node, self.disk, self.network, self.web]
        self.config = Config(MemoryRows(objects, serial=17))
        self.document: Any = json.loads(codec.dumps(export.config_data(self.config)))


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def test_document_has_its_sections(world: World) -> None:
    assert list(world.document) == [
        "version", "serial_no", "ctime", "mtime", "cluster", "nodes", "nodegroups", "instances", "networks", "disks", "filters",
    ]  # fmt: skip
    assert (world.document["version"], world.document["serial_no"]) == (3010000, 17)
    assert world.document["filters"] == {}


def test_cluster_shows_the_ports_in_use(world: World) -> None:
    cluster = world.document["cluster"]
    assert (cluster["highest_used_port"], cluster["tcpudp_port_pool"]) == (11002, [11001])
    assert cluster["tags"] == ["a", "b"]
    assert cluster["enabled_hypervisors"] == ["kvm", "fake"]
    assert cluster["hvparams"]["kvm"]["acpi"] is True
    assert not {"queue_drained", "watcher_pause", "volume_group_name"} & cluster.keys()


def test_certificates_of_candidates_stand_in_the_cluster(world: World) -> None:
    assert world.document["cluster"]["candidate_certs"] == {}
    node = make_node(world.group.uuid, name="node3", master_candidate=True, certificate_digest="ee")
    config = Config(MemoryRows([*world.config.nodes, world.cluster, world.group, node]))
    assert export.config_data(config)["cluster"]["candidate_certs"] == {node.uuid: "ee"}


def test_nodes_do_not_show_their_keys(world: World) -> None:
    node = world.document["nodes"][world.node.uuid]
    assert set(node) == {
        "uuid", "serial_no", "ctime", "mtime", "tags", "name", "primary_ip", "secondary_ip", "group", "master_candidate",
        "offline", "drained", "master_capable", "vm_capable", "powered", "ndparams",
    }  # fmt: skip


def test_group_lists_its_members(world: World) -> None:
    assert world.document["nodegroups"][world.group.uuid]["members"] == [world.master.uuid, world.node.uuid]


def test_instance_leaves_out_what_it_has_not(world: World) -> None:
    web = world.document["instances"][world.web.uuid]
    nic = world.web.nics[0]
    assert web["nics"] == [{"uuid": nic.uuid, "mac": "aa:00:00:00:00:01", "nicparams": {}}]
    assert (web["disks"], web["network_port"], web["admin_state"]) == ([world.disk.uuid], 11000, "down")


def test_disk_holds_its_children(world: World) -> None:
    disk = world.document["disks"][world.disk.uuid]
    assert disk["logical_id"] == [world.master.uuid, world.node.uuid, 11002, 0, 1, "secret"]
    assert disk["children"][0]["logical_id"] == ["xenvg", "data"]
    assert "name" not in disk and "spindles" not in disk["children"][0]
    assert (disk["dev_type"], disk["mode"]) == ("drbd", "rw")
