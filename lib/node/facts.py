"""Facts about this node that are asked for often."""

from __future__ import annotations

import time

import ganeti
from ganeti.base.files import read_optional
from ganeti.node.services import Services
from ganeti.rpc.node.replies import NodeInfo, StorageInfo, VersionReply

PROTOCOL = 1
"""Of node calls; the master refuses to add a node with another one."""


def boot_id() -> str:
    """Changes whenever the host (or its kernel) is started anew."""
    return (read_optional("/proc/sys/kernel/random/boot_id") or "").strip()


def version(services: Services) -> VersionReply:
    """Software, protocol, name, clock and highest epoch of this node."""
    return VersionReply(
        software=ganeti.__version__,
        protocol=PROTOCOL,
        hostname=services.paths.hostname,
        time=time.time(),
        epoch=services.epochs.current,
    )


def node_info(services: Services, storage: list[tuple[str, str]], hypervisors: list[str]) -> NodeInfo:
    """Memory and CPUs as the hypervisors see them, and the space of storage units."""
    return NodeInfo(
        bootid=boot_id(),
        hypervisors={name: services.hypervisors.get(name).info() for name in hypervisors},
        storage=storage_space(services, storage),
    )


def storage_space(services: Services, units: list[tuple[str, str]]) -> list[StorageInfo]:
    """Space of each unit [kind, name], in their order."""
    return [services.storage.space(kind).space(name) for kind, name in units]
