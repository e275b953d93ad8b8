from __future__ import annotations

import pytest

from ganeti.base.errors import PrereqError
from ganeti.model.enums import DiskTemplate
from ganeti.ops.instance.query_data import InstanceQueryData
from support.fakecluster import FakeCluster
from support.instances import created


@pytest.fixture
def cluster() -> FakeCluster:
    cluster = FakeCluster()
    created(cluster, disk_template=DiskTemplate.FILE, beparams={"minmem": 64})
    created(cluster, "cold", pnode="node2", start=False)
    return cluster


def test_everything_is_told_of_all_instances_with_their_live_state(cluster: FakeCluster) -> None:
    result = cluster.run(InstanceQueryData()).result
    assert list(result) == ["cold", "web"]
    web = result["web"]
    assert (web["config_state"], web["run_state"]) == ("up", "up")
    assert (result["cold"]["config_state"], result["cold"]["run_state"]) == ("down", "down")
    assert (web["pnode"], web["pnode_group_name"], web["snodes"]) == ("node1.example.com", "default", [])
    assert web["be_instance"] == {"minmem": 64}
    assert web["be_actual"]["memory"] == web["be_actual"]["maxmem"] == 128
    (nic,) = web["nics"]
    assert nic[3] == cluster.instance("web").nics[0].mac and nic[4:9] == ["bridged", "br0", "", None, None]
    (disk,) = web["disks"]
    path = disk["logical_id"][1]
    assert disk["pstatus"] == [path, None, None, None, None, False, 1]
    assert (disk["iv_name"], disk["dev_type"], disk["size"], disk["mode"]) == ("disk/0", "file", 512, "rw")


def test_static_information_asks_no_node(cluster: FakeCluster) -> None:
    cluster.calls.clear()
    result = cluster.run(InstanceQueryData(instances=["web"], static=True)).result
    assert list(result) == ["web"]
    assert result["web"]["run_state"] is None and result["web"]["disks"][0]["pstatus"] is None
    assert cluster.calls == []


def test_each_node_is_asked_once(cluster: FakeCluster) -> None:
    created(cluster, "more")
    cluster.calls.clear()
    cluster.run(InstanceQueryData())
    assert sorted(cluster.calls) == [
        "node1.example.com:blockdev_find",
        "node1.example.com:instance_states",
        "node2.example.com:blockdev_find",
        "node2.example.com:instance_states",
    ]


def test_a_node_that_does_not_answer_leaves_a_gap_and_a_warning(cluster: FakeCluster) -> None:
    cluster.dead.add(cluster.uuid("node1"))
    run = cluster.run(InstanceQueryData())
    assert run.result["web"]["run_state"] is None
    assert run.result["cold"]["run_state"] == "down"
    assert run.log == ["WARNING: node node1.example.com: connection refused"]


def test_an_unknown_instance_is_refused(cluster: FakeCluster) -> None:
    with pytest.raises(PrereqError, match="is not known"):
        cluster.run(InstanceQueryData(instances=["nobody"]))
