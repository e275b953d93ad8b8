from __future__ import annotations

from typing import Any

import pytest

from ganeti.base.errors import PrereqError
from ganeti.model.enums import AdminState, AdminStateSource
from ganeti.ops.instance.shutdown import InstanceShutdown
from ganeti.rpc.node.replies import RunState
from support.fakecluster import FakeCluster
from support.instances import created


@pytest.fixture
def cluster() -> FakeCluster:
    cluster = FakeCluster()
    created(cluster)
    return cluster


def stopping(**values: Any) -> InstanceShutdown:
    return InstanceShutdown(instance_name="web", **values)


def test_running_instance_is_stopped_and_its_disks_are_released(cluster: FakeCluster) -> None:
    cluster.run(stopping())
    instance = cluster.instance("web")
    assert cluster.running_on("web") == []
    assert (instance.admin_state, instance.disks_active) == (AdminState.DOWN, False)
    assert cluster.problems() == cluster.leftovers() == []


def test_stopped_instance_is_success(cluster: FakeCluster) -> None:
    cluster.run(stopping())
    cluster.run(stopping())
    assert cluster.instance("web").admin_state is AdminState.DOWN


def test_it_may_be_stopped_without_recording_it(cluster: FakeCluster) -> None:
    cluster.run(stopping(no_remember=True))
    assert cluster.running_on("web") == []
    assert cluster.instance("web").admin_state is AdminState.UP


def test_on_an_offline_node_it_is_refused_or_only_recorded(cluster: FakeCluster) -> None:
    cluster.change_master("node2")
    cluster.change_node("node1", offline=True, master_candidate=False)
    with pytest.raises(PrereqError, match="cannot be stopped; use --ignore-offline"):
        cluster.run(stopping())
    run = cluster.run(stopping(ignore_offline_nodes=True))
    assert cluster.instance("web").admin_state is AdminState.DOWN
    assert run.effects.names == ["commit"]


def test_a_guest_that_powered_itself_off_is_recorded_as_such(cluster: FakeCluster) -> None:
    with pytest.raises(PrereqError, match="does not let guests power themselves off"):
        cluster.run(stopping(admin_state_source=AdminStateSource.USER))
    cluster.change_cluster(enabled_user_shutdown=True)
    with pytest.raises(PrereqError, match="has not powered itself off"):
        cluster.run(stopping(admin_state_source=AdminStateSource.USER))
    cluster.node("node1").guests["web"].state = RunState.SHUTDOWN
    cluster.run(stopping(admin_state_source=AdminStateSource.USER))
    instance = cluster.instance("web")
    assert (instance.admin_state, instance.admin_state_source) == (AdminState.DOWN, AdminStateSource.USER)
    assert cluster.node("node1").guests == {}


def test_an_instance_marked_offline_is_stopped_only_by_force_and_stays_marked(cluster: FakeCluster) -> None:
    cluster.change(cluster.instance("web"), admin_state=AdminState.OFFLINE)
    with pytest.raises(PrereqError, match="is marked offline"):
        cluster.run(stopping())
    cluster.run(stopping(force=True))
    assert cluster.running_on("web") == []
    assert cluster.instance("web").admin_state is AdminState.OFFLINE
