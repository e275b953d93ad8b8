from __future__ import annotations

from typing import Any

import pytest

from ganeti.base.errors import Code, NodeError, PrereqError
from ganeti.model.enums import AdminState, AdminStateSource
from ganeti.ops.instance.startup import InstanceStartup
from ganeti.rpc.node.replies import RunState
from support.fakecluster import FakeCluster, locks_of
from support.instances import created


@pytest.fixture
def cluster() -> FakeCluster:
    cluster = FakeCluster()
    created(cluster, start=False)
    return cluster


def starting(**values: Any) -> InstanceStartup:
    return InstanceStartup(instance_name="web", **values)


def test_stopped_instance_is_started(cluster: FakeCluster) -> None:
    cluster.run(starting())
    instance = cluster.instance("web")
    assert cluster.running_on("web") == ["node1"]
    assert (instance.admin_state, instance.disks_active) == (AdminState.UP, True)
    assert cluster.problems() == cluster.leftovers() == []


def test_running_instance_is_left_alone(cluster: FakeCluster) -> None:
    cluster.run(starting())
    cluster.change(cluster.instance("web"), admin_state=AdminState.DOWN)
    run = cluster.run(starting())
    assert run.log == ["Instance web is there already"]
    assert run.effects.names == ["commit"]
    assert cluster.instance("web").admin_state is AdminState.UP


def test_what_is_left_of_a_guest_that_powered_itself_off_is_ended_first(cluster: FakeCluster) -> None:
    cluster.run(starting())
    cluster.node("node1").guests["web"].state = RunState.SHUTDOWN
    cluster.change(cluster.instance("web"), admin_state=AdminState.DOWN, admin_state_source=AdminStateSource.USER)
    cluster.run(starting(shutdown_timeout=3))
    assert cluster.running_on("web") == ["node1"]
    assert cluster.instance("web").admin_state_source is AdminStateSource.ADMIN


def test_parameters_for_this_time_only_are_not_stored(cluster: FakeCluster) -> None:
    cluster.run(starting(beparams={"memory": "512m"}, hvparams={}))
    assert cluster.node("node1").guests["web"].memory == 512
    assert cluster.instance("web").beparams == {}


def test_it_may_be_started_paused_and_without_recording_it(cluster: FakeCluster) -> None:
    cluster.run(starting(startup_paused=True, no_remember=True))
    assert cluster.node("node1").guests["web"].paused
    assert cluster.instance("web").admin_state is AdminState.DOWN


def test_an_instance_that_is_stopped_half_way_is_refused(cluster: FakeCluster) -> None:
    cluster.run(starting(startup_paused=True))
    cluster.node("node1").guests["web"].state = RunState.PAUSED
    with pytest.raises(PrereqError, match="is on node node1.example.com already, but stopped. If a migration was"):
        cluster.run(starting())
    assert cluster.run(starting(startup_paused=True)).log == ["Instance web is there already"]


def test_on_an_offline_node_it_is_refused_or_only_recorded(cluster: FakeCluster) -> None:
    cluster.change_master("node2")
    cluster.change_node("node1", offline=True, master_candidate=False)
    with pytest.raises(PrereqError, match="node1.example.com is marked offline, so instance web cannot be started"):
        cluster.run(starting())
    run = cluster.run(starting(ignore_offline_nodes=True))
    assert cluster.instance("web").admin_state is AdminState.UP
    assert run.log == ["WARNING: Node node1.example.com is offline: web is only marked as up"]


def test_memory_that_is_not_there_is_refused_saying_by_how_much(cluster: FakeCluster) -> None:
    with pytest.raises(PrereqError, match="instance web cannot run on node node1.*160 MiB more than the 3840") as caught:
        cluster.run(starting(beparams={"memory": 4000}))
    assert caught.value.code == Code.NORES
    assert cluster.instance("web").admin_state is AdminState.DOWN


def test_an_instance_marked_offline_or_not_made_completely_is_refused(cluster: FakeCluster) -> None:
    cluster.change(cluster.instance("web"), admin_state=AdminState.OFFLINE)
    with pytest.raises(PrereqError, match="is marked offline; mark it online first"):
        cluster.run(starting())
    cluster.change(cluster.instance("web"), admin_state=AdminState.DOWN, forthcoming=True)
    with pytest.raises(PrereqError, match="is forthcoming"):
        cluster.run(starting())


def test_a_missing_bridge_is_refused(cluster: FakeCluster) -> None:
    cluster.node("node1").bridges.clear()
    with pytest.raises(PrereqError, match="bridge br0 is missing on node node1"):
        cluster.run(starting())


def test_a_node_that_does_not_answer_is_refused(cluster: FakeCluster) -> None:
    cluster.dead.add(cluster.uuid("node1"))
    with pytest.raises(PrereqError, match="instance web cannot be looked at: node node1.*connection refused"):
        cluster.run(starting())


def test_a_guest_that_does_not_start_leaves_no_disk_in_use_but_stays_wanted(cluster: FakeCluster) -> None:
    cluster.node("node1").hypervisor_error = "no KVM here"
    with pytest.raises(NodeError, match="no KVM here"):
        cluster.run(starting())
    instance = cluster.instance("web")
    assert (instance.admin_state, instance.disks_active) == (AdminState.UP, False)
    assert cluster.problems() == cluster.leftovers() == []


def test_the_resources_of_the_node_are_locked(cluster: FakeCluster) -> None:
    locks = locks_of(starting(), cluster.config)
    assert locks["exclusive node-res"] == ["node1"] and locks["exclusive instance"] == ["web"]


def test_hooks_are_told_whether_it_was_forced(cluster: FakeCluster) -> None:
    created(cluster, "other", pnode="node2", start=False)
    cluster.node("node2").hooks_run.clear()
    cluster.run(InstanceStartup(instance_name="other", force=True))
    assert [(path, phase) for path, phase, _ in cluster.node("node2").hooks_run] == [
        ("instance-start", "pre"),
        ("instance-start", "post"),
    ]
    assert cluster.node("node2").hooks_run[0][2]["GANETI_FORCE"] == "True"


def test_what_a_node_remarks_at_the_start_is_told(cluster: FakeCluster) -> None:
    cluster.node("node1").start_remarks = ["guests are emulated"]
    run = cluster.run(starting())
    assert run.log[-1] == "Node node1.example.com: guests are emulated"
