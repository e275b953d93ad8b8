"""Findings of verify over the whole configuration."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from ganeti.model.config import Config
from ganeti.model.enums import DiskTemplate, HypervisorKind
from ganeti.model.memory import MemoryRows
from ganeti.model.verify import check_all
from support.objects import make_disk, make_instance, make_network, make_nic, make_node, small_cluster

replace: Any = dataclasses.replace


def messages(*objects: Any) -> list[str]:
    findings = check_all(Config(MemoryRows(objects)))
    return [f"{finding.code} {finding.kind} {finding.item}: {finding.message}" for finding in findings]


def test_sound_configuration_has_no_findings() -> None:
    objects = small_cluster(nodes=3)
    disk = make_disk(iv_name="disk/0")
    web = make_instance(objects[2].uuid, disks=(disk.uuid,), disk_template=DiskTemplate.SHAREDFILE, nics=(make_nic(),))
    assert messages(*objects, disk, web, make_network()) == []


def test_configuration_without_a_cluster_is_one_finding() -> None:
    assert messages() == ["ECLUSTERCFG cluster : the configuration holds no cluster object"]


def test_broken_references_and_duplicates_are_found() -> None:
    settings, group, node = small_cluster()
    twin = make_node("nowhere", name="node1", master_candidate=True, drained=True)
    found = messages(settings, group, node, twin)
    assert "ECLUSTERCFG node node1: it refers to nodegroup nowhere, which does not exist" in found
    assert "ECLUSTERCFG node node1: name node1 is used by node node1 already" in found
    assert "ECLUSTERCFG node node1: it is marked master candidate and drained; only one of them is possible" in found


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"master_node": "nowhere"}, "the master node nowhere does not exist"),
        ({"enabled_hypervisors": ()}, "no hypervisor is enabled"),
        ({"enabled_disk_templates": ()}, "no disk template is enabled"),
        ({"beparams": {"default": {"maxmem": 1}}}, "back-end parameters without a default: always_failover, auto_balance"),
        ({"hvparams": {}}, "hypervisor fake parameters without a default: migration_mode"),
        ({"ndparams": {"colour": 1}}, "unknown node parameters: colour"),
        ({"candidate_pool_size": 3}, "not enough master candidates: 1 of 2"),
    ],
)
def test_faulty_settings_are_found(fields: dict[str, Any], message: str) -> None:
    settings, group, node = small_cluster()
    found = messages(replace(settings, **fields), group, node, make_node(group.uuid))
    if "candidate_pool_size" not in fields:
        found = [text for text in found if "not enough" not in text]
    assert [text for text in found if message in text and text.startswith("ECLUSTERCFG cluster cluster.example.com:")], found


def test_cluster_address_on_a_node_is_found() -> None:
    settings, group, node = small_cluster()
    found = messages(replace(settings, master_ip=node.primary_ip), group, node)
    assert found == [f"ECLUSTERCFG cluster cluster.example.com: the cluster's address {node.primary_ip} is used by node node1"]


def test_instance_that_does_not_fit_its_settings_is_found() -> None:
    objects = small_cluster()
    disk = make_disk(dev_type=DiskTemplate.FILE, iv_name="disk/7", nodes=("elsewhere",))
    web = make_instance(
        objects[2].uuid,
        name="web",
        hypervisor=HypervisorKind.LXC,
        disk_template=DiskTemplate.PLAIN,
        disks=(disk.uuid,),
        beparams={"minmem": 256, "maxmem": 128},
    )
    assert messages(*objects, disk, web) == [
        "ECLUSTERCFG disk disk/7: it refers to node elsewhere, which does not exist",
        "ECLUSTERCFG instance web: its hypervisor lxc is not enabled",
        "ECLUSTERCFG instance web: its disk template plain is not enabled",
        "ECLUSTERCFG instance web: disk/0 is of type file, the instance of plain",
        "ECLUSTERCFG instance web: disk 0 is called disk/7",
        "ECLUSTERCFG instance web: disk/0 lies on nodes that are not the instance's: elsewhere",
        "ECLUSTERCFG instance web: its minimum memory 256 is more than its maximum 128",
    ]


def test_instance_without_parameters_has_a_code_of_its_own() -> None:
    settings, *others = small_cluster(beparams={"default": {}})
    web = make_instance(others[1].uuid, name="web")
    assert any(text.startswith("EINSTANCEMISSINGCFGPARAMETER instance web:") for text in messages(settings, *others, web))


def test_address_outside_its_network_is_found() -> None:
    objects = small_cluster()
    network = make_network(name="lan", network="198.51.100.0/24", reservations="01")
    web = make_instance(objects[2].uuid, name="web", nics=(make_nic(ip="203.0.113.1", network=network.uuid),))
    assert messages(*objects, network, web) == [
        "ECLUSTERCFG instance web: address 203.0.113.1 is not in network lan (198.51.100.0/24)",
        "ECLUSTERCFG network lan: its reservations are not 256 characters 0 or 1",
    ]


def test_uuid_of_two_objects_is_found() -> None:
    objects = small_cluster()
    web = make_instance(objects[2].uuid, name="web", uuid=objects[2].uuid)
    assert f"ECLUSTERCFG instance web: its uuid {web.uuid} is also that of node node1" in messages(*objects, web)
