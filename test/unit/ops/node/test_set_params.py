from __future__ import annotations

from typing import Any

import pytest

from ganeti.base.errors import Code, PrereqError
from ganeti.ops.node.set_params import NodeSetParams
from support.fakecluster import FakeCluster, locks_of
from support.instances import created


@pytest.fixture
def cluster() -> FakeCluster:
    """Pool of two: node1 (the master) and node2 are candidates, node3 is regular."""
    cluster = FakeCluster(candidate_pool_size=2)
    cluster.change_node("node3", master_candidate=False)
    return cluster


def changing(node: str = "node2", **values: Any) -> NodeSetParams:
    return NodeSetParams(node_name=node, **values)


def flags(cluster: FakeCluster, name: str) -> tuple[bool, bool, bool]:
    node = cluster.config.find_node(name)
    return node.master_candidate, node.offline, node.drained


def refused(cluster: FakeCluster, match: str, code: str = Code.STATE, **values: Any) -> None:
    serial = cluster.config.serial
    with pytest.raises(PrereqError, match=match) as caught:
        cluster.run(changing(**values))
    assert caught.value.code == code
    assert cluster.config.serial == serial


# --- roles


def test_a_regular_node_goes_offline_and_the_result_tells_what_changed(cluster: FakeCluster) -> None:
    assert cluster.run(changing("node3", offline=True)).result == [["offline", True]]
    assert flags(cluster, "node3") == (False, True, False)


def test_a_candidate_goes_only_if_another_one_takes_its_place(cluster: FakeCluster) -> None:
    refused(cluster, "1 master candidates too few; use --auto-promote", offline=True)
    run = cluster.run(changing(offline=True, auto_promote=True))
    assert flags(cluster, "node2") == (False, True, False)
    assert cluster.config.find_node("node3").master_candidate
    assert "Node node3.example.com becomes a master candidate" in run.log
    assert run.result == [["master_candidate", False], ["offline", True]]


def test_a_pool_that_would_be_too_small_is_refused_unless_forced(cluster: FakeCluster) -> None:
    cluster.change_node("node3", master_capable=False)
    refused(cluster, "no other node can take its place", master_candidate=False, auto_promote=True)
    cluster.run(changing(master_candidate=False, force=True))
    assert not cluster.config.find_node("node2").master_candidate


@pytest.mark.parametrize("values", [{"drained": True}, {"offline": True}, {"master_capable": False}])
def test_a_pool_as_large_as_it_can_be_is_large_enough(cluster: FakeCluster, values: dict[str, Any]) -> None:
    cluster.change_node("node3", master_capable=False)
    cluster.run(changing(**values))
    assert not cluster.config.find_node("node2").master_candidate


def test_one_role_takes_the_place_of_another(cluster: FakeCluster) -> None:
    cluster.run(changing("node3", drained=True))
    cluster.run(changing("node3", offline=True))
    assert flags(cluster, "node3") == (False, True, False)
    cluster.run(changing("node3", master_candidate=True))
    assert flags(cluster, "node3") == (True, False, False)


def test_a_node_that_comes_back_is_a_candidate_if_the_pool_has_room(cluster: FakeCluster) -> None:
    cluster.change_cluster(candidate_pool_size=3)
    cluster.change_node("node3", drained=True)
    cluster.run(changing("node3", drained=False))
    assert flags(cluster, "node3") == (True, False, False)
    cluster.change_cluster(candidate_pool_size=2)
    cluster.change_node("node3", offline=True, master_candidate=False)
    run = cluster.run(changing("node3", offline=False))
    assert flags(cluster, "node3") == (False, False, False)
    assert any("comes back without being re-added" in line for line in run.log)


def test_a_node_that_does_not_answer_cannot_come_back(cluster: FakeCluster) -> None:
    cluster.change_node("node3", offline=True)
    cluster.dead.add(cluster.uuid("node3"))
    refused(cluster, "cannot be marked online while its agent does not answer", Code.ENVIRON, node="node3", offline=False)


def test_a_node_that_leaves_the_pool_loses_its_replica_and_its_access(cluster: FakeCluster) -> None:
    cluster.change_node("node2", ssh_root_key="ssh-rsa ROOT2")
    cluster.node("node1").keys.add("ssh-rsa ROOT2")
    cluster.run(changing(master_candidate=False, force=True))
    assert cluster.node("node2").no_replica
    assert cluster.node("node1").keys == set()


def test_the_master_has_to_stay_what_it_is(cluster: FakeCluster) -> None:
    for values in ({"offline": True}, {"drained": True}, {"master_candidate": False}, {"master_capable": False}):
        refused(cluster, "is the master, so it has to stay", node="node1", **values)


def test_two_roles_at_once_or_a_candidate_that_may_not_be_one_are_refused(cluster: FakeCluster) -> None:
    refused(cluster, "cannot be offline and drained at the same time", Code.INVAL, offline=True, drained=True)
    cluster.change_node("node3", master_capable=False)
    refused(cluster, "is not master_capable", node="node3", master_candidate=True)


def test_a_node_that_becomes_capable_joins_a_pool_with_room(cluster: FakeCluster) -> None:
    cluster.change_cluster(candidate_pool_size=3)
    cluster.change_node("node3", master_capable=False)
    cluster.run(changing("node3", master_capable=True))
    assert cluster.config.find_node("node3").master_candidate


# --- properties


def test_parameters_are_set_and_removed(cluster: FakeCluster) -> None:
    assert cluster.run(changing(ndparams={"ssh_port": "2222"})).result == [["ndparams", {"ssh_port": 2222}]]
    cluster.run(changing(ndparams={"ssh_port": "default"}))
    assert cluster.config.find_node("node2").ndparams == {}


def test_what_is_so_already_changes_nothing(cluster: FakeCluster) -> None:
    run = cluster.run(changing(vm_capable=True))
    assert run.result == [] and run.effects.names == []


def test_a_node_with_instances_stays_vm_capable(cluster: FakeCluster) -> None:
    created(cluster, pnode="node2")
    refused(cluster, "has instances, so it has to stay vm_capable", vm_capable=False)
    cluster.run(changing("node3", vm_capable=False))
    assert not cluster.config.find_node("node3").vm_capable


def test_power_is_recorded_for_nodes_with_out_of_band_control(cluster: FakeCluster) -> None:
    refused(cluster, "no program for out-of-band control", powered=False)
    cluster.change_node("node3", ndparams={"oob_program": "/usr/local/bin/oob"})
    refused(cluster, "is online, so it cannot be recorded as switched off", node="node3", powered=False)
    assert cluster.run(changing("node3", powered=False, offline=True)).result == [["offline", True], ["powered", False]]


def test_secondary_addresses_are_checked(cluster: FakeCluster) -> None:
    refused(cluster, "belongs to node node1", Code.NOTUNIQUE, secondary_ip="192.0.2.11")
    refused(cluster, "no other node may have one", Code.INVAL, secondary_ip="198.51.100.2")
    refused(cluster, "is not an IP address", Code.INVAL, secondary_ip="here")
    cluster.run(changing("node1", secondary_ip="198.51.100.1"))
    cluster.run(changing(secondary_ip="198.51.100.2"))
    assert cluster.config.find_node("node2").secondary_ip == "198.51.100.2"


def test_nothing_to_change_or_not_supported_is_refused(cluster: FakeCluster) -> None:
    refused(cluster, "nothing is to be changed", Code.INVAL)
    refused(cluster, "hv_state cannot be used", Code.INVAL, hv_state={"kvm": {}})
    refused(cluster, "node 'node9' is not known", Code.NOENT, node="node9", drained=True)


def test_all_nodes_are_locked_only_if_others_may_be_promoted(cluster: FakeCluster) -> None:
    assert locks_of(changing(offline=True), cluster.config)["exclusive node"] == ["node2"]
    assert locks_of(changing(offline=True, auto_promote=True), cluster.config)["exclusive node"] == ["[lockset]"]


def test_hooks_are_told_what_was_asked(cluster: FakeCluster) -> None:
    cluster.run(changing("node3", drained=True))
    path, phase, environment = cluster.node("node3").hooks_run[0]
    assert (path, phase) == ("node-modify", "pre")
    assert (environment["GANETI_DRAINED"], environment["GANETI_OFFLINE"]) == ("True", "")
