"""The configuration as one JSON document, in the form that other tools read (``config.data`` of version 3.1). Pure.

Source of the form: the public contract, ``doc/design/0002-store.md``. Optional fields without a value are left out, what is
kept only here (queue state, SSH keys of nodes) is not exported, and what is derived here (used ports, members of groups,
certificates of candidates) is filled in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ganeti.base import codec
from ganeti.model.config import Config
from ganeti.model.enums import Kind
from ganeti.model.objects import AnyObject, Cluster, Disk, Group, Instance, Node

VERSION = 3_010_000
"""major * 1000000 + minor * 10000."""
FIRST_PORT = 11000
LAST_PORT = 14999
"""TCP ports that are given to instances and disks."""

SECTIONS = {
    "nodes": Kind.NODE,
    "nodegroups": Kind.GROUP,
    "instances": Kind.INSTANCE,
    "networks": Kind.NETWORK,
    "disks": Kind.DISK,
    "filters": Kind.FILTER,
}
"""Objects by uuid, as they follow the cluster's settings."""

_NOT_EXPORTED: Mapping[Kind, frozenset[str]] = {
    Kind.CLUSTER: frozenset({"queue_drained", "watcher_pause"}),
    Kind.NODE: frozenset({"certificate_digest", "ssh_host_key", "ssh_root_key"}),
    Kind.INSTANCE: frozenset({"migration_peer"}),
}
_LEFT_OUT_IF_EMPTY = frozenset({"hv_state_static", "disk_state_static"})


def config_data(config: Config) -> dict[str, Any]:
    """The whole document, as plain JSON values."""
    head = document_head(config)
    sections = {
        section: {obj.uuid: encode_object(obj, config) for obj in config.rows.all(kind)} for section, kind in SECTIONS.items()
    }
    return {**head, **sections}


def document_head(config: Config) -> dict[str, Any]:
    """Everything before the sections of objects."""
    cluster = config.cluster
    newest = max((obj.mtime for kind in Kind for obj in config.rows.all(kind)), default=cluster.mtime)
    return {
        "version": VERSION,
        "serial_no": config.serial,
        "ctime": cluster.ctime,
        "mtime": newest,
        "cluster": encode_cluster(cluster, config),
    }


def encode_cluster(cluster: Cluster, config: Config) -> dict[str, Any]:
    """The cluster's settings with the ports and certificates that are in use now."""
    result = _encode(cluster)
    used = _used_ports(config)
    highest = max(used, default=FIRST_PORT - 1)
    result["highest_used_port"] = highest
    result["tcpudp_port_pool"] = [port for port in range(FIRST_PORT, highest) if port not in used]
    result["candidate_certs"] = {node.uuid: node.certificate_digest for node in config.candidates if node.certificate_digest}
    return result


def encode_object(obj: AnyObject, config: Config) -> dict[str, Any]:
    """Any object but the cluster's settings."""
    result = _encode(obj)
    if isinstance(obj, Group):
        result["members"] = [node.uuid for node in config.nodes if node.group == obj.uuid]
    elif isinstance(obj, (Node, Instance, Disk)):
        result = {key: value for key, value in result.items() if value or key not in _LEFT_OUT_IF_EMPTY}
    return result


def _encode(obj: AnyObject) -> dict[str, Any]:
    hidden = _NOT_EXPORTED.get(obj.KIND, frozenset())
    plain: dict[str, Any] = {key: value for key, value in codec.encode(obj).items() if key not in hidden}
    plain["tags"] = sorted(plain["tags"])
    stripped: dict[str, Any] = _without_none(plain, fields=True)
    return stripped


def _without_none(value: Any, *, fields: bool) -> Any:
    """Optional fields of an object, of its NICs and of its child disks that have no value are left out; parameters stay."""
    if not fields or not isinstance(value, dict):
        return value
    result = {key: item for key, item in value.items() if item is not None}
    for key in ("nics", "children"):
        if key in result:
            result[key] = [_without_none(item, fields=True) for item in result[key]]
    return result


def _used_ports(config: Config) -> set[int]:
    used = {instance.network_port for instance in config.instances if instance.network_port is not None}
    return used | {int(port) for port in _drbd_ports(config.rows.all(Kind.DISK))}


def _drbd_ports(disks: Iterable[Disk]) -> Iterable[int]:
    for disk in disks:
        ident: Sequence[str | int] = disk.logical_id
        if disk.dev_type.value == "drbd" and len(ident) == 6:
            yield int(ident[2])
        yield from _drbd_ports(disk.children)
