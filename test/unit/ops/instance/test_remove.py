from __future__ import annotations

import pytest

from ganeti.base.errors import Code, ExecError, PrereqError
from ganeti.model.enums import DiskTemplate
from ganeti.ops.instance.remove import InstanceRemove
from support.fakecluster import FakeCluster, locks_of
from support.instances import created


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.mark.parametrize("template", [DiskTemplate.SHAREDFILE, DiskTemplate.FILE, DiskTemplate.DISKLESS])
def test_nothing_is_left_of_a_running_instance(cluster: FakeCluster, template: DiskTemplate) -> None:
    created(cluster, disk_template=template)
    run = cluster.run(InstanceRemove(instance_name="web", shutdown_timeout=5))
    assert run.result is None
    assert cluster.config.instances == [] and cluster.shared.files == {} and cluster.node("node1").files == {}
    assert cluster.running_on("web") == []
    assert cluster.problems() == cluster.leftovers() == []


def test_disks_of_a_dead_node_that_others_see_are_removed_there(cluster: FakeCluster) -> None:
    created(cluster, pnode="node2")
    cluster.dead.add(cluster.uuid("node2"))
    cluster.change_node("node2", offline=True, master_candidate=False)
    run = cluster.run(InstanceRemove(instance_name="web", ignore_failures=True))
    assert cluster.shared.files == {} and cluster.config.instances == []
    assert "WARNING: Node node2.example.com is offline: web was not stopped there" in run.log


def test_data_that_stay_on_a_dead_node_are_named(cluster: FakeCluster) -> None:
    instance = created(cluster, pnode="node2", disk_template=DiskTemplate.FILE)
    path = cluster.config.disks_of(instance)[0].logical_id[1]
    cluster.change_node("node2", offline=True, master_candidate=False)
    run = cluster.run(InstanceRemove(instance_name="web", ignore_failures=True))
    assert f"WARNING: The data of web stay on its offline node: {path}" in run.log
    assert cluster.config.instances == []


def test_a_node_that_is_offline_is_refused_unless_failures_are_ignored(cluster: FakeCluster) -> None:
    created(cluster, pnode="node2")
    cluster.change_node("node2", offline=True, master_candidate=False)
    with pytest.raises(PrereqError, match="use --ignore-failures") as caught:
        cluster.run(InstanceRemove(instance_name="web"))
    assert caught.value.code == Code.STATE


def test_disks_that_cannot_be_removed_keep_the_instance_unless_failures_are_ignored(cluster: FakeCluster) -> None:
    created(cluster)
    node = cluster.node("node1")

    def refuse(disk: object) -> None:
        raise ExecError("read-only file system")

    node.blockdev_remove = refuse  # type: ignore[method-assign, assignment]  # this one node behaves differently
    with pytest.raises(ExecError, match="was stopped, but not removed: disk/0 .* read-only file system"):
        cluster.run(InstanceRemove(instance_name="web"))
    assert [instance.name for instance in cluster.config.instances] == ["web"]
    run = cluster.run(InstanceRemove(instance_name="web", ignore_failures=True))
    assert cluster.config.instances == []
    assert any("Ignored, as asked" in line and "read-only" in line for line in run.log)


def test_an_unknown_instance_is_refused(cluster: FakeCluster) -> None:
    with pytest.raises(PrereqError, match="instance 'web' is not known"):
        cluster.run(InstanceRemove(instance_name="web"))


def test_the_instance_and_the_resources_of_its_node_are_locked(cluster: FakeCluster) -> None:
    created(cluster)
    assert locks_of(InstanceRemove(instance_name="web"), cluster.config) == {
        "exclusive instance": ["web"],
        "exclusive node-res": ["node1"],
        "shared cluster": ["BGL"],
        "shared node": ["node1"],
    }


def test_hooks_run_on_the_node_afterwards_only(cluster: FakeCluster) -> None:
    created(cluster, pnode="node2")
    cluster.node("node2").hooks_run.clear()
    cluster.run(InstanceRemove(instance_name="web", shutdown_timeout=7))
    ((path, phase, environment),) = cluster.node("node2").hooks_run
    assert (path, phase, environment["GANETI_SHUTDOWN_TIMEOUT"]) == ("instance-remove", "post", "7")
    assert environment["GANETI_INSTANCE_NAME"] == "web"
