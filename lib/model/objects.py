"""The objects of a cluster, as they stand in the store: frozen, plain data, one row each.

Field names are those of the exported configuration. Parameter dictionaries hold only overrides, except on the cluster, whose
values are the complete defaults. Times are seconds since 1970; sizes are MiB.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from ganeti.base import codec
from ganeti.base.errors import DecodeError
from ganeti.model.enums import (
    AdminState,
    AdminStateSource,
    AllocPolicy,
    DiskMode,
    DiskTemplate,
    HypervisorKind,
    Kind,
)
from ganeti.model.ids import DiskUuid, GroupUuid, InstanceUuid, NetworkUuid, NodeUuid

Params = dict[str, Any]
"""Parameter values by name."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What every object of the store has. `serial_no` is 0 until the first commit and grows by one with each."""

    KIND: ClassVar[Kind]
    uuid: str
    serial_no: int = 0
    ctime: float = 0.0
    mtime: float = 0.0
    tags: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The name by which people know the object."""
        return str(getattr(self, "name", None) or self.uuid)


@dataclass(frozen=True, kw_only=True)
class Cluster(Stored):
    """Settings of the whole cluster; exactly one row."""

    KIND = Kind.CLUSTER
    cluster_name: str
    master_node: NodeUuid
    master_ip: str
    master_netdev: str
    master_netmask: int
    use_external_mip_script: bool = False
    primary_ip_family: int = 2
    rsahostkeypub: str = ""
    highest_used_port: int = 10999
    tcpudp_port_pool: tuple[int, ...] = ()
    mac_prefix: str = "aa:00:00"
    volume_group_name: str | None = None
    reserved_lvs: tuple[str, ...] = ()
    drbd_usermode_helper: str | None = None
    file_storage_dir: str = ""
    shared_file_storage_dir: str = ""
    gluster_storage_dir: str = ""
    enabled_hypervisors: tuple[HypervisorKind, ...]
    enabled_disk_templates: tuple[DiskTemplate, ...]
    hvparams: dict[str, Params] = field(default_factory=dict)
    os_hvp: dict[str, dict[str, Params]] = field(default_factory=dict)
    beparams: dict[str, Params] = field(default_factory=dict)
    osparams: dict[str, Params] = field(default_factory=dict)
    osparams_private_cluster: dict[str, Params] = field(default_factory=dict)
    nicparams: dict[str, Params] = field(default_factory=dict)
    ndparams: Params = field(default_factory=dict)
    diskparams: dict[str, Params] = field(default_factory=dict)
    ipolicy: Params = field(default_factory=dict)
    hv_state_static: Params = field(default_factory=dict)
    disk_state_static: Params = field(default_factory=dict)
    candidate_pool_size: int = 10
    candidate_certs: dict[str, str] = field(default_factory=dict)
    modify_etc_hosts: bool = True
    modify_ssh_setup: bool = True
    maintain_node_health: bool = False
    uid_pool: tuple[tuple[int, int], ...] = ()
    default_iallocator: str | None = None
    default_iallocator_params: Params = field(default_factory=dict)
    hidden_os: tuple[str, ...] = ()
    blacklisted_os: tuple[str, ...] = ()
    prealloc_wipe_disks: bool = False
    max_running_jobs: int = 20
    max_tracked_jobs: int = 25
    install_image: str = ""
    instance_communication_network: str = ""
    zeroing_image: str = ""
    compression_tools: tuple[str, ...] = ("gzip", "gzip-fast", "gzip-slow")
    enabled_user_shutdown: bool = False
    data_collectors: dict[str, Params] = field(default_factory=dict)
    ssh_key_type: str = "rsa"
    ssh_key_bits: int = 2048
    queue_drained: bool = False
    watcher_pause: float | None = None

    @property
    def label(self) -> str:
        return self.cluster_name


@dataclass(frozen=True, kw_only=True)
class Group(Stored):
    """A node group: a failure and network domain."""

    KIND = Kind.GROUP
    name: str
    alloc_policy: AllocPolicy = AllocPolicy.PREFERRED
    ndparams: Params = field(default_factory=dict)
    ipolicy: Params = field(default_factory=dict)
    diskparams: dict[str, Params] = field(default_factory=dict)
    networks: dict[str, Params] = field(default_factory=dict)
    hv_state_static: Params = field(default_factory=dict)
    disk_state_static: Params = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Node(Stored):
    """A physical host. At most one of master_candidate, offline and drained is set."""

    KIND = Kind.NODE
    uuid: NodeUuid
    name: str
    primary_ip: str
    secondary_ip: str
    group: GroupUuid
    master_candidate: bool = False
    offline: bool = False
    drained: bool = False
    master_capable: bool = True
    vm_capable: bool = True
    powered: bool = True
    ndparams: Params = field(default_factory=dict)
    hv_state_static: Params = field(default_factory=dict)
    disk_state_static: Params = field(default_factory=dict)
    certificate_digest: str = ""
    """SHA-256 of the certificate with which this node proves itself in node calls."""
    ssh_host_key: str = ""
    ssh_root_key: str = ""


@dataclass(frozen=True, kw_only=True)
class Nic:
    """A network interface of an instance. `nicparams` holds overrides of mode, link and vlan."""

    uuid: str
    mac: str
    name: str | None = None
    ip: str | None = None
    network: NetworkUuid | None = None
    nicparams: Params = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Instance(Stored):
    """A virtual machine."""

    KIND = Kind.INSTANCE
    uuid: InstanceUuid
    name: str
    primary_node: NodeUuid
    secondary_nodes: tuple[NodeUuid, ...] = ()
    os: str
    hypervisor: HypervisorKind
    hvparams: Params = field(default_factory=dict)
    beparams: Params = field(default_factory=dict)
    osparams: Params = field(default_factory=dict)
    osparams_private: Params = field(default_factory=dict)
    admin_state: AdminState = AdminState.DOWN
    admin_state_source: AdminStateSource = AdminStateSource.ADMIN
    disk_template: DiskTemplate = DiskTemplate.DISKLESS
    disks: tuple[DiskUuid, ...] = ()
    disks_active: bool = False
    nics: tuple[Nic, ...] = ()
    network_port: int | None = None
    forthcoming: bool = False
    migration_peer: NodeUuid | None = None
    """The other node of a migration that has not been ended: something of the guest may be there."""


@dataclass(frozen=True, kw_only=True)
class Disk(Stored):
    """A disk of an instance. `logical_id` identifies its data in the terms of its type:

    plain [vg, lv]; drbd [node, node, port, minor, minor, secret]; file, sharedfile, gluster [driver, path];
    blockdev ["manual", path]; rbd ["rbd", image]; ext [provider, name].
    """

    KIND = Kind.DISK
    uuid: DiskUuid
    dev_type: DiskTemplate
    logical_id: tuple[str | int, ...]
    size: int
    """MiB."""
    children: tuple[Disk, ...] = ()
    nodes: tuple[NodeUuid, ...] = ()
    iv_name: str = ""
    mode: DiskMode = DiskMode.READ_WRITE
    name: str | None = None
    spindles: int | None = None
    params: Params = field(default_factory=dict)
    forthcoming: bool = False

    @property
    def label(self) -> str:
        return self.iv_name or self.uuid


@dataclass(frozen=True, kw_only=True)
class Network(Stored):
    """An address pool. Reservations are strings of 0 and 1, one per address."""

    KIND = Kind.NETWORK
    uuid: NetworkUuid
    name: str
    network: str
    gateway: str | None = None
    network6: str | None = None
    gateway6: str | None = None
    mac_prefix: str | None = None
    reservations: str = ""
    ext_reservations: str = ""


@dataclass(frozen=True, kw_only=True)
class FilterRule(Stored):
    """A rule of the job queue."""

    KIND = Kind.FILTER
    watermark: int
    priority: int
    predicates: tuple[Any, ...]
    action: Any
    reason_trail: tuple[Any, ...] = ()


AnyObject = Cluster | Group | Node | Instance | Disk | Network | FilterRule

CLASSES: dict[Kind, type[Any]] = {
    cls.KIND: cls for cls in (Cluster, Group, Node, Instance, Disk, Network, FilterRule)
}


@dataclass(frozen=True)
class Put:
    """Store an object. Its `serial_no` must be the one stored now (0: the object must not exist yet)."""

    obj: AnyObject
    kind: Literal["put"] = "put"

    def __json_encode__(self) -> dict[str, Any]:
        return {"kind": self.kind, "object_kind": str(self.obj.KIND), "obj": codec.encode(self.obj)}

    @classmethod
    def __json_decode__(cls, value: Any, path: str) -> Put:
        if not isinstance(value, dict) or value.keys() != {"kind", "object_kind", "obj"}:
            raise DecodeError(path, "expected an object with kind, object_kind and obj")
        object_kind: Kind = codec.decode(Kind, value["object_kind"], f"{path}.object_kind")
        return cls(codec.decode(CLASSES[object_kind], value["obj"], f"{path}.obj"))


@dataclass(frozen=True)
class Delete:
    """Remove an object that is stored with exactly this serial number."""

    object_kind: Kind
    uuid: str
    serial_no: int
    kind: Literal["delete"] = "delete"

    @classmethod
    def of(cls, obj: AnyObject) -> Delete:
        return cls(obj.KIND, obj.uuid, obj.serial_no)


Change = Put | Delete
