"""What the master daemon answers about the cluster's objects: the LUXI side of `query`."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Callable, Sequence
from typing import Any

from ganeti import __version__
from ganeti.base import codec
from ganeti.base.errors import Code, PrereqError
from ganeti.master.gather import gather
from ganeti.model.config import Config
from ganeti.model.objects import Cluster
from ganeti.query import engine
from ganeti.query.field import Live
from ganeti.query.filter import names_filter
from ganeti.query.resources import resource
from ganeti.rpc.call import NodeCaller

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


class QueryEngine:
    """Answers queries from a fresh snapshot of the store and, where fields need it, from the nodes."""

    def __init__(self, config: Callable[[], Config], nodes: NodeCaller) -> None:
        self._config = config
        self._nodes = nodes

    async def query(self, what: str, fields: Sequence[str], qfilter: Any) -> dict[str, Any]:
        """Rows of ``[status, value]`` cells."""
        prepared, config, live = await self._collect(what, fields, qfilter)
        return engine.answer(prepared, config, live)

    def query_fields(self, what: str, fields: Sequence[str] | None) -> dict[str, Any]:
        """Definitions of fields."""
        return engine.describe_fields(resource(what).fields, fields)

    async def classic(self, what: str, names: Sequence[str] | None, fields: Sequence[str]) -> list[list[Any]]:
        """Rows of plain values; every name must exist."""
        found = resource(what)
        config = self._config()
        for name in names or ():
            found.find(config, name)
        qfilter = names_filter(found.name_field, names or ())
        return engine.classic_rows(*await self._collect(what, fields, qfilter))

    async def _collect(
        self, what: str, fields: Sequence[str], qfilter: Any
    ) -> tuple[engine.Query, Config, Live]:
        config = self._config()
        prepared = engine.prepare(config, what, fields, qfilter)
        live = Live()
        if prepared.nodes(config):
            live = await asyncio.to_thread(gather, prepared, config, self._nodes)
        return prepared, config, live

    def cluster_info(self) -> dict[str, Any]:
        """The answer to ``QueryClusterInfo``."""
        config = self._config()
        return cluster_info(config.cluster, config.master.name)

    def config_values(self, fields: Sequence[str]) -> list[Any]:
        """Single values by name; unknown ones are null."""
        config = self._config()
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

    def tags(self, kind: str, name: str) -> list[str]:
        """Tags of one object, sorted."""
        config = self._config()
        if kind == "cluster":
            return sorted(config.cluster.tags)
        finders = {
            "node": config.find_node,
            "instance": config.find_instance,
            "nodegroup": config.find_group,
            "network": config.find_network,
        }
        if kind not in finders:
            raise PrereqError(f"objects of kind '{kind}' have no tags", Code.INVAL)
        return sorted(finders[kind](name).tags)


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
