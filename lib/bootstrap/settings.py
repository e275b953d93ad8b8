"""What a new cluster is made of: the settings of `gnt-cluster init`, and the first objects that follow from them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ganeti.base.errors import Code, PrereqError
from ganeti.bootstrap import policy
from ganeti.model import parameters, params
from ganeti.model.enums import DiskTemplate, HypervisorKind, NicMode
from ganeti.model.ids import GroupUuid, NodeUuid, new_uuid
from ganeti.model.objects import Cluster, Group, Node, Params
from ganeti.ops.base import param

DEFAULT_BRIDGE = "xen-br0"
DEFAULT_MAC_PREFIX = "aa:00:00"
DEFAULT_GROUP = "default"
COLLECTORS = ("cpu-avg-load", "diskstats", "drbd", "inst-status-xen", "lv", "xen-cpu-avg-load")
COLLECTOR_INTERVAL = 5_000_000
"""Microseconds."""


@dataclass(frozen=True, kw_only=True)
class InitSettings:
    """Settings of a new cluster, as `gnt-cluster init` takes them."""

    cluster_name: str = param(help="Name of the cluster; it must resolve to an unused address")
    beparams: Params = param(
        default_factory=dict,
        help="Default back-end parameters",
        flags="-B --backend-parameters",
        cli_type="keyval",
    )
    candidate_pool_size: int | None = param(
        default=None, help="How many nodes hold a replica of the store", flags="-C --candidate-pool-size"
    )
    enabled_hypervisors: list[str] | None = param(
        default=None,
        help="Hypervisors to enable, the default one first",
        flags="--enabled-hypervisors",
        cli_type="list",
    )
    enabled_disk_templates: list[str] | None = param(
        default=None,
        help="Disk templates to enable, the default one first",
        flags="--enabled-disk-templates",
        cli_type="list",
    )
    hvparams: dict[str, Params] = param(
        default_factory=dict,
        help="Default hypervisor parameters, as hypervisor:name=value,...",
        flags="-H --hypervisor-parameters",
        cli_type="identkeyval",
    )
    nicparams: Params = param(
        default_factory=dict, help="Default NIC parameters", flags="-N --nic-parameters", cli_type="keyval"
    )
    ndparams: Params | None = param(
        default=None, help="Default node parameters", flags="--node-parameters", cli_type="keyval"
    )
    diskparams: dict[str, Params] = param(
        default_factory=dict,
        help="Default disk parameters, as template:name=value,...",
        flags="-D --disk-parameters",
        cli_type="identkeyval",
    )
    file_storage_dir: str | None = param(
        default=None, help="Directory for file-based disks", flags="--file-storage-dir", metavar="DIR"
    )
    shared_file_storage_dir: str | None = param(
        default=None, help="Directory that all nodes share", flags="--shared-file-storage-dir", metavar="DIR"
    )
    gluster_storage_dir: str = param(
        default="/var/run/ganeti/gluster",
        help="Mount point for Gluster",
        flags="--gluster-storage-dir",
        metavar="DIR",
    )
    mac_prefix: str | None = param(
        default=None,
        help="First three bytes of generated MAC addresses",
        flags="-m --mac-prefix",
        metavar="PREFIX",
    )
    master_netdev: str | None = param(
        default=None,
        help="Interface that carries the cluster's address",
        flags="--master-netdev",
        metavar="NETDEV",
    )
    master_netmask: int | None = param(
        default=None,
        help="Prefix length of the cluster's address",
        flags="--master-netmask",
        metavar="PREFIX",
    )
    modify_etc_hosts: bool = param(
        default=True, help="Leave /etc/hosts of the nodes alone", flags="--no-etc-hosts"
    )
    modify_ssh_setup: bool = param(
        default=True, help="Leave SSH keys of the nodes alone", flags="--no-ssh-init"
    )
    secondary_ip: str | None = param(
        default=None,
        help="This node's address in the replication network",
        flags="-s --secondary-ip",
        metavar="ADDRESS",
    )
    vg_name: str | None = param(default=None, help="Volume group for disks", flags="--vg-name", metavar="VG")
    maintain_node_health: bool | None = param(
        default=None, help="Let the watcher stop guests on offline nodes", flags="--maintain-node-health"
    )
    uid_pool: str | None = param(
        default=None, help="User ids for guest processes, as ranges: 4000-4019,5000", flags="--uid-pool"
    )
    drbd_helper: str | None = param(
        default=None, help="DRBD's user mode helper", flags="--drbd-usermode-helper"
    )
    default_iallocator: str | None = param(
        default=None,
        help="Allocator that places instances",
        flags="-I --default-iallocator",
        metavar="NAME",
        complete="iallocator",
    )
    default_iallocator_params: Params | None = param(
        default=None, help="Its parameters", flags="--default-iallocator-params", cli_type="keyval"
    )
    primary_ip_version: int = param(default=4, help="4 or 6", flags="--primary-ip-version", metavar="4|6")
    prealloc_wipe_disks: bool | None = param(
        default=None, help="Overwrite new disks with zeros before use", flags="--prealloc-wipe-disks"
    )
    use_external_mip_script: bool | None = param(
        default=None,
        help="Set the cluster's address by a script of your own",
        flags="--use-external-mip-script",
    )
    hv_state: dict[str, Params] = param(
        default_factory=dict, help="Hypervisor state", flags="--hypervisor-state", cli_type="identkeyval"
    )
    disk_state: dict[str, Params] = param(
        default_factory=dict, help="Disk state", flags="--disk-state", cli_type="identkeyval"
    )
    install_image: str | None = param(
        default=None, help="Image for untrusted OS installs", flags="--install-image"
    )
    zeroing_image: str | None = param(
        default=None, help="Image that zeroes free space", flags="--zeroing-image"
    )
    compression_tools: list[str] | None = param(
        default=None,
        help="Programs allowed for compressing transfers",
        flags="--compression-tools",
        cli_type="list",
    )
    enabled_user_shutdown: bool | None = param(
        default=None, help="Respect guests that power themselves off", flags="--user-shutdown"
    )
    ssh_key_type: str | None = param(default=None, help="dsa, ecdsa or rsa", flags="--ssh-key-type")
    ssh_key_bits: int | None = param(default=None, help="Size of SSH keys", flags="--ssh-key-bits")
    ipolicy_std_specs: Params | None = param(
        default=None, help="Standard instance size", flags="--ipolicy-std-specs", cli_type="keyval"
    )
    ipolicy_bounds_specs: list[Any] | None = param(
        default=None, help="Bounds of instance sizes", flags="--ipolicy-bounds-specs", cli_type="multi"
    )
    ipolicy_disk_templates: list[str] | None = param(
        default=None,
        help="Disk templates that instances may use",
        flags="--ipolicy-disk-templates",
        cli_type="list",
    )
    ipolicy_vcpu_ratio: float | None = param(
        default=None, help="Virtual CPUs for each physical one, at most", flags="--ipolicy-vcpu-ratio"
    )
    ipolicy_spindle_ratio: float | None = param(
        default=None, help="Instances for each spindle, at most", flags="--ipolicy-spindle-ratio"
    )
    ispecs_cpu_count: Params = param(
        default_factory=dict, help="min, max, std", flags="--specs-cpu-count", cli_type="keyval"
    )
    ispecs_disk_count: Params = param(
        default_factory=dict, help="min, max, std", flags="--specs-disk-count", cli_type="keyval"
    )
    ispecs_disk_size: Params = param(
        default_factory=dict, help="min, max, std", flags="--specs-disk-size", cli_type="keyval"
    )
    ispecs_mem_size: Params = param(
        default_factory=dict, help="min, max, std", flags="--specs-mem-size", cli_type="keyval"
    )
    ispecs_nic_count: Params = param(
        default_factory=dict, help="min, max, std", flags="--specs-nic-count", cli_type="keyval"
    )


@dataclass(frozen=True)
class FirstNode:
    """Facts about the node on which the cluster begins."""

    name: str
    primary_ip: str
    cluster_ip: str
    certificate_digest: str = ""
    ssh_host_key: str = ""
    ssh_root_key: str = ""


def hypervisors_of(settings: InitSettings) -> tuple[HypervisorKind, ...]:
    """The enabled hypervisors, checked; KVM where none is named."""
    words = settings.enabled_hypervisors or ["kvm"]
    return tuple(_member(HypervisorKind, word, "--enabled-hypervisors", "hypervisor") for word in words)


def disk_templates_of(settings: InitSettings) -> tuple[DiskTemplate, ...]:
    """The enabled disk templates, checked; plain and drbd where none is named and a volume group is."""
    words = settings.enabled_disk_templates
    if words is None:
        words = ["drbd", "plain"] if settings.vg_name else ["file", "diskless"]
    templates = tuple(
        _member(DiskTemplate, word, "--enabled-disk-templates", "disk template") for word in words
    )
    needs_lvm = [template for template in templates if template in (DiskTemplate.PLAIN, DiskTemplate.DRBD)]
    if needs_lvm and not settings.vg_name:
        raise PrereqError(
            f"disk template {needs_lvm[0]} needs a volume group: name it with --vg-name, or leave the template out",
            Code.INVAL,
        )
    return templates


def _member(words: Any, word: str, option: str, what: str) -> Any:
    try:
        return words(word)
    except ValueError:
        raise PrereqError(
            f"{option}: there is no {what} '{word}'; known: {', '.join(words)}", Code.INVAL
        ) from None


def build_objects(settings: InitSettings, first: FirstNode) -> tuple[Cluster, Group, Node]:
    """The first rows of the store."""
    node_uuid, group_uuid = NodeUuid(new_uuid()), GroupUuid(new_uuid())
    group = Group(uuid=group_uuid, name=DEFAULT_GROUP)
    node = Node(
        uuid=node_uuid,
        name=first.name,
        primary_ip=first.primary_ip,
        secondary_ip=settings.secondary_ip or first.primary_ip,
        group=group_uuid,
        master_candidate=True,
        certificate_digest=first.certificate_digest,
        ssh_host_key=first.ssh_host_key,
        ssh_root_key=first.ssh_root_key,
    )
    return build_cluster(settings, node, first.cluster_ip), group, node


def build_cluster(settings: InitSettings, node: Node, cluster_ip: str) -> Cluster:
    """The cluster's own row; `PrereqError` names the setting that is wrong."""
    templates = disk_templates_of(settings)
    shared_dir = settings.shared_file_storage_dir
    file_dir = settings.file_storage_dir
    return Cluster(
        uuid=new_uuid(),
        cluster_name=settings.cluster_name,
        master_node=node.uuid,
        master_ip=cluster_ip,
        master_netdev=settings.master_netdev or DEFAULT_BRIDGE,
        master_netmask=_netmask(settings),
        primary_ip_family=2 if settings.primary_ip_version == 4 else 10,
        use_external_mip_script=bool(settings.use_external_mip_script),
        mac_prefix=_mac_prefix(settings),
        volume_group_name=settings.vg_name,
        drbd_usermode_helper=settings.drbd_helper
        or ("/bin/true" if DiskTemplate.DRBD in templates else None),
        file_storage_dir="/srv/ganeti/file-storage" if file_dir is None else file_dir,
        shared_file_storage_dir="/srv/ganeti/shared-file-storage" if shared_dir is None else shared_dir,
        gluster_storage_dir=settings.gluster_storage_dir,
        enabled_hypervisors=hypervisors_of(settings),
        enabled_disk_templates=templates,
        hvparams=_hvparams(settings),
        beparams={"default": _beparams(settings.beparams)},
        nicparams={"default": _nicparams(settings.nicparams)},
        ndparams=_filled(parameters.NODE, settings.ndparams or {}, "node parameters"),
        diskparams=_diskparams(settings),
        ipolicy=policy.build_policy(settings),
        hv_state_static=settings.hv_state,
        disk_state_static=settings.disk_state,
        candidate_pool_size=_at_least(1, settings.candidate_pool_size, 10, "--candidate-pool-size"),
        candidate_certs={node.uuid: node.certificate_digest},
        modify_etc_hosts=settings.modify_etc_hosts,
        modify_ssh_setup=settings.modify_ssh_setup,
        maintain_node_health=bool(settings.maintain_node_health),
        uid_pool=_uid_pool(settings.uid_pool or ""),
        default_iallocator=settings.default_iallocator,
        default_iallocator_params=settings.default_iallocator_params or {},
        prealloc_wipe_disks=bool(settings.prealloc_wipe_disks),
        install_image=settings.install_image or "",
        zeroing_image=settings.zeroing_image or "",
        compression_tools=tuple(settings.compression_tools or ("gzip", "gzip-fast", "gzip-slow")),
        enabled_user_shutdown=bool(settings.enabled_user_shutdown),
        data_collectors={name: {"active": True, "interval": COLLECTOR_INTERVAL} for name in COLLECTORS},
        ssh_key_type=settings.ssh_key_type or "rsa",
        ssh_key_bits=settings.ssh_key_bits or 2048,
    )


def _filled(of: params.Table, values: Mapping[str, Any], what: str) -> Params:
    return params.fill(params.defaults(of), params.coerce(of, values, what))


def _hvparams(settings: InitSettings) -> dict[str, Params]:
    for name in settings.hvparams:
        _member(HypervisorKind, name, "--hypervisor-parameters", "hypervisor")
    return {
        str(kind): _filled(table, settings.hvparams.get(kind, {}), f"hypervisor {kind}")
        for kind, table in parameters.HYPERVISOR.items()
    }


def _diskparams(settings: InitSettings) -> dict[str, Params]:
    for name in settings.diskparams:
        _member(DiskTemplate, name, "--disk-parameters", "disk template")
    return {
        str(template): _filled(table, settings.diskparams.get(template, {}), f"disk template {template}")
        for template, table in parameters.DISK.items()
    }


def _beparams(values: Mapping[str, Any]) -> Params:
    return _filled(parameters.BACKEND, params.expand_memory(values), "back-end parameters")


def _nicparams(values: Mapping[str, Any]) -> Params:
    filled = _filled(parameters.NIC, values, "NIC parameters")
    _member(NicMode, filled["mode"], "--nic-parameters", "NIC mode")
    return filled


def _netmask(settings: InitSettings) -> int:
    longest = 32 if settings.primary_ip_version == 4 else 128
    value = longest if settings.master_netmask is None else settings.master_netmask
    if not 0 < value <= longest:
        raise PrereqError(
            f"--master-netmask must be a prefix length from 1 to {longest}, not {value}", Code.INVAL
        )
    return value


def _mac_prefix(settings: InitSettings) -> str:
    prefix = (settings.mac_prefix or DEFAULT_MAC_PREFIX).lower()
    parts = prefix.split(":")
    if len(parts) != 3 or not all(len(part) == 2 and set(part) <= set("0123456789abcdef") for part in parts):
        raise PrereqError(f"--mac-prefix must look like aa:00:00, not {prefix}", Code.INVAL)
    if int(parts[0], 16) & 1:
        raise PrereqError(f"--mac-prefix {prefix} is for multicast; its first byte must be even", Code.INVAL)
    return prefix


def _at_least(least: int, value: int | None, default: int, option: str) -> int:
    chosen = default if value is None else value
    if chosen < least:
        raise PrereqError(f"{option} must be at least {least}, not {chosen}", Code.INVAL)
    return chosen


def _uid_pool(text: str) -> tuple[tuple[int, int], ...]:
    ranges = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        low, _, high = part.partition("-")
        if not low.isdigit() or (high and not high.isdigit()) or int(high or low) < int(low):
            raise PrereqError(
                f"--uid-pool: '{part}' is neither a user id nor a range like 4000-4019", Code.INVAL
            )
        ranges.append((int(low), int(high or low)))
    return tuple(sorted(ranges))
