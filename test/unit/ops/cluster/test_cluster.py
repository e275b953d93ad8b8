from __future__ import annotations

import pytest

from ganeti.base.errors import Code, PrereqError
from ganeti.model.locks import BGL, Locks
from ganeti.ops.cluster.config_query import ClusterConfigQuery
from ganeti.ops.cluster.destroy import ClusterDestroy
from ganeti.ops.cluster.post_init import ClusterPostInit
from ganeti.ops.cluster.query import ClusterQuery
from support.fakecluster import FakeCluster
from support.instances import created


def test_the_first_job_changes_nothing() -> None:
    cluster = FakeCluster(nodes=1)
    run = cluster.run(ClusterPostInit())
    assert run.result is True and run.effects.names == []


def test_the_last_job_takes_the_address_down_and_names_the_master() -> None:
    cluster = FakeCluster(nodes=1)
    run = cluster.run(ClusterDestroy())
    assert run.result == cluster.uuid("node1")
    assert not cluster.node("node1").has_master_ip
    assert ClusterDestroy().locks(cluster.config).exclusive == {BGL}


def test_an_address_that_cannot_be_taken_down_is_a_warning() -> None:
    cluster = FakeCluster(nodes=1)
    cluster.dead.add(cluster.uuid("node1"))
    run = cluster.run(ClusterDestroy())
    assert run.log == ["WARNING: The cluster's address 192.0.2.1 was not taken down: node node1.example.com: connection refused"]


def test_a_cluster_with_instances_or_other_nodes_is_not_destroyed() -> None:
    cluster = FakeCluster()
    with pytest.raises(PrereqError, match=r"still has other nodes \(node2\.example\.com, node3\.example\.com\)") as caught:
        cluster.run(ClusterDestroy())
    assert caught.value.code == Code.STATE
    created(cluster)
    with pytest.raises(PrereqError, match=r"still has instances \(web\)"):
        cluster.run(ClusterDestroy())


def test_settings_and_single_values_are_told() -> None:
    cluster = FakeCluster(queue_drained=True)
    info = cluster.run(ClusterQuery()).result
    assert (info["name"], info["master"], info["default_hypervisor"]) == ("cluster.example.com", "node1.example.com", "fake")
    values = cluster.run(ClusterConfigQuery(output_fields=["master_node", "drain_flag", "unheard_of"])).result
    assert values == ["node1.example.com", True, None]
    assert ClusterQuery().locks(cluster.config) == Locks.none()
