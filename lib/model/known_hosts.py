"""The cluster's ``known_hosts``: by which SSH host keys its nodes are recognised."""

from __future__ import annotations

from collections.abc import Sequence

from ganeti.model.config import Config


def known_hosts(cluster_name: str, nodes: Sequence[tuple[str, str, str]]) -> str:
    """Text of the file: each node is [name, address, host key], and answers for the cluster's name too."""
    return "".join(f"{cluster_name},{name},{address} {key}\n" for name, address, key in nodes if key)


def known_hosts_of(config: Config) -> str:
    """Text of the file for all nodes of a configuration."""
    nodes = [(node.name, node.primary_ip, node.ssh_host_key) for node in config.nodes]
    return known_hosts(config.cluster.cluster_name, nodes)
