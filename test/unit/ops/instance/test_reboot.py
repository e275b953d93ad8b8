from __future__ import annotations

import pytest

from ganeti.base.errors import PrereqError
from ganeti.model.enums import AdminState, RebootType
from ganeti.ops.instance.reboot import InstanceReboot
from support.fakecluster import FakeCluster
from support.instances import created


@pytest.fixture
def cluster() -> FakeCluster:
    cluster = FakeCluster()
    created(cluster)
    return cluster


def effects(cluster: FakeCluster, kind: RebootType) -> list[str]:
    run = cluster.run(InstanceReboot(instance_name="web", reboot_type=kind))
    return [name.rpartition(":")[2] for name in run.effects.names]


@pytest.mark.parametrize("kind", [RebootType.SOFT, RebootType.HARD])
def test_running_instance_is_rebooted_by_its_hypervisor(cluster: FakeCluster, kind: RebootType) -> None:
    assert effects(cluster, kind) == ["instance_reboot"]
    assert cluster.node("node1").guests["web"].starts == 2


def test_full_reboot_takes_the_disks_down_and_up_again(cluster: FakeCluster) -> None:
    assert effects(cluster, RebootType.FULL) == [
        "instance_stop",
        "blockdev_shutdown",
        "blockdev_assemble",
        "instance_start",
    ]
    assert cluster.running_on("web") == ["node1"]
    assert cluster.problems() == cluster.leftovers() == []


@pytest.mark.parametrize("kind", list(RebootType))
def test_instance_that_does_not_run_is_started_and_marked_up(cluster: FakeCluster, kind: RebootType) -> None:
    cluster.node("node1").guests.clear()
    cluster.change(cluster.instance("web"), admin_state=AdminState.DOWN)
    effects(cluster, kind)
    assert cluster.running_on("web") == ["node1"]
    assert cluster.instance("web").admin_state is AdminState.UP


def test_an_instance_on_an_offline_node_or_marked_offline_is_refused(cluster: FakeCluster) -> None:
    cluster.change(cluster.instance("web"), admin_state=AdminState.OFFLINE)
    with pytest.raises(PrereqError, match="is marked offline"):
        effects(cluster, RebootType.HARD)
    cluster.change(cluster.instance("web"), admin_state=AdminState.UP)
    cluster.change_master("node2")
    cluster.change_node("node1", offline=True, master_candidate=False)
    with pytest.raises(PrereqError, match="cannot be rebooted; fail it over"):
        effects(cluster, RebootType.HARD)


def test_hooks_are_told_how(cluster: FakeCluster) -> None:
    created(cluster, "other", pnode="node2")
    cluster.node("node2").hooks_run.clear()
    cluster.run(InstanceReboot(instance_name="other", reboot_type=RebootType.SOFT, shutdown_timeout=9))
    path, phase, environment = cluster.node("node2").hooks_run[0]
    assert (path, phase) == ("instance-reboot", "pre")
    assert (environment["GANETI_REBOOT_TYPE"], environment["GANETI_SHUTDOWN_TIMEOUT"]) == ("soft", "9")
