"""The environment of OS scripts, as a value. Names are those of the OS interface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ganeti.model.enums import DiskTemplate, HypervisorKind, NicMode
from ganeti.model.filled import FilledDisk, FilledInstance, FilledNic
from ganeti.node.osdef.definition import Definition

SEARCH_PATH = "/sbin:/bin:/usr/sbin:/usr/bin"

_NIC_NETWORK = {
    "NETWORK_NAME": "network_name",
    "NETWORK_UUID": "network_uuid",
    "NETWORK_SUBNET": "network_subnet",
    "NETWORK_GATEWAY": "network_gateway",
    "NETWORK_SUBNET6": "network_subnet6",
    "NETWORK_GATEWAY6": "network_gateway6",
    "NETWORK_MAC_PREFIX": "network_mac_prefix",
}


def build_core(definition: Definition, variant: str, osparams: Mapping[str, str], debug: int = 0) -> dict[str, str]:
    """What every script of a definition gets. `osparams` holds private and secret parameters too."""
    environment = {
        "PATH": SEARCH_PATH,
        "OS_API_VERSION": str(definition.api),
        "OS_NAME": definition.name,
        "DEBUG_LEVEL": str(debug),
    }
    if definition.api >= 15 and variant:
        environment["OS_VARIANT"] = variant
    for name, value in osparams.items():
        environment["OSP_" + name.upper().replace("-", "_")] = str(value)
    return environment


def build_instance(instance: FilledInstance, devices: Sequence[str]) -> dict[str, str]:
    """What is told of an instance. `devices` are the paths of its disks on this node, in order."""
    environment = {
        "INSTANCE_NAME": instance.name,
        "INSTANCE_OS": instance.os,
        "INSTANCE_UUID": instance.uuid,
        "INSTANCE_CTIME": f"{instance.ctime:.2f}",
        "INSTANCE_MTIME": f"{instance.mtime:.2f}",
        "INSTANCE_PRIMARY_NODE": instance.primary_node,
        "INSTANCE_SECONDARY_NODES": " ".join(instance.secondary_nodes),
        "HYPERVISOR": str(instance.hypervisor),
        "DISK_COUNT": str(len(instance.disks)),
        "NIC_COUNT": str(len(instance.nics)),
    }
    for index, (disk, device) in enumerate(zip(instance.disks, devices, strict=True)):
        environment |= _with_prefix(f"DISK_{index}_", _disk(instance, disk, device))
    for index, nic in enumerate(instance.nics):
        environment |= _with_prefix(f"NIC_{index}_", _nic(instance, nic))
    environment |= _with_prefix("INSTANCE_BE_", instance.beparams)
    environment |= _with_prefix("INSTANCE_HV_", instance.hvparams)
    return environment


def _disk(instance: FilledInstance, disk: FilledDisk, device: str) -> dict[str, Any]:
    facts: dict[str, Any] = {"PATH": device, "ACCESS": disk.mode, "UUID": disk.uuid, "SIZE": disk.size}
    if disk.name:
        facts["NAME"] = disk.name
    if "disk_type" in instance.hvparams:
        facts["FRONTEND_TYPE"] = instance.hvparams["disk_type"]
    facts["BACKEND_TYPE"] = f"file:{disk.logical_id[0]}" if disk.dev_type.is_file_based else "block"
    if disk.dev_type is DiskTemplate.GLUSTER and instance.hypervisor is HypervisorKind.KVM:
        facts["URI"] = device
    return facts


def _nic(instance: FilledInstance, nic: FilledNic) -> dict[str, Any]:
    facts: dict[str, Any] = {"MAC": nic.mac, "UUID": nic.uuid, "MODE": nic.mode, "LINK": nic.link}
    if nic.mode is NicMode.BRIDGED:
        facts["BRIDGE"] = nic.link
    optional = {"IP": nic.ip, "NAME": nic.name, "VLAN": nic.vlan, "NETWORK_TAGS": " ".join(nic.network_tags)}
    optional |= {name: getattr(nic, attribute) for name, attribute in _NIC_NETWORK.items()}
    facts |= {name: value for name, value in optional.items() if value}
    if "nic_type" in instance.hvparams:
        facts["FRONTEND_TYPE"] = instance.hvparams["nic_type"]
    return facts


def _with_prefix(prefix: str, values: Mapping[str, Any]) -> dict[str, str]:
    return {prefix + name: "" if value is None else str(value) for name, value in values.items()}
