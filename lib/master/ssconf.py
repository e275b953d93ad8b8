"""Small facts of the cluster in files on every node (ssconf): their texts, and keeping them up to date in the background."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable

import ganeti
from ganeti.base.errors import NodeError
from ganeti.master.background import Background
from ganeti.model.config import Config
from ganeti.model.enums import HypervisorKind, Kind
from ganeti.model.filled import fill_ndparams
from ganeti.model.ids import NodeUuid
from ganeti.model.ssconf import KEYS
from ganeti.rpc.call import NodeCaller
from ganeti.rpc.node.node import NodeApi

log = logging.getLogger(__name__)

Values = dict[str, str]
ReadConfig = Callable[[], Config]


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


class Distributor:
    """Writes ssconf files to all nodes that are online; to each only what changed since it was last written there."""

    def __init__(self, read: ReadConfig, nodes: NodeCaller, *, delay: float = 0.1) -> None:
        self._read = read
        self._nodes = nodes
        self._written: dict[NodeUuid, Values] = {}
        self.failed: dict[NodeUuid, NodeError] = {}
        """Nodes that do not have the present values, and why."""
        self._background = Background("ssconf", self._work, delay)

    def changed(self) -> None:
        """The configuration changed; returns at once."""
        self._background.changed()

    def flush(self, timeout: float | None = None) -> bool:
        """Write now; True when every node that is online has the present values, False after `timeout` seconds."""
        return self._background.flush(timeout)

    def close(self) -> None:
        """Stop without finishing."""
        self._background.close()

    def refresh(self) -> None:
        """Write everything to every node again, whatever it is thought to have."""
        self._written = {}
        self.changed()

    def _work(self) -> bool:
        config = self._read()
        values = ssconf_values(config)
        online = {node.uuid for node in config.online_nodes}
        # What is not online is written anew when it comes back.
        self._written = {node: known for node, known in self._written.items() if node in online}
        failed: dict[NodeUuid, NodeError] = {}
        for changed, nodes in self._plan(values, online):
            for node, result in self._nodes.call_all(nodes, NodeApi.write_ssconf, changed).items():
                if isinstance(result, NodeError):
                    failed[node] = result
                    self._written.pop(node, None)
                else:
                    self._written[node] = values
        self._report(failed)
        return not failed

    def _plan(self, values: Values, online: Iterable[NodeUuid]) -> list[tuple[Values, list[NodeUuid]]]:
        """Nodes by what has to be written to them."""
        groups: dict[frozenset[str], list[NodeUuid]] = defaultdict(list)
        for node in sorted(online):
            known = self._written.get(node, {})
            changed = frozenset(key for key, text in values.items() if known.get(key) != text)
            if changed:
                groups[changed].append(node)
        return [({key: values[key] for key in sorted(changed)}, nodes) for changed, nodes in groups.items()]

    def _report(self, failed: dict[NodeUuid, NodeError]) -> None:
        for node in failed.keys() - self.failed.keys():
            log.warning("ssconf files are out of date: %s; will be tried again", failed[node])
        for node in self.failed.keys() - failed.keys():
            log.info("ssconf files of node %s are up to date again", node)
        self.failed = failed
