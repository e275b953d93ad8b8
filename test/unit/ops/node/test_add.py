from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from ganeti.base.errors import Code, NodeError, PrereqError
from ganeti.model.enums import AllocPolicy
from ganeti.model.ids import GroupUuid
from ganeti.model.locks import BGL
from ganeti.model.objects import Group, Node
from ganeti.ops.node.add import NodeAdd
from support.fakecluster import FakeCluster
from support.fakenode import FakeNode


class Answering(dict[Any, FakeNode]):
    """Nodes by uuid. A uuid that was never seen is the new host's."""

    def __init__(self, nodes: dict[Any, FakeNode], host: FakeNode) -> None:
        super().__init__(nodes)
        self.host = host

    def __contains__(self, key: object) -> bool:
        return True

    def __missing__(self, key: object) -> FakeNode:
        return self.host


class Hosts(FakeCluster):
    """A cluster of two nodes, and a host that is no member yet."""

    def __init__(self) -> None:
        super().__init__(nodes=2)
        self.host = FakeNode("node3.example.com", self.shared)
        self.nodes = Answering(self.nodes, self.host)
        self.clock = 0.0


@pytest.fixture
def cluster() -> Hosts:
    return Hosts()


def adding(**values: Any) -> NodeAdd:
    defaults: dict[str, Any] = {
        "node_name": "node3.example.com",
        "primary_ip": "192.0.2.13",
        "certificate_digest": "digest-3",
        "ssh_host_key": "ssh-ed25519 HOST3",
        "ssh_root_key": "ssh-rsa ROOT3",
    }
    return NodeAdd(**{**defaults, **values})


def refused(cluster: FakeCluster, match: str, code: str = Code.INVAL, **values: Any) -> None:
    serial = cluster.config.serial
    with pytest.raises(PrereqError, match=match) as caught:
        cluster.run(adding(**values))
    assert caught.value.code == code
    assert cluster.config.serial == serial


def test_a_prepared_host_becomes_a_member_and_a_candidate_while_the_pool_has_room(cluster: Hosts) -> None:
    run = cluster.run(adding())
    node = cluster.config.find_node("node3")
    assert (node.primary_ip, node.secondary_ip, node.group) == ("192.0.2.13", "192.0.2.13", cluster.group.uuid)
    assert (node.master_candidate, node.offline, node.drained) == (True, False, False)
    assert (node.certificate_digest, node.ssh_root_key) == ("digest-3", "ssh-rsa ROOT3")
    assert run.log == ["Node node3.example.com is a member of the cluster, as master candidate"]


def test_a_full_pool_or_a_node_that_may_not_be_master_makes_a_regular_node(cluster: Hosts) -> None:
    cluster.run(adding(master_capable=False))
    assert not cluster.config.find_node("node3").master_candidate
    cluster.change_cluster(candidate_pool_size=2)
    cluster.run(adding(readd=True, master_capable=True))
    assert not cluster.config.find_node("node3").master_candidate


def test_every_node_learns_the_keys(cluster: Hosts) -> None:
    cluster.change_node("node1", ssh_host_key="ssh-ed25519 HOST1", ssh_root_key="ssh-rsa ROOT1")
    cluster.run(adding())
    node = cluster.node("node2")
    assert node.keys == {"ssh-rsa ROOT1", "ssh-rsa ROOT3"}
    assert node.texts["known_hosts"] == (
        "cluster.example.com,node1.example.com,192.0.2.11 ssh-ed25519 HOST1\n"
        "cluster.example.com,node3.example.com,192.0.2.13 ssh-ed25519 HOST3\n"
    )


def test_ssh_is_left_alone_where_the_cluster_says_so(cluster: Hosts) -> None:
    cluster.change_cluster(modify_ssh_setup=False)
    cluster.run(adding())
    assert cluster.node("node2").keys == set() and "known_hosts" not in cluster.node("node2").texts


def test_without_a_digest_the_agent_is_asked(cluster: Hosts) -> None:
    cluster.run(adding(certificate_digest=None))
    assert cluster.config.find_node("node3").certificate_digest == "digest-node3.example.com"


def test_parameters_are_converted(cluster: Hosts) -> None:
    cluster.run(adding(ndparams={"spindle_count": "3", "cpu_speed": "default"}, vm_capable=False))
    node = cluster.config.find_node("node3")
    assert (node.ndparams, node.vm_capable) == ({"spindle_count": 3}, False)


def test_membership_that_does_not_fit_is_refused(cluster: Hosts) -> None:
    refused(cluster, "node2.example.com is in the cluster already; use --readd", Code.EXISTS, node_name="node2.example.com")
    refused(cluster, "is not in the cluster, so it cannot be re-added", Code.NOENT, readd=True)
    refused(
        cluster,
        "is the master; it cannot be re-added",
        Code.STATE,
        node_name="node1.example.com",
        primary_ip="192.0.2.11",
        readd=True,
    )


def test_addresses_that_do_not_fit_are_refused(cluster: Hosts) -> None:
    refused(cluster, "belongs to node node2", Code.NOTUNIQUE, primary_ip="192.0.2.12")
    refused(cluster, "is the cluster's own", Code.NOTUNIQUE, primary_ip="192.0.2.1")
    refused(cluster, "primary IP 'nonsense' is not an IP address", primary_ip="nonsense")
    refused(cluster, "is not an IPv4 address", primary_ip="2001:db8::3")
    refused(cluster, "no other node may have one; leave -s out", secondary_ip="198.51.100.3")
    cluster.change_node("node1", secondary_ip="198.51.100.1")
    refused(cluster, "every node needs one; give it with -s")
    cluster.run(adding(secondary_ip="198.51.100.3"))
    assert cluster.config.find_node("node3").secondary_ip == "198.51.100.3"


def test_a_name_that_resolves_nowhere_is_refused(cluster: Hosts) -> None:
    refused(cluster, "nowhere.invalid", Code.RESOLVER, node_name="nowhere.invalid", primary_ip=None)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ({"software": "3.1.0"}, r"it has version 3\.1\.0 of the software, the master 3\.2\.0"),
        ({"protocol": 7}, "its agent speaks protocol 7, the master 1"),
        ({"hostname": "other"}, "its agent calls itself other"),
        ({"time": 200.0}, r"its clock is 200\.0 seconds off, more than the 150 allowed"),
    ],
)
def test_an_agent_that_does_not_fit_is_refused(cluster: Hosts, reply: dict[str, Any], reason: str) -> None:
    cluster.host.version_reply = dataclasses.replace(cluster.host.version_reply, **reply)
    refused(cluster, f"node3.example.com cannot join: {reason}", Code.ENVIRON)


def test_an_agent_that_does_not_answer_is_refused(cluster: Hosts) -> None:
    def silent() -> Any:
        raise NodeError("node3.example.com", "connection refused")

    cluster.host.version = silent  # type: ignore[method-assign]  # this one host behaves differently
    refused(cluster, "connection refused.* Its agent must run", Code.ENVIRON)


def test_a_certificate_of_another_node_is_refused(cluster: Hosts) -> None:
    refused(
        cluster,
        "it has the certificate of node node2.example.com",
        Code.ENVIRON,
        certificate_digest="digest-node2.example.com",
    )


def test_one_of_several_groups_has_to_be_chosen(cluster: Hosts) -> None:
    cluster.put(Group(uuid=GroupUuid("g2"), name="other", alloc_policy=AllocPolicy.PREFERRED))
    refused(cluster, r"several node groups \(default, other\); choose one with -g")
    cluster.run(adding(group="other"))
    assert cluster.config.find_node("node3").group == "g2"


def test_what_is_not_supported_is_refused(cluster: Hosts) -> None:
    refused(cluster, "hv_state cannot be used", hv_state={"kvm": {}})
    refused(cluster, "disk_state cannot be used", disk_state={"x": {}})
    refused(cluster, "node_setup cannot be used", node_setup=True)
    refused(cluster, "exclusive_storage cannot be set for a single node", ndparams={"exclusive_storage": True})
    refused(cluster, "has no parameter 'colour'", ndparams={"colour": "red"})


def test_a_member_is_taken_up_again_with_its_group_and_instances(cluster: Hosts) -> None:
    cluster.run(adding(group="default"))
    before = cluster.config.find_node("node3")
    cluster.change(before, offline=True, master_candidate=False, powered=False, tags=("rack-1",))
    cluster.run(adding(readd=True, certificate_digest="digest-new", ssh_host_key=None))
    node: Node = cluster.config.find_node("node3")
    assert (node.uuid, node.tags, node.group) == (before.uuid, ("rack-1",), before.group)
    assert (node.offline, node.powered, node.master_candidate) == (False, True, True)
    assert (node.certificate_digest, node.ssh_host_key) == ("digest-new", "ssh-ed25519 HOST3")


def test_readding_cannot_change_group_or_secondary_address(cluster: Hosts) -> None:
    cluster.put(Group(uuid=GroupUuid("g2"), name="other"))
    cluster.change_node("node1", secondary_ip="198.51.100.1")
    cluster.change_node("node2", secondary_ip="198.51.100.2")
    values: dict[str, Any] = {"node_name": "node2.example.com", "primary_ip": "192.0.2.12", "readd": True}
    refused(cluster, "keeps its node group", group="other", **values)
    refused(cluster, "re-adding cannot change it", secondary_ip="198.51.100.9", **values)


def test_everything_stands_still_meanwhile(cluster: Hosts) -> None:
    assert adding().locks(cluster.config).exclusive == {BGL}


def test_hooks_run_before_on_all_others_and_afterwards_on_the_new_node_too(cluster: Hosts) -> None:
    cluster.run(adding())
    assert [phase for _, phase, _ in cluster.node("node2").hooks_run] == ["pre", "post"]
    ((path, phase, environment),) = cluster.host.hooks_run
    assert (path, phase, environment["GANETI_NODE_PIP"]) == ("node-add", "post", "192.0.2.13")
    assert environment["GANETI_MASTER_CAPABLE"] == "True"
