"""What is asked of the cluster as a whole, besides its table of fields: ``QueryClusterInfo`` and ``QueryConfigValues``. Pure."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import Any

from ganeti import __version__
from ganeti.base import codec
from ganeti.model.config import Config
from ganeti.model.objects import Cluster

PROTOCOL_VERSION = 3010000
CONFIG_VERSION = 3010000
OS_API_VERSION = 20
EXPORT_VERSION = 0

_SAME_NAME = (
    "beparams",
    "candidate_pool_size",
    "compression_tools",
    "ctime",
    "default_iallocator",
    "default_iallocator_params",
    "diskparams",
    "drbd_usermode_helper",
    "enabled_disk_templates",
    "enabled_hypervisors",
    "enabled_user_shutdown",
    "file_storage_dir",
    "gluster_storage_dir",
    "hidden_os",
    "blacklisted_os",
    "install_image",
    "instance_communication_network",
    "ipolicy",
    "mac_prefix",
    "maintain_node_health",
    "master_netdev",
    "master_netmask",
    "max_running_jobs",
    "max_tracked_jobs",
    "modify_ssh_setup",
    "mtime",
    "ndparams",
    "nicparams",
    "os_hvp",
    "osparams",
    "prealloc_wipe_disks",
    "reserved_lvs",
    "shared_file_storage_dir",
    "ssh_key_bits",
    "ssh_key_type",
    "tags",
    "uid_pool",
    "use_external_mip_script",
    "uuid",
    "volume_group_name",
    "zeroing_image",
)
"""Fields of the cluster that `QueryClusterInfo` returns under their own names."""


def config_values(config: Config, fields: Sequence[str]) -> list[Any]:
    """Single values by name; unknown ones are None."""
    cluster = config.cluster
    known = {
        "cluster_name": cluster.cluster_name,
        "master_node": config.master.name,
        "drain_flag": cluster.queue_drained,
        "watcher_pause": cluster.watcher_pause,
        "modify_ssh_setup": cluster.modify_ssh_setup,
        "ssh_key_type": cluster.ssh_key_type,
        "ssh_key_bits": cluster.ssh_key_bits,
    }
    return [known.get(field) for field in fields]


def cluster_info(cluster: Cluster, master: str) -> dict[str, Any]:
    """Versions and settings, with the keys of the public contract."""
    plain = {name: codec.encode(getattr(cluster, name)) for name in _SAME_NAME}
    bits, _ = platform.architecture()
    enabled = [str(kind) for kind in cluster.enabled_hypervisors]
    return {
        **plain,
        "software_version": __version__,
        "protocol_version": PROTOCOL_VERSION,
        "config_version": CONFIG_VERSION,
        "os_api_version": OS_API_VERSION,
        "export_version": EXPORT_VERSION,
        "vcs_version": f"(ganeti) version {__version__}",
        "architecture": [f"{bits}s", platform.machine()],
        "name": cluster.cluster_name,
        "master": master,
        "default_hypervisor": enabled[0],
        "hvparams": {kind: values for kind, values in cluster.hvparams.items() if kind in enabled},
        "primary_ip_version": 4 if cluster.primary_ip_family == 2 else 6,
        "enabled_data_collectors": {
            name: bool(one.get("active")) for name, one in cluster.data_collectors.items()
        },
        "data_collector_interval": {
            name: one.get("interval") for name, one in cluster.data_collectors.items()
        },
    }
