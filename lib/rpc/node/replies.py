"""What nodes answer. Sizes are MiB unless a name says otherwise."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ganeti.model.enums import Word

NOTE = "note: "
"""What a text begins with that says what is remarkable, but not wrong."""


class RunState(Word):
    """State of an instance at its hypervisor."""

    RUNNING = "running"
    PAUSED = "paused"
    SHUTDOWN = "shutdown"
    """The guest powered itself off."""
    ABSENT = "absent"


@dataclass(frozen=True)
class VersionReply:
    """Who answers. `time` is seconds since 1970."""

    software: str
    protocol: int
    hostname: str
    time: float
    epoch: int


@dataclass(frozen=True)
class HypervisorInfo:
    """What a hypervisor says of its node."""

    memory_total: int
    memory_free: int
    memory_dom0: int
    cpu_total: int
    cpu_sockets: int = 1
    cpu_nodes: int = 1
    cpu_dom0: int = 0
    version: str = ""


@dataclass(frozen=True)
class StorageInfo:
    """Space of one storage unit (a volume group, a directory)."""

    kind: str
    name: str
    total: int | None
    free: int | None


@dataclass(frozen=True)
class NodeInfo:
    """Facts of a node that change while it runs."""

    bootid: str
    hypervisors: dict[str, HypervisorInfo]
    storage: list[StorageInfo]


@dataclass(frozen=True)
class InstanceState:
    """A guest as its hypervisor sees it. Times are seconds."""

    name: str
    state: RunState
    memory: int = 0
    vcpus: int = 0
    cpu_seconds: float = 0.0


@dataclass(frozen=True)
class ConsoleInfo:
    """How to reach a console. `kind` is ssh (run `command` on `host`), vnc, spice or msg."""

    instance: str
    kind: str
    message: str = ""
    host: str = ""
    port: int = 0
    user: str = ""
    command: list[str] = field(default_factory=list)
    display: str = ""


@dataclass(frozen=True)
class MigrationStatus:
    """Progress of an outgoing migration. Bytes for RAM, milliseconds for times."""

    status: str
    """active, completed, failed, cancelled"""
    transferred: int = 0
    remaining: int = 0
    total: int = 0
    downtime_ms: int | None = None
    total_ms: int | None = None
    expected_downtime_ms: int | None = None
    dirty_pages_rate: int | None = None
    iterations: int = 0
    error: str = ""


@dataclass(frozen=True)
class OsVariantInfo:
    """An OS definition found on a node."""

    name: str
    path: str
    valid: bool
    message: str = ""
    api_versions: list[int] = field(default_factory=list)
    variants: list[str] = field(default_factory=list)
    parameters: list[tuple[str, str]] = field(default_factory=list)
    trusted: bool = True


@dataclass(frozen=True)
class VerifyRequest:
    """What a node should find out about itself for `gnt-cluster verify`."""

    files: list[str] = field(default_factory=list)
    hypervisors: list[str] = field(default_factory=list)
    hvparams: dict[str, dict[str, Any]] = field(default_factory=dict)
    nodes: list[tuple[str, str, str]] = field(default_factory=list)
    """[name, primary ip, secondary ip] of nodes whose agents to reach by TCP."""
    bridges: list[str] = field(default_factory=list)
    storage_dirs: list[str] = field(default_factory=list)
    master_ip: str | None = None


@dataclass(frozen=True)
class VerifyReply:
    """`None`: was not asked. Texts say what is wrong; an empty list or text means that all is well."""

    version: VersionReply
    time: float
    files: dict[str, str | None] = field(default_factory=dict)
    """SHA-256 by file, None if missing."""
    hypervisors: dict[str, str] = field(default_factory=dict)
    unreachable: dict[str, str] = field(default_factory=dict)
    missing_bridges: list[str] = field(default_factory=list)
    storage: dict[str, str] = field(default_factory=dict)
    instances: list[InstanceState] = field(default_factory=list)
    oses: list[OsVariantInfo] = field(default_factory=list)
    certificate_digest: str = ""
    certificate_expiry: float = 0.0
    setup: list[str] = field(default_factory=list)
    has_master_ip: bool | None = None
