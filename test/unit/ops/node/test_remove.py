from __future__ import annotations

import pytest

from ganeti.base.errors import Code, PrereqError
from ganeti.model.locks import BGL
from ganeti.ops.node.remove import NodeRemove
from support.fakecluster import FakeCluster, Fault
from support.instances import created


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


def test_the_cluster_forgets_the_node_and_the_node_the_cluster(cluster: FakeCluster) -> None:
    node = cluster.node("node3")
    cluster.change_node("node3", ssh_root_key="ssh-rsa ROOT3")
    cluster.node("node2").keys.add("ssh-rsa ROOT3")
    run = cluster.run(NodeRemove(node_name="node3"))
    assert [found.name for found in cluster.config.nodes] == ["node1.example.com", "node2.example.com"]
    assert node.left and run.log == []
    assert cluster.node("node2").keys == set()
    assert run.effects.names[0] == "commit" and run.effects.names[-1] == "node3.example.com:node_leave"


def test_root_of_the_others_cannot_log_in_at_it_any_more(cluster: FakeCluster) -> None:
    cluster.change_node("node1", ssh_root_key="ssh-rsa ROOT1")
    cluster.change_node("node3", ssh_root_key="ssh-rsa ROOT3")
    node = cluster.node("node3")
    node.keys |= {"ssh-rsa ROOT1", "ssh-rsa ROOT3", "ssh-rsa PERSON"}
    cluster.run(NodeRemove(node_name="node3"))
    assert node.keys == {"ssh-rsa ROOT3", "ssh-rsa PERSON"}


def test_others_become_candidates_in_its_place(cluster: FakeCluster) -> None:
    cluster.change_cluster(candidate_pool_size=2)
    cluster.change_node("node3", master_candidate=False)
    run = cluster.run(NodeRemove(node_name="node2"))
    assert cluster.config.find_node("node3").master_candidate
    assert run.log == ["Node node3.example.com becomes a master candidate"]


def test_a_node_that_does_not_answer_is_removed_with_a_warning(cluster: FakeCluster) -> None:
    cluster.change_node("node3", offline=True, master_candidate=False)
    run = cluster.run(NodeRemove(node_name="node3"))
    assert len(cluster.config.nodes) == 2
    assert run.log[-1].startswith("WARNING: The node was removed, but could not be told")


def test_the_master_and_nodes_with_instances_are_refused(cluster: FakeCluster) -> None:
    created(cluster, pnode="node2")
    for name, reason in (("node1", "is the master, so it cannot be removed"), ("node2", r"still has instances \(web\)")):
        with pytest.raises(PrereqError, match=reason) as caught:
            cluster.run(NodeRemove(node_name=name))
        assert caught.value.code == Code.STATE
    assert len(cluster.config.nodes) == 3


@pytest.mark.parametrize("at", range(1, 8))
def test_whatever_fails_the_node_is_a_member_or_it_is_not(cluster: FakeCluster, at: int) -> None:
    cluster.change_node("node3", ssh_root_key="ssh-rsa ROOT3")
    try:
        cluster.run(NodeRemove(node_name="node3"), Fault(at, "fail"))
    except Exception:
        assert at == 1 and len(cluster.config.nodes) == 3
    else:
        assert len(cluster.config.nodes) == 2


def test_everything_stands_still_and_hooks_run_on_all_others(cluster: FakeCluster) -> None:
    node = cluster.node("node3")
    op = NodeRemove(node_name="node3")
    assert op.locks(cluster.config).exclusive == {BGL}
    cluster.run(op)
    assert node.hooks_run == []
    assert [phase for _, phase, _ in cluster.node("node2").hooks_run] == ["pre", "post"]
