"""Small facts of the cluster in files on every node (ssconf): their texts, and who gets them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import ganeti
from ganeti.base.errors import NodeError
from ganeti.master.distribute import Values
from ganeti.model.config import Config
from ganeti.model.enums import HypervisorKind, Kind
from ganeti.model.filled import fill_ndparams
from ganeti.model.ids import NodeUuid
from ganeti.model.ssconf import KEYS
from ganeti.rpc.call import NodeCaller
from ganeti.rpc.node.node import NodeApi


def ssconf_values(config: Config) -> Values:
    """The text of every ssconf file. Values that hold something end with a newline; shapes as in `model.ssconf`."""
    cluster = config.cluster
    values = {**_cluster_values(config), **_node_values(config)}
    for kind in HypervisorKind:
        pairs = sorted(cluster.hvparams.get(kind.value, {}).items())
        values[f"hvparams_{kind}"] = _lines(f"{name}={'' if value is None else value}" for name, value in pairs)
    assert values.keys() == KEYS
    return values


def _cluster_values(config: Config) -> Values:
    cluster = config.cluster
    return {
        "cluster_name": _line(cluster.cluster_name),
        "cluster_tags": _lines(sorted(cluster.tags)),
        "enabled_user_shutdown": _line(cluster.enabled_user_shutdown),
        "file_storage_dir": _line(cluster.file_storage_dir),
        "gluster_storage_dir": _line(cluster.gluster_storage_dir),
        "hypervisor_list": _lines(cluster.enabled_hypervisors),
        "instance_list": _lines(config.rows.names(Kind.INSTANCE)),
        "maintain_node_health": _line(cluster.maintain_node_health),
        "master_ip": _line(cluster.master_ip),
        "master_netdev": _line(cluster.master_netdev),
        "master_netmask": _line(cluster.master_netmask),
        "master_node": _line(config.master.name),
        "networks": _lines(f"{network.uuid} {network.name}" for network in config.networks),
        "nodegroups": _lines(f"{group.uuid} {group.name}" for group in config.groups),
        "primary_ip_family": _line(cluster.primary_ip_family),
        "release_version": _line(ganeti.__version__),
        "shared_file_storage_dir": _line(cluster.shared_file_storage_dir),
        "uid_pool": _lines(str(low) if low == high else f"{low}-{high}" for low, high in cluster.uid_pool),
    }


def _node_values(config: Config) -> Values:
    nodes, candidates = config.nodes, config.candidates
    return {
        "master_candidates": _lines(node.name for node in candidates),
        "master_candidates_certs": _lines(
            f"{node.uuid}={node.certificate_digest}" for node in candidates if node.certificate_digest
        ),
        "master_candidates_ips": _lines(node.primary_ip for node in candidates),
        "node_list": _lines(node.name for node in nodes),
        "node_primary_ips": _lines(f"{node.name} {node.primary_ip}" for node in nodes),
        "node_secondary_ips": _lines(f"{node.name} {node.secondary_ip}" for node in nodes),
        "node_vm_capable": _lines(f"{node.name}={node.vm_capable}" for node in nodes),
        "offline_nodes": _lines(node.name for node in nodes if node.offline),
        "online_nodes": _lines(node.name for node in nodes if not node.offline),
        "ssh_ports": _lines(f"{node.name}={fill_ndparams(config, node).get('ssh_port', 22)}" for node in nodes),
    }


def _line(value: object) -> str:
    text = str(value)
    return f"{text}\n" if text else ""


def _lines(values: Iterable[object]) -> str:
    return "".join(f"{value}\n" for value in values)


class SsconfFiles:
    """What the `distribute.Distributor` sends to every node that is online."""

    name = "ssconf"

    def values(self, config: Config) -> Values:
        """See `ssconf_values`."""
        return ssconf_values(config)

    def targets(self, config: Config) -> set[NodeUuid]:
        """Nodes that are online."""
        return {node.uuid for node in config.online_nodes}

    def send(self, nodes: NodeCaller, targets: Sequence[NodeUuid], values: Values) -> Mapping[NodeUuid, NodeError | None]:
        """All of it in one call for each node."""
        return nodes.call_all(targets, NodeApi.write_ssconf, values)
