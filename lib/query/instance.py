"""Fields of instances."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ganeti.base.errors import NodeError, NodeOffline
from ganeti.model import parameters
from ganeti.model.enums import AdminState, DiskTemplate, HypervisorKind, NicMode
from ganeti.model.filled import fill_beparams, fill_hvparams, fill_nicparams, fill_osparams
from ganeti.model.objects import Disk, Instance, Nic, Params
from ganeti.model.params import BOOL, FLOAT, INT, SIZE, Param
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
    with_aliases,
)
from ganeti.query.state import InstanceStatus, instance_status, primary_failure, state_on_primary

MAX_DISKS = 16
MAX_NICS = 8
FILE_OVERHEAD = 0
LVM_OVERHEAD = 128
"""MiB of metadata that each drbd disk has besides its data."""

_KINDS = {BOOL: FieldKind.BOOL, INT: FieldKind.NUMBER, FLOAT: FieldKind.FLOAT, SIZE: FieldKind.UNIT}
_HV_TITLES = {
    "acpi": "ACPI",
    "boot_order": "Boot_order",
    "cdrom_image_path": "CDROM_image_path",
    "cpu_type": "cpu_type",
    "disk_type": "Disk_type",
    "initrd_path": "Initrd_path",
    "kernel_path": "Kernel_path",
    "nic_type": "NIC_type",
    "pae": "PAE",
    "pci_pass": "pci_pass",
    "vnc_bind_address": "VNC_bind_address",
}
_BE_TITLES = {
    "maxmem": "ConfigMaxMem",
    "minmem": "ConfigMinMem",
    "vcpus": "ConfigVCPUs",
    "auto_balance": "Auto_balance",
}


def param_kind(param: Param) -> FieldKind:
    """The field kind that shows a parameter."""
    return _KINDS.get(param.kind, FieldKind.OTHER)


def _or_unavailable(value: Any) -> Any:
    return UNAVAILABLE if value is None else value


# --- plain facts of the configuration


def _node_name(data: Data, uuid: str) -> str:
    return data.config.node(uuid).name


def _group_of(data: Data, node: str) -> Any:
    return data.config.group(data.config.node(node).group)


def _disk_usage(data: Data, instance: Instance) -> int:
    disks = data.config.disks_of(instance)
    extra = LVM_OVERHEAD if instance.disk_template is DiskTemplate.DRBD else FILE_OVERHEAD
    return sum(disk.size + extra for disk in disks)


_PLAIN = fields(
    Field("name", "Instance", FieldKind.TEXT, lambda _, i: i.name, "Name of the instance", is_hostname=True),
    Field(
        "admin_state",
        "InstanceState",
        FieldKind.TEXT,
        lambda _, i: str(i.admin_state),
        "What the operator wants: up, down, offline",
    ),
    Field(
        "admin_state_source",
        "InstanceStateSource",
        FieldKind.TEXT,
        lambda _, i: str(i.admin_state_source),
        "Who decided that: admin or user",
    ),
    Field(
        "admin_up",
        "Autostart",
        FieldKind.BOOL,
        lambda _, i: i.admin_state is AdminState.UP,
        "Whether it should run",
    ),
    Field(
        "disk_template",
        "Disk_template",
        FieldKind.TEXT,
        lambda _, i: str(i.disk_template),
        "How its disks are stored",
    ),
    Field(
        "disks_active",
        "DisksActive",
        FieldKind.BOOL,
        lambda _, i: i.disks_active,
        "Whether its disks are assembled",
    ),
    Field(
        "forthcoming",
        "Forthcoming",
        FieldKind.BOOL,
        lambda _, i: i.forthcoming,
        "Whether it is only reserved yet",
    ),
    Field("hypervisor", "Hypervisor", FieldKind.TEXT, lambda _, i: str(i.hypervisor), "Hypervisor"),
    Field(
        "network_port",
        "Network_port",
        FieldKind.OTHER,
        lambda _, i: _or_unavailable(i.network_port),
        "Port of its VNC or SPICE console",
    ),
    Field("os", "OS", FieldKind.TEXT, lambda _, i: i.os, "Operating system"),
    Field(
        "pnode",
        "Primary_node",
        FieldKind.TEXT,
        lambda d, i: _node_name(d, i.primary_node),
        "Primary node",
        is_hostname=True,
    ),
    Field(
        "pnode.group",
        "PrimaryNodeGroup",
        FieldKind.TEXT,
        lambda d, i: _group_of(d, i.primary_node).name,
        "Node group of the primary node",
    ),
    Field(
        "pnode.group.uuid",
        "PrimaryNodeGroupUUID",
        FieldKind.TEXT,
        lambda d, i: _group_of(d, i.primary_node).uuid,
        "UUID of that group",
    ),
    Field(
        "snodes",
        "Secondary_Nodes",
        FieldKind.OTHER,
        lambda d, i: [_node_name(d, n) for n in i.secondary_nodes],
        "Secondary nodes",
    ),
    Field(
        "snodes.group",
        "SecondaryNodesGroups",
        FieldKind.OTHER,
        lambda d, i: [_group_of(d, n).name for n in i.secondary_nodes],
        "Node groups of the secondary nodes",
    ),
    Field(
        "snodes.group.uuid",
        "SecondaryNodesGroupsUUID",
        FieldKind.OTHER,
        lambda d, i: [_group_of(d, n).uuid for n in i.secondary_nodes],
        "UUIDs of those groups",
    ),
    Field(
        "disk_usage",
        "DiskUsage",
        FieldKind.UNIT,
        _disk_usage,
        "Space that the disks take on each of its nodes",
    ),
    Field(
        "beparams",
        "BackendParameters",
        FieldKind.OTHER,
        lambda d, i: fill_beparams(d.config.cluster, i),
        "Back-end parameters, filled",
    ),
    Field(
        "hvparams",
        "HypervisorParameters",
        FieldKind.OTHER,
        lambda d, i: fill_hvparams(d.config.cluster, i),
        "Hypervisor parameters, filled",
    ),
    Field(
        "osparams",
        "OpSysParameters",
        FieldKind.OTHER,
        lambda d, i: fill_osparams(d.config.cluster, i),
        "OS parameters, filled",
    ),
    Field(
        "custom_beparams",
        "CustomBackendParameters",
        FieldKind.OTHER,
        lambda _, i: i.beparams,
        "Back-end parameters of its own",
    ),
    Field(
        "custom_hvparams",
        "CustomHypervisorParameters",
        FieldKind.OTHER,
        lambda _, i: i.hvparams,
        "Hypervisor parameters of its own",
    ),
    Field(
        "custom_osparams",
        "CustomOpSysParameters",
        FieldKind.OTHER,
        lambda _, i: i.osparams,
        "OS parameters of its own",
    ),
    Field(
        "custom_nicparams",
        "CustomNicParameters",
        FieldKind.OTHER,
        lambda _, i: [n.nicparams for n in i.nics],
        "NIC parameters of its own",
    ),
)


# --- live facts


def _live(value: Callable[[Data, Instance], Any]) -> Callable[[Data, Instance], Any]:
    """`value`, where the primary node answered."""

    def get(data: Data, instance: Instance) -> Any:
        failure = primary_failure(data, instance)
        if isinstance(failure, NodeOffline):
            return OFFLINE
        return NO_DATA if failure is not None else value(data, instance)

    return get


def _runs(data: Data, instance: Instance) -> bool:
    return instance_status(data, instance) in (InstanceStatus.RUNNING, InstanceStatus.ERROR_UP)


def _memory(data: Data, instance: Instance) -> Any:
    state = state_on_primary(data, instance)
    return state.memory if state is not None and _runs(data, instance) else UNAVAILABLE


def _vcpus(data: Data, instance: Instance) -> Any:
    state = state_on_primary(data, instance)
    return state.vcpus if state is not None and _runs(data, instance) else UNAVAILABLE


def _console(data: Data, instance: Instance) -> Any:
    if primary_failure(data, instance) is not None:
        return _live(lambda _data, _instance: None)(data, instance)
    if not _runs(data, instance):
        return UNAVAILABLE
    found = data.live.consoles.get(instance.name)
    if found is None or isinstance(found, NodeError):
        return NO_DATA
    shown = {"instance": found.instance, "kind": found.kind, "message": found.message, "host": found.host}
    more = {"port": found.port, "user": found.user, "command": found.command, "display": found.display}
    return {name: value for name, value in {**shown, **more}.items() if value}


_LIVE = fields(
    Field(
        "status",
        "Status",
        FieldKind.TEXT,
        lambda d, i: str(instance_status(d, i)),
        "Status",
        Need.INSTANCE_STATE,
    ),
    Field("oper_state", "Running", FieldKind.BOOL, _live(_runs), "Whether it runs", Need.INSTANCE_STATE),
    Field("oper_ram", "Memory", FieldKind.UNIT, _live(_memory), "Memory that it uses", Need.INSTANCE_STATE),
    Field(
        "oper_vcpus",
        "VCPUs",
        FieldKind.NUMBER,
        _live(_vcpus),
        "Virtual CPUs that it uses",
        Need.INSTANCE_STATE,
    ),
    Field(
        "console",
        "Console",
        FieldKind.OTHER,
        _console,
        "How to reach its console",
        Need.INSTANCE_STATE | Need.CONSOLE,
    ),
)


# --- one field for each parameter


def _of_hypervisors(name: str) -> Callable[[Data, Instance], Any]:
    def get(data: Data, instance: Instance) -> Any:
        if name not in parameters.HYPERVISOR[instance.hypervisor]:
            return UNAVAILABLE
        return _or_unavailable(fill_hvparams(data.config.cluster, instance).get(name))

    return get


def _hypervisor_fields() -> dict[str, Field]:
    params: dict[str, Param] = {}
    for kind in HypervisorKind:
        params.update(parameters.HYPERVISOR[kind])
    found = {}
    for name, param in sorted(params.items()):
        if name not in parameters.HYPERVISOR_GLOBALS:
            title = _HV_TITLES.get(name, f"hv/{name}")
            found[f"hv/{name}"] = Field(
                f"hv/{name}", title, param_kind(param), _of_hypervisors(name), f"Hypervisor parameter {name}"
            )
    return found


def _backend(name: str) -> Callable[[Data, Instance], Any]:
    return lambda data, instance: fill_beparams(data.config.cluster, instance)[name]


def _backend_fields() -> dict[str, Field]:
    return {
        f"be/{name}": Field(
            f"be/{name}",
            _BE_TITLES.get(name, f"be/{name}"),
            param_kind(param),
            _backend(name),
            f"Back-end parameter {name}",
        )
        for name, param in parameters.BACKEND.items()
    }


# --- disks and network interfaces: one field for all of them, and one for each

DiskValue = Callable[[Disk], Any]
NicValue = Callable[[Data, Nic], Any]


def _nth_disk(index: int, value: DiskValue) -> Callable[[Data, Instance], Any]:
    def get(data: Data, instance: Instance) -> Any:
        if index >= len(instance.disks):
            return UNAVAILABLE
        return _or_unavailable(value(data.config.disk(instance.disks[index])))

    return get


def _all_disks(value: DiskValue) -> Callable[[Data, Instance], Any]:
    return lambda data, instance: [value(disk) for disk in data.config.disks_of(instance)]


_DISK: tuple[tuple[str, str, str, str, FieldKind, DiskValue], ...] = (
    ("name", "names", "DiskName", "Disk_names", FieldKind.TEXT, lambda disk: disk.name),
    ("size", "sizes", "Disk", "Disk_sizes", FieldKind.UNIT, lambda disk: disk.size),
    ("spindles", "spindles", "DiskSpindles", "Disk_spindles", FieldKind.NUMBER, lambda disk: disk.spindles),
    ("uuid", "uuids", "DiskUUID", "Disk_UUIDs", FieldKind.TEXT, lambda disk: disk.uuid),
)


def _disk_fields() -> dict[str, Field]:
    found = fields(
        Field("disk.count", "Disks", FieldKind.NUMBER, lambda _, i: len(i.disks), "Number of disks")
    )
    for name, plural, title, plural_title, kind, value in _DISK:
        every = f"disk.{plural}"
        found[every] = Field(every, plural_title, FieldKind.OTHER, _all_disks(value), f"{name} of every disk")
        for index in range(MAX_DISKS):
            one = f"disk.{name}/{index}"
            found[one] = Field(
                one, f"{title}/{index}", kind, _nth_disk(index, value), f"{name} of disk {index}"
            )
    return found


def _nth_nic(index: int, value: NicValue) -> Callable[[Data, Instance], Any]:
    def get(data: Data, instance: Instance) -> Any:
        return (
            UNAVAILABLE if index >= len(instance.nics) else _or_unavailable(value(data, instance.nics[index]))
        )

    return get


def _all_nics(value: NicValue) -> Callable[[Data, Instance], Any]:
    return lambda data, instance: [value(data, nic) for nic in instance.nics]


def _nicparams(data: Data, nic: Nic) -> Params:
    return fill_nicparams(data.config.cluster, nic)


def _bridge(data: Data, nic: Nic) -> str | None:
    params = _nicparams(data, nic)
    return str(params["link"]) if params["mode"] == NicMode.BRIDGED else None


_NIC: tuple[tuple[str, str, str, str, NicValue], ...] = (
    ("bridge", "bridges", "NicBridge", "NIC_bridges", _bridge),
    ("ip", "ips", "NicIP", "NIC_IPs", lambda _, nic: nic.ip),
    ("link", "links", "NicLink", "NIC_links", lambda d, nic: _nicparams(d, nic)["link"]),
    ("mac", "macs", "NicMAC", "NIC_MACs", lambda _, nic: nic.mac),
    ("mode", "modes", "NicMode", "NIC_modes", lambda d, nic: _nicparams(d, nic)["mode"]),
    ("name", "names", "NicName", "NIC_Names", lambda _, nic: nic.name),
    ("network", "networks", "NicNetwork", "NIC_networks", lambda _, nic: nic.network),
    (
        "network.name",
        "networks.names",
        "NicNetworkName",
        "NIC_networks_names",
        lambda d, nic: d.config.network(nic.network).name if nic.network else None,
    ),
    ("uuid", "uuids", "NicUUID", "NIC_UUIDs", lambda _, nic: nic.uuid),
    ("vlan", "vlans", "NicVLAN", "NIC_VLANs", lambda d, nic: _nicparams(d, nic)["vlan"] or None),
)


def _nic_fields() -> dict[str, Field]:
    found = fields(
        Field("nic.count", "NICs", FieldKind.NUMBER, lambda _, i: len(i.nics), "Number of network interfaces")
    )
    for name, plural, title, plural_title, value in _NIC:
        every = f"nic.{plural}"
        found[every] = Field(
            every, plural_title, FieldKind.OTHER, _all_nics(value), f"{name} of every network interface"
        )
        for index in range(MAX_NICS):
            one = f"nic.{name}/{index}"
            found[one] = Field(
                one,
                f"{title}/{index}",
                FieldKind.TEXT,
                _nth_nic(index, value),
                f"{name} of network interface {index}",
            )
    return found


ALIASES: Mapping[str, str] = {
    "vcpus": "be/vcpus",
    "be/memory": "be/maxmem",
    "sda_size": "disk.size/0",
    "sdb_size": "disk.size/1",
    "ip": "nic.ip/0",
    "mac": "nic.mac/0",
    "bridge": "nic.bridge/0",
    "nic_mode": "nic.mode/0",
    "nic_link": "nic.link/0",
    "nic_network": "nic.network/0",
}

FIELDS: FieldTable = with_aliases(
    {
        **common_fields("instance"),
        **_PLAIN,
        **_LIVE,
        **_hypervisor_fields(),
        **_backend_fields(),
        **_disk_fields(),
        **_nic_fields(),
    },
    ALIASES,
)
"""Every field of an instance."""
