"""Variables that hooks get about instances and nodes, without their ``GANETI_`` prefix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ganeti.model.config import Config
from ganeti.model.enums import AdminState, DiskTemplate, NicMode
from ganeti.model.filled import FilledNic, fill_beparams, fill_hvparams, fill_nic
from ganeti.model.objects import Disk, Instance


def text(value: Any) -> str:
    """The text of a variable's value: None is empty, a list is separated by spaces."""
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        return " ".join(map(text, value))
    return str(value)


def texts(values: Mapping[str, Any]) -> dict[str, str]:
    """The texts of all variables."""
    return {name: text(value) for name, value in values.items()}


def instance_environment(config: Config, instance: Instance, disks: Sequence[Disk], **more: Any) -> dict[str, str]:
    """Everything about an instance (which need not be in the configuration); `more` are the operation's own variables."""
    backend = fill_beparams(config.cluster, instance)
    values: dict[str, Any] = {
        "OP_TARGET": instance.name,
        "INSTANCE_NAME": instance.name,
        "INSTANCE_PRIMARY": config.node(instance.primary_node).name,
        "INSTANCE_SECONDARIES": [config.node(uuid).name for uuid in instance.secondary_nodes],
        "INSTANCE_OS_TYPE": instance.os,
        "INSTANCE_STATUS": "up" if instance.admin_state is AdminState.UP else "down",
        "INSTANCE_MINMEM": backend["minmem"],
        "INSTANCE_MAXMEM": backend["maxmem"],
        "INSTANCE_MEMORY": backend["maxmem"],
        "INSTANCE_VCPUS": backend["vcpus"],
        "INSTANCE_DISK_TEMPLATE": instance.disk_template,
        "INSTANCE_HYPERVISOR": instance.hypervisor,
        "INSTANCE_TAGS": instance.tags,
        "INSTANCE_NIC_COUNT": len(instance.nics),
        "INSTANCE_DISK_COUNT": len(disks),
    }
    for index, nic in enumerate(instance.nics):
        values.update({f"INSTANCE_NIC{index}_{name}": value for name, value in _nic(fill_nic(config, nic))})
    for index, disk in enumerate(disks):
        values.update({f"INSTANCE_DISK{index}_{name}": value for name, value in _disk(disk)})
    values.update({f"INSTANCE_BE_{name}": value for name, value in backend.items()})
    values.update({f"INSTANCE_HV_{name}": value for name, value in fill_hvparams(config.cluster, instance).items()})
    return texts({**values, **more})


def _nic(nic: FilledNic) -> Iterator[tuple[str, Any]]:
    yield "NAME", nic.name
    yield "UUID", nic.uuid
    yield "IP", nic.ip
    yield "MAC", nic.mac
    yield "MODE", nic.mode
    yield "LINK", nic.link
    yield "VLAN", nic.vlan
    if nic.mode is NicMode.BRIDGED:
        yield "BRIDGE", nic.link
    if nic.network_name is not None:
        yield "NETWORK_NAME", nic.network_name
        yield "NETWORK_UUID", nic.network_uuid
        yield "NETWORK_TAGS", nic.network_tags
        yield "NETWORK_SUBNET", nic.network_subnet
        yield "NETWORK_GATEWAY", nic.network_gateway
        yield "NETWORK_SUBNET6", nic.network_subnet6
        yield "NETWORK_GATEWAY6", nic.network_gateway6
        yield "NETWORK_MAC_PREFIX", nic.network_mac_prefix


def _disk(disk: Disk) -> Iterator[tuple[str, Any]]:
    yield "NAME", disk.name
    yield "UUID", disk.uuid
    yield "SIZE", disk.size
    yield "MODE", disk.mode
    yield "DEV_TYPE", disk.dev_type
    if disk.dev_type.is_file_based and len(disk.logical_id) == 2:
        yield "DRIVER", disk.logical_id[0]
        yield "ID", disk.logical_id[1]
    elif disk.dev_type is DiskTemplate.EXT and len(disk.logical_id) == 2:
        yield "PROVIDER", disk.logical_id[0]
        yield "ID", disk.logical_id[1]
