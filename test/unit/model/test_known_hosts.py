from __future__ import annotations

from ganeti.model.known_hosts import known_hosts_of
from support.fakecluster import FakeCluster


def test_each_node_with_a_key_stands_with_the_cluster_s_name_its_own_and_its_address() -> None:
    cluster = FakeCluster()
    cluster.change_node("node2", ssh_host_key="ssh-ed25519 AAAA")
    assert known_hosts_of(cluster.config) == "cluster.example.com,node2.example.com,192.0.2.12 ssh-ed25519 AAAA\n"
