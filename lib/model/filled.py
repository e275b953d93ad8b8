"""Objects as a node needs them: names instead of uuids, every parameter filled in. Built on the master, sent in node calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ganeti.model import params
from ganeti.model.config import Config
from ganeti.model.enums import AdminState, DiskMode, DiskTemplate, HypervisorKind, NicMode
from ganeti.model.objects import Cluster, Disk, Instance, Network, Nic, Node, Params


@dataclass(frozen=True, kw_only=True)
class FilledDisk:
    """A disk with its parameters filled in. `children` are the devices it is built of."""

    uuid: str
    dev_type: DiskTemplate
    logical_id: tuple[str | int, ...]
    size: int
    iv_name: str = ""
    mode: DiskMode = DiskMode.READ_WRITE
    name: str | None = None
    params: Params = field(default_factory=dict)
    children: tuple[FilledDisk, ...] = ()


@dataclass(frozen=True, kw_only=True)
class FilledNic:
    """A network interface with its mode, link and network facts."""

    uuid: str
    mac: str
    mode: NicMode
    link: str
    vlan: str = ""
    ip: str | None = None
    name: str | None = None
    network_name: str | None = None
    network_uuid: str | None = None
    network_subnet: str | None = None
    network_gateway: str | None = None
    network_subnet6: str | None = None
    network_gateway6: str | None = None
    network_mac_prefix: str | None = None
    network_tags: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class FilledInstance:
    """Everything a node has to know to run an instance."""

    uuid: str
    name: str
    hypervisor: HypervisorKind
    os: str
    hvparams: Params
    beparams: Params
    osparams: Params = field(default_factory=dict)
    osparams_private: Params = field(default_factory=dict)
    admin_state: AdminState = AdminState.DOWN
    disk_template: DiskTemplate = DiskTemplate.DISKLESS
    primary_node: str = ""
    secondary_nodes: tuple[str, ...] = ()
    disks: tuple[FilledDisk, ...] = ()
    nics: tuple[FilledNic, ...] = ()
    network_port: int | None = None
    tags: tuple[str, ...] = ()
    ctime: float = 0.0
    mtime: float = 0.0


def os_base(name: str) -> str:
    """An OS name without its variant: ``debian+minimal`` -> ``debian``."""
    return name.partition("+")[0]


def fill_hvparams(cluster: Cluster, instance: Instance) -> Params:
    """Cluster's defaults, then the OS's, then the instance's own."""
    hypervisor = str(instance.hypervisor)
    per_os = cluster.os_hvp
    return params.fill(
        cluster.hvparams.get(hypervisor, {}),
        per_os.get(os_base(instance.os), {}).get(hypervisor, {}),
        per_os.get(instance.os, {}).get(hypervisor, {}),
        instance.hvparams,
    )


def fill_beparams(cluster: Cluster, instance: Instance) -> Params:
    """Cluster's defaults, then the instance's own."""
    return params.fill(cluster.beparams.get("default", {}), instance.beparams)


def fill_osparams(cluster: Cluster, instance: Instance) -> Params:
    """Cluster's values for the OS, for the OS with its variant, then the instance's own. Public ones only."""
    base = os_base(instance.os)
    own = cluster.osparams.get(instance.os, {}) if instance.os != base else {}
    return params.fill(cluster.osparams.get(base, {}), own, instance.osparams)


def fill_nicparams(cluster: Cluster, nic: Nic) -> Params:
    """Cluster's defaults, then the interface's own."""
    return params.fill(cluster.nicparams.get("default", {}), nic.nicparams)


def fill_ndparams(config: Config, node: Node) -> Params:
    """Cluster's defaults, then the group's, then the node's own."""
    return params.fill(config.cluster.ndparams, config.group(node.group).ndparams, node.ndparams)


def fill_diskparams(config: Config, node: Node, template: DiskTemplate) -> Params:
    """Cluster's defaults of the template, then those of the node's group."""
    group = config.group(node.group)
    return params.fill(config.cluster.diskparams.get(template, {}), group.diskparams.get(template, {}))


def fill_nic(config: Config, nic: Nic) -> FilledNic:
    """An interface with its parameters and the facts of its network."""
    filled = fill_nicparams(config.cluster, nic)
    network: Network | None = config.network(nic.network) if nic.network else None
    facts: Mapping[str, Any] = {}
    if network is not None:
        facts = {
            "network_name": network.name,
            "network_uuid": network.uuid,
            "network_subnet": network.network,
            "network_gateway": network.gateway,
            "network_subnet6": network.network6,
            "network_gateway6": network.gateway6,
            "network_mac_prefix": network.mac_prefix,
            "network_tags": network.tags,
        }
    return FilledNic(
        uuid=nic.uuid,
        mac=nic.mac,
        mode=NicMode(filled["mode"]),
        link=filled["link"],
        vlan=filled.get("vlan", ""),
        ip=nic.ip,
        name=nic.name,
        **facts,
    )


def fill_disk(config: Config, node: Node, disk: Disk) -> FilledDisk:
    """A disk, and what it is built of, as `node` needs it."""
    return FilledDisk(
        uuid=disk.uuid,
        dev_type=disk.dev_type,
        logical_id=disk.logical_id,
        size=disk.size,
        iv_name=disk.iv_name,
        mode=disk.mode,
        name=disk.name,
        params=params.fill(fill_diskparams(config, node, disk.dev_type), disk.params),
        children=tuple(fill_disk(config, node, child) for child in disk.children),
    )


def fill_instance(config: Config, instance: Instance) -> FilledInstance:
    """The instance as its primary node needs it."""
    cluster, node = config.cluster, config.node(instance.primary_node)
    return FilledInstance(
        uuid=instance.uuid,
        name=instance.name,
        hypervisor=instance.hypervisor,
        os=instance.os,
        hvparams=fill_hvparams(cluster, instance),
        beparams=fill_beparams(cluster, instance),
        osparams=fill_osparams(cluster, instance),
        osparams_private=instance.osparams_private,
        admin_state=instance.admin_state,
        disk_template=instance.disk_template,
        primary_node=node.name,
        secondary_nodes=tuple(config.node(uuid).name for uuid in instance.secondary_nodes),
        disks=tuple(fill_disk(config, node, disk) for disk in config.disks_of(instance)),
        nics=tuple(fill_nic(config, nic) for nic in instance.nics),
        network_port=instance.network_port,
        tags=instance.tags,
        ctime=instance.ctime,
        mtime=instance.mtime,
    )
