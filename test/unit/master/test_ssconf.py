"""ssconf: the text of every file, and who gets what when."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

import ganeti
from ganeti.master import background
from ganeti.master.distribute import Distributor
from ganeti.master.ssconf import SsconfFiles, ssconf_values
from ganeti.model.config import Config
from ganeti.model.memory import MemoryRows
from ganeti.model.ssconf import KEYS
from ganeti.rpc.memory import MemoryNode, MemoryNodeCaller
from ganeti.rpc.node.node import NodeApi
from support.objects import make_instance, make_network, small_cluster

PATIENCE = 10.0


def _objects() -> list[Any]:
    """Two candidates, a node that is offline, two instances."""
    settings, group, *nodes = small_cluster(nodes=3, tags=("b", "a"), uid_pool=((1000, 1010), (2000, 2000)))
    facts: list[dict[str, Any]] = [
        {"certificate_digest": "11aa", "secondary_ip": "10.0.0.1"},
        {"certificate_digest": "22bb", "secondary_ip": "10.0.0.2", "ndparams": {"ssh_port": 2222}},
        {"master_candidate": False, "offline": True, "vm_capable": False, "secondary_ip": "192.0.2.3"},
    ]
    members: list[Any] = [
        dataclasses.replace(node, primary_ip=f"192.0.2.{number}", **fields)
        for number, (node, fields) in enumerate(zip(nodes, facts, strict=True), 1)
    ]
    instances = [make_instance(members[0].uuid, name=name) for name in ("web10", "web9")]
    return [settings, group, *members, *instances]


class World:
    def __init__(self) -> None:
        self.objects = _objects()
        self.agents = {node.uuid: Agent(node.name) for node in self.objects[2:5]}
        self.memory = {uuid: MemoryNode(agent.name, [agent]) for uuid, agent in self.agents.items()}
        self.caller = MemoryNodeCaller(self.memory)

    def config(self) -> Config:
        return Config(MemoryRows(self.objects, serial=42))

    def agent(self, number: int) -> Agent:
        return list(self.agents.values())[number - 1]


class Agent(NodeApi):
    """A node as far as files go."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.written: list[dict[str, str]] = []

    def write_ssconf(self, values: dict[str, str]) -> None:
        self.written.append(values)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def distributor(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Distributor]:
    monkeypatch.setattr(background, "RETRY_FIRST", 0.01)
    distributor = Distributor(SsconfFiles(), world.config, world.caller, delay=0.0)
    yield distributor
    distributor.close()


# --- texts


def test_every_file_has_its_text(world: World) -> None:
    values = ssconf_values(world.config())
    assert values.keys() == KEYS
    group, node1, node2 = world.objects[1:4]
    expected = {
        "cluster_name": "cluster.example.com\n",
        "cluster_tags": "a\nb\n",
        "enabled_user_shutdown": "False\n",
        "file_storage_dir": "/srv/ganeti/file-storage\n",
        "gluster_storage_dir": "",
        "hypervisor_list": "kvm\nfake\n",
        "instance_list": "web9\nweb10\n",
        "maintain_node_health": "False\n",
        "master_candidates": "node1\nnode2\n",
        "master_candidates_certs": f"{node1.uuid}=11aa\n{node2.uuid}=22bb\n",
        "master_candidates_ips": "192.0.2.1\n192.0.2.2\n",
        "master_ip": "192.0.2.250\n",
        "master_netdev": "eth0\n",
        "master_netmask": "24\n",
        "master_node": "node1\n",
        "networks": "",
        "node_list": "node1\nnode2\nnode3\n",
        "node_primary_ips": "node1 192.0.2.1\nnode2 192.0.2.2\nnode3 192.0.2.3\n",
        "node_secondary_ips": "node1 10.0.0.1\nnode2 10.0.0.2\nnode3 192.0.2.3\n",
        "node_vm_capable": "node1=True\nnode2=True\nnode3=False\n",
        "nodegroups": f"{group.uuid} default\n",
        "offline_nodes": "node3\n",
        "online_nodes": "node1\nnode2\n",
        "primary_ip_family": "2\n",
        "release_version": f"{ganeti.__version__}\n",
        "shared_file_storage_dir": "",
        "ssh_ports": "node1=22\nnode2=2222\nnode3=22\n",
        "uid_pool": "1000-1010\n2000\n",
        "hvparams_fake": "migration_mode=live\n",
        "hvparams_chroot": "init_script=/ganeti-chroot\n",
    }
    assert {key: values[key] for key in expected} == expected
    assert "acpi=True\n" in values["hvparams_kvm"] and "vnc_tls=False\n" in values["hvparams_kvm"]


def test_networks_are_listed(world: World) -> None:
    network = make_network(name="lan")
    world.objects.append(network)
    assert ssconf_values(world.config())["networks"] == f"{network.uuid} lan\n"


# --- who gets what


def test_nodes_get_everything_once_and_then_only_what_changed(world: World, distributor: Distributor) -> None:
    distributor.changed()
    assert distributor.flush(PATIENCE)
    assert [set(values) for values in world.agent(1).written] == [KEYS]
    assert world.agent(3).written == []  # offline
    distributor.changed()
    assert distributor.flush(PATIENCE)
    assert len(world.agent(1).written) == 1
    world.objects.append(make_instance(world.objects[2].uuid, name="web11"))
    distributor.changed()
    assert distributor.flush(PATIENCE)
    assert world.agent(1).written[1:] == world.agent(2).written[1:] == [{"instance_list": "web9\nweb10\nweb11\n"}]


def test_node_that_failed_is_tried_again_and_gets_everything(world: World, distributor: Distributor) -> None:
    memory = world.memory[world.objects[3].uuid]
    memory.faults.down = True
    distributor.changed()
    assert not distributor.flush(PATIENCE)
    assert list(distributor.failed) == [world.objects[3].uuid]
    assert len(world.agent(1).written) == 1
    memory.faults.down = False
    assert distributor.flush(PATIENCE)
    assert distributor.failed == {}
    assert [set(values) for values in world.agent(2).written] == [KEYS]
    assert len(world.agent(1).written) == 1


def test_node_that_comes_back_gets_everything(world: World, distributor: Distributor) -> None:
    distributor.changed()
    distributor.flush(PATIENCE)
    world.objects[4] = dataclasses.replace(world.objects[4], offline=False)
    distributor.changed()
    assert distributor.flush(PATIENCE)
    assert [set(values) for values in world.agent(3).written] == [KEYS]
    assert set(world.agent(1).written[1]) == {"online_nodes", "offline_nodes"}


def test_everything_is_written_again_on_request(world: World, distributor: Distributor) -> None:
    distributor.changed()
    distributor.flush(PATIENCE)
    distributor.refresh()
    assert distributor.flush(PATIENCE)
    assert [set(values) for values in world.agent(1).written] == [KEYS, KEYS]
