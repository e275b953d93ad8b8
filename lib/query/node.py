"""Fields of nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ganeti.base.errors import NodeOffline
from ganeti.model import parameters
from ganeti.model.enums import Word
from ganeti.model.filled import fill_ndparams
from ganeti.model.objects import Node
from ganeti.query.field import (
    NO_DATA,
    OFFLINE,
    UNAVAILABLE,
    Data,
    Field,
    FieldKind,
    FieldTable,
    Need,
    common_fields,
    fields,
)
from ganeti.query.instance import param_kind
from ganeti.rpc.node.replies import HypervisorInfo, NodeInfo

NDPARAM_TITLES = {
    "exclusive_storage": "ExclusiveStorage",
    "oob_program": "OutOfBandProgram",
    "ovs": "OpenvSwitch",
    "ovs_link": "OpenvSwitchLink",
    "ovs_name": "OpenvSwitchName",
    "spindle_count": "SpindleCount",
}


class NodeRole(Word):
    """Values of the field ``role``."""

    MASTER = "M"
    CANDIDATE = "C"
    REGULAR = "R"
    DRAINED = "D"
    OFFLINE = "O"


def role_of(node: Node, master: str) -> NodeRole:
    """The role that is shown for a node; `master` is the master's uuid."""
    if node.uuid == master:
        return NodeRole.MASTER
    if node.master_candidate:
        return NodeRole.CANDIDATE
    if node.drained:
        return NodeRole.DRAINED
    return NodeRole.OFFLINE if node.offline else NodeRole.REGULAR


# --- live facts


def _info(data: Data, node: Node) -> Any:
    """The node's answer, or what stands for it."""
    if node.offline:
        return OFFLINE
    if not node.vm_capable:
        return UNAVAILABLE
    found = data.live.node_info.get(node.uuid)
    if isinstance(found, NodeOffline):
        return OFFLINE
    return found if isinstance(found, NodeInfo) else NO_DATA


def _hypervisor(value: Callable[[HypervisorInfo], Any]) -> Callable[[Data, Node], Any]:
    def get(data: Data, node: Node) -> Any:
        info = _info(data, node)
        if not isinstance(info, NodeInfo):
            return info
        for kind in data.config.cluster.enabled_hypervisors:
            if kind in info.hypervisors:
                return value(info.hypervisors[kind])
        return NO_DATA

    return get


def _space(attribute: str) -> Callable[[Data, Node], Any]:
    def get(data: Data, node: Node) -> Any:
        info = _info(data, node)
        if not isinstance(info, NodeInfo):
            return info
        for unit in info.storage:
            value = getattr(unit, attribute)
            if value is not None:
                return value
        return UNAVAILABLE if not info.storage else NO_DATA

    return get


def _bootid(data: Data, node: Node) -> Any:
    info = _info(data, node)
    return info.bootid if isinstance(info, NodeInfo) else info


def _live(name: str, title: str, kind: FieldKind, get: Callable[[Data, Node], Any], doc: str) -> Field:
    return Field(name, title, kind, get, doc, Need.NODE_INFO)


def _spindles(data: Data, node: Node) -> Any:
    info = _info(data, node)
    return NO_DATA if isinstance(info, NodeInfo) else info


_LIVE = fields(
    _live("bootid", "BootID", FieldKind.TEXT, _bootid, "A new value after each boot"),
    _live("cnodes", "CNodes", FieldKind.NUMBER, _hypervisor(lambda info: info.cpu_nodes), "NUMA domains"),
    _live(
        "cnos",
        "CNOs",
        FieldKind.NUMBER,
        _hypervisor(lambda info: info.cpu_dom0),
        "CPUs of the node's own system",
    ),
    _live(
        "csockets", "CSockets", FieldKind.NUMBER, _hypervisor(lambda info: info.cpu_sockets), "CPU sockets"
    ),
    _live("ctotal", "CTotal", FieldKind.NUMBER, _hypervisor(lambda info: info.cpu_total), "CPUs"),
    _live("mtotal", "MTotal", FieldKind.UNIT, _hypervisor(lambda info: info.memory_total), "Memory"),
    _live(
        "mnode",
        "MNode",
        FieldKind.UNIT,
        _hypervisor(lambda info: info.memory_dom0),
        "Memory of the node's own system",
    ),
    _live(
        "mfree",
        "MFree",
        FieldKind.UNIT,
        _hypervisor(lambda info: info.memory_free),
        "Memory available for guests",
    ),
    _live("dtotal", "DTotal", FieldKind.UNIT, _space("total"), "Disk space of the default storage"),
    _live("dfree", "DFree", FieldKind.UNIT, _space("free"), "Disk space available there"),
    _live(
        "spfree",
        "SpFree",
        FieldKind.NUMBER,
        _spindles,
        "Free spindles (with exclusive storage)",
    ),
    _live(
        "sptotal",
        "SpTotal",
        FieldKind.NUMBER,
        _spindles,
        "Spindles (with exclusive storage)",
    ),
)


# --- facts of the configuration


def _names(instances: list[Any]) -> list[str]:
    return [instance.name for instance in instances]


def _powered(data: Data, node: Node) -> Any:
    return node.powered if fill_ndparams(data.config, node).get("oob_program") else UNAVAILABLE


_PLAIN = fields(
    Field("name", "Node", FieldKind.TEXT, lambda _, n: n.name, "Name of the node", is_hostname=True),
    Field("pip", "PrimaryIP", FieldKind.TEXT, lambda _, n: n.primary_ip, "Primary address"),
    Field(
        "sip",
        "SecondaryIP",
        FieldKind.TEXT,
        lambda _, n: n.secondary_ip,
        "Address in the replication network",
    ),
    Field(
        "role",
        "Role",
        FieldKind.TEXT,
        lambda d, n: str(role_of(n, d.config.cluster.master_node)),
        "M master, C candidate, R regular, D drained, O offline",
    ),
    Field(
        "master",
        "IsMaster",
        FieldKind.BOOL,
        lambda d, n: n.uuid == d.config.cluster.master_node,
        "Whether it is the master",
    ),
    Field(
        "master_candidate",
        "MasterC",
        FieldKind.BOOL,
        lambda _, n: n.master_candidate,
        "Whether it is a master candidate",
    ),
    Field(
        "master_capable",
        "MasterCapable",
        FieldKind.BOOL,
        lambda _, n: n.master_capable,
        "Whether it may become a candidate",
    ),
    Field(
        "vm_capable", "VMCapable", FieldKind.BOOL, lambda _, n: n.vm_capable, "Whether it may run instances"
    ),
    Field("drained", "Drained", FieldKind.BOOL, lambda _, n: n.drained, "Whether it is drained"),
    Field("offline", "Offline", FieldKind.BOOL, lambda _, n: n.offline, "Whether it is marked offline"),
    Field("powered", "Powered", FieldKind.BOOL, _powered, "Whether it is powered, as recorded"),
    Field("group", "Group", FieldKind.TEXT, lambda d, n: d.config.group(n.group).name, "Node group"),
    Field("group.uuid", "GroupUUID", FieldKind.TEXT, lambda _, n: n.group, "UUID of the node group"),
    Field(
        "pinst_cnt",
        "Pinst",
        FieldKind.NUMBER,
        lambda d, n: len(d.config.primary_instances(n.uuid)),
        "Instances with this primary node",
    ),
    Field(
        "sinst_cnt",
        "Sinst",
        FieldKind.NUMBER,
        lambda d, n: len(d.config.secondary_instances(n.uuid)),
        "Instances with this secondary node",
    ),
    Field(
        "pinst_list",
        "PriInstances",
        FieldKind.OTHER,
        lambda d, n: _names(d.config.primary_instances(n.uuid)),
        "Their names",
    ),
    Field(
        "sinst_list",
        "SecInstances",
        FieldKind.OTHER,
        lambda d, n: _names(d.config.secondary_instances(n.uuid)),
        "Their names",
    ),
    Field(
        "ndparams",
        "NodeParameters",
        FieldKind.OTHER,
        lambda d, n: fill_ndparams(d.config, n),
        "Node parameters, filled",
    ),
    Field(
        "custom_ndparams",
        "CustomNodeParameters",
        FieldKind.OTHER,
        lambda _, n: n.ndparams,
        "Node parameters of its own",
    ),
    Field(
        "hv_state",
        "HypervisorState",
        FieldKind.OTHER,
        lambda _, n: n.hv_state_static or UNAVAILABLE,
        "Hypervisor state",
    ),
    Field(
        "disk_state",
        "DiskState",
        FieldKind.OTHER,
        lambda _, n: n.disk_state_static or UNAVAILABLE,
        "Disk state",
    ),
)


def _ndparam(name: str) -> Callable[[Data, Node], Any]:
    def get(data: Data, node: Node) -> Any:
        value = fill_ndparams(data.config, node).get(name)
        return UNAVAILABLE if value is None else value

    return get


_NDPARAMS = {
    f"ndp/{name}": Field(
        f"ndp/{name}",
        NDPARAM_TITLES.get(name, f"ndp/{name}"),
        param_kind(param),
        _ndparam(name),
        f"Node parameter {name}",
    )
    for name, param in parameters.NODE.items()
}

FIELDS: FieldTable = {**common_fields("node"), **_PLAIN, **_LIVE, **_NDPARAMS}
"""Every field of a node."""
