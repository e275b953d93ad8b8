from __future__ import annotations

from typing import Any

import pytest

from ganeti.base.errors import Code, ExecError, NodeError, PrereqError
from ganeti.model.enums import AdminState, DiskTemplate
from ganeti.ops.instance.failover import InstanceFailover
from support.fakecluster import FakeCluster
from support.instances import created


@pytest.fixture
def cluster() -> FakeCluster:
    cluster = FakeCluster()
    cluster.change_master("node3")
    created(cluster)
    return cluster


def failing_over(**values: Any) -> InstanceFailover:
    return InstanceFailover(instance_name="web", **values)


def kill(cluster: FakeCluster, name: str) -> None:
    """The machine is gone, with everything that ran on it."""
    node = cluster.node(name)
    node.guests.clear()
    node.assembled.clear()
    cluster.dead.add(cluster.uuid(name))


def test_living_instance_is_stopped_and_started_on_the_other_node(cluster: FakeCluster) -> None:
    run = cluster.run(failing_over(target_node="node2"))
    assert (cluster.running_on("web"), cluster.home_of("web")) == (["node2"], "node2")
    assert run.log == ["Stopping instance web on node1.example.com", "Starting instance web on node2.example.com"]
    assert cluster.problems() == cluster.leftovers() == []


def test_instance_of_a_dead_node_marked_offline_is_started_elsewhere(cluster: FakeCluster) -> None:
    kill(cluster, "node1")
    cluster.change_node("node1", offline=True, master_candidate=False)
    run = cluster.run(failing_over())
    assert cluster.home_of("web") in ("node2", "node3")
    assert cluster.running_on("web") == [cluster.home_of("web")]
    assert "Node node1.example.com is offline, so instance web is not stopped there" in run.log
    assert cluster.problems() == cluster.leftovers() == []


def test_a_dead_node_that_is_not_marked_offline_is_refused(cluster: FakeCluster) -> None:
    kill(cluster, "node1")
    with pytest.raises(PrereqError, match=r"mark it offline first \(gnt-node modify -O yes node1\.example\.com\)") as caught:
        cluster.run(failing_over())
    assert caught.value.code == Code.ENVIRON
    assert cluster.home_of("web") == "node1"


def test_who_ignores_consistency_answers_for_it(cluster: FakeCluster) -> None:
    kill(cluster, "node1")
    run = cluster.run(failing_over(ignore_consistency=True, target_node="node2"))
    assert cluster.running_on("web") == ["node2"]
    assert any("make sure that node node1.example.com is down" in line for line in run.log)


def test_a_guest_that_cannot_be_stopped_stays_where_it_is(cluster: FakeCluster) -> None:
    node = cluster.node("node1")

    def refuse(name: str, hypervisor: str, timeout: float, force: bool = False) -> None:
        raise ExecError("it will not die")

    node.instance_stop = refuse  # type: ignore[method-assign]  # this one node behaves differently
    with pytest.raises(ExecError, match="could not be stopped on node1.example.com, so it stays there: .*will not die"):
        cluster.run(failing_over(target_node="node2"))
    assert (cluster.running_on("web"), cluster.home_of("web")) == (["node1"], "node1")


def test_stopped_instance_only_changes_its_node(cluster: FakeCluster) -> None:
    created(cluster, "cold", start=False)
    cluster.run(InstanceFailover(instance_name="cold", target_node="node2"))
    instance = cluster.instance("cold")
    assert cluster.home_of("cold") == "node2"
    assert (instance.admin_state, instance.disks_active) == (AdminState.DOWN, False)
    assert cluster.running_on("cold") == []


def test_a_guest_that_does_not_start_there_belongs_there_all_the_same(cluster: FakeCluster) -> None:
    cluster.node("node2").hypervisor_error = "no KVM here"
    with pytest.raises(NodeError, match="no KVM here"):
        cluster.run(failing_over(target_node="node2"))
    assert cluster.home_of("web") == "node2"
    assert cluster.instance("web").admin_state is AdminState.UP
    assert cluster.problems() == cluster.leftovers() == []


def test_data_on_one_node_only_are_refused(cluster: FakeCluster) -> None:
    created(cluster, "local", disk_template=DiskTemplate.FILE)
    with pytest.raises(PrereqError, match="are on node1.example.com only"):
        cluster.run(InstanceFailover(instance_name="local"))


def test_memory_that_no_node_has_is_refused(cluster: FakeCluster) -> None:
    for name in ("node2", "node3"):
        created(cluster, f"big-{name}", pnode=name, beparams={"memory": 3800})
    with pytest.raises(PrereqError, match="no node can take instance web: .*88 MiB more.*; .*88 MiB more"):
        cluster.run(failing_over())
    assert cluster.running_on("web") == ["node1"]


def test_cleanup_repairs_instead_of_failing_over(cluster: FakeCluster) -> None:
    cluster.node("node3").guests["web"] = cluster.node("node1").guests.pop("web")
    cluster.node("node3").assembled |= cluster.node("node1").assembled
    cluster.run(failing_over(cleanup=True))
    assert cluster.home_of("web") == "node3"
    assert cluster.problems() == cluster.leftovers() == []


def test_an_allocator_is_refused(cluster: FakeCluster) -> None:
    with pytest.raises(PrereqError, match="iallocator cannot be used"):
        cluster.run(failing_over(iallocator="hail"))


def test_hooks_run_on_the_new_node_and_afterwards_on_the_old_one_too(cluster: FakeCluster) -> None:
    cluster.node("node1").hooks_run.clear()
    cluster.run(failing_over(target_node="node2", shutdown_timeout=3))
    assert [phase for _, phase, _ in cluster.node("node1").hooks_run] == ["post"]
    assert [phase for _, phase, _ in cluster.node("node2").hooks_run] == ["pre", "post"]
    environment = cluster.node("node2").hooks_run[0][2]
    assert (environment["GANETI_OLD_PRIMARY"], environment["GANETI_NEW_PRIMARY"]) == (
        "node1.example.com",
        "node2.example.com",
    )
