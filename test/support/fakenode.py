"""A node in memory: every declared node call, with guests, files and memory that behave like real ones."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from ganeti.base.errors import ExecError, HypervisorError, StorageError
from ganeti.base.secret import Secret
from ganeti.model.enums import RebootType
from ganeti.model.filled import FilledDisk, FilledInstance, os_base
from ganeti.model.objects import Params
from ganeti.rpc.node.blockdev import BlockdevApi, OsApi
from ganeti.rpc.node.instance import InstanceApi
from ganeti.rpc.node.node import HookResult, LogRange, MasterAddress, NodeApi
from ganeti.rpc.node.replies import (
    ConsoleInfo,
    HypervisorInfo,
    InstanceState,
    MigrationStatus,
    NodeInfo,
    OsVariantInfo,
    RunState,
    StorageInfo,
    VerifyReply,
    VerifyRequest,
    VersionReply,
)

READ_ONLY = frozenset(
    {
        "version",
        "node_info",
        "node_verify",
        "os_list",
        "instance_state",
        "instance_states",
        "instance_console",
        "instance_migratable",
        "migration_info",
        "migration_status",
        "hypervisor_validate",
        "blockdev_find",
        "storage_space",
        "os_validate",
        "run_hooks",
    }
)
"""Calls that change nothing of ours on the node."""

STEPS_OF_A_MIGRATION = 3


@dataclass
class Guest:
    """A guest as the fake hypervisor keeps it."""

    uuid: str
    memory: int
    vcpus: int
    state: RunState = RunState.RUNNING
    incoming: bool = False
    """Waits for its state."""
    starts: int = 1
    hvparams: Params = field(default_factory=dict)
    paused: bool = False


@dataclass
class Outgoing:
    """A migration under way, as its source sees it."""

    target: FakeNode
    name: str
    steps: int = 0
    status: str = "active"


@dataclass
class Shared:
    """What the nodes of one fake cluster have in common: shared files, and where a migration arrives."""

    files: dict[str, int] = field(default_factory=dict)
    directories: set[str] = field(default_factory=set)
    listening: dict[str, FakeNode] = field(default_factory=dict)
    shared_prefix: str = "/srv/ganeti/shared-file-storage"
    runs_on_arrival: bool = True
    """As with QEMU; else a guest that has arrived waits until its migration is finished."""


class FakeNode(InstanceApi, BlockdevApi, OsApi, NodeApi):
    """One node. Attributes are its state and may be set by a test."""

    def __init__(self, name: str, shared: Shared, *, memory: int = 4096, disk: int = 100_000) -> None:
        self.name = name
        self.shared = shared
        self.memory_total = memory
        self.disk_total = disk
        self.guests: dict[str, Guest] = {}
        self.files: dict[str, int] = {}
        self.directories: set[str] = set()
        self.assembled: set[str] = set()
        self.bridges = {"br0"}
        self.oses = {"noop": OsVariantInfo("noop", "/srv/ganeti/os/noop", True, api_versions=[20])}
        self.broken_oses: set[str] = set()
        self.outgoing: dict[str, Outgoing] = {}
        self.version_reply = VersionReply("3.2.0", 1, name, 0.0, 1)
        self.hypervisor_version = "7.2.22"
        self.hypervisor_error = ""
        self.start_remarks: list[str] = []
        self.not_migratable = ""
        self.migration_error = ""
        self.clock = 0.0
        self.slept = 0.0
        self.os_secrets: dict[str, str] = {}
        self.installed: list[tuple[str, FilledInstance]] = []
        self.left = False
        self.has_master_ip = False
        self.ssconf: dict[str, str] = {}
        self.keys: set[str] = set()
        self.texts: dict[str, str] = {}
        self.verify_overrides: dict[str, Any] = {}
        self.digest = f"digest-{name}"
        self.no_replica = False
        self.hook_failures: dict[str, str] = {}
        self.hooks_run: list[tuple[str, str, dict[str, str]]] = []

    # --- helpers
    def _files(self, path: str) -> dict[str, int]:
        return self.shared.files if path.startswith(self.shared.shared_prefix) else self.files

    def _directories(self, path: str) -> set[str]:
        return self.shared.directories if path.startswith(self.shared.shared_prefix) else self.directories

    def _path(self, disk: FilledDisk) -> str:
        return str(disk.logical_id[1])

    @property
    def memory_free(self) -> int:
        return self.memory_total - 256 - sum(guest.memory for guest in self.guests.values())

    def _state(self, name: str) -> InstanceState:
        guest = self.guests.get(name)
        if guest is None:
            return InstanceState(name, RunState.ABSENT)
        return InstanceState(name, guest.state, guest.memory, guest.vcpus, 1.5)

    # --- instances
    def instance_start(self, instance: FilledInstance, paused: bool = False) -> list[str]:
        if instance.name in self.guests and self.guests[instance.name].state is RunState.RUNNING:
            return []
        if self.hypervisor_error:
            raise HypervisorError(self.hypervisor_error)
        missing = [disk.iv_name for disk in instance.disks if disk.uuid not in self.assembled]
        if missing:
            raise HypervisorError(f"disks {missing} of {instance.name} are not assembled")
        memory = int(instance.beparams["maxmem"])
        if memory > self.memory_free:
            raise HypervisorError(f"no memory for {instance.name}")
        self.guests[instance.name] = Guest(
            instance.uuid, memory, int(instance.beparams["vcpus"]), hvparams=instance.hvparams, paused=paused
        )
        return self.start_remarks

    def instance_stop(self, name: str, hypervisor: str, timeout: float, force: bool = False) -> None:
        self.guests.pop(name, None)

    def instance_reboot(self, instance: FilledInstance, kind: RebootType, timeout: float) -> None:
        guest = self.guests.get(instance.name)
        if guest is None:
            raise HypervisorError(f"{instance.name} does not run")
        if kind is RebootType.HARD:
            self.instance_stop(instance.name, str(instance.hypervisor), timeout)
            self.instance_start(instance)
        self.guests[instance.name].starts = guest.starts + 1

    def instance_state(self, name: str, hypervisor: str) -> InstanceState:
        return self._state(name)

    def instance_states(self, hypervisors: list[str]) -> list[InstanceState]:
        return [self._state(name) for name in sorted(self.guests)]

    def instance_console(self, instance: FilledInstance) -> ConsoleInfo:
        return ConsoleInfo(instance.name, "msg", message="there is no console on a fake node")

    def instance_migratable(self, instance: FilledInstance) -> str:
        return self.not_migratable

    # --- migration
    def migration_info(self, instance: FilledInstance) -> str:
        return f"runtime of {instance.name}"

    def migration_accept(self, instance: FilledInstance, info: str, address: str) -> str:
        if info != f"runtime of {instance.name}":
            raise HypervisorError("not the runtime of this instance")
        if instance.name in self.guests:
            raise HypervisorError(f"{instance.name} is here already")
        missing = [disk.iv_name for disk in instance.disks if disk.uuid not in self.assembled]
        if missing:
            raise HypervisorError(f"disks {missing} of {instance.name} are not assembled")
        memory = int(instance.beparams["maxmem"])
        self.guests[instance.name] = Guest(
            instance.uuid, memory, int(instance.beparams["vcpus"]), RunState.PAUSED, incoming=True
        )
        uri = f"tcp:{address}:8102"
        self.shared.listening[uri] = self
        return uri

    def migration_start(self, instance: FilledInstance, uri: str, live: bool) -> None:
        if self.guests[instance.name].state is not RunState.RUNNING:
            raise HypervisorError(f"{instance.name} does not run here")
        self.outgoing[instance.name] = Outgoing(self.shared.listening[uri], instance.name)

    def migration_status(self, instance: FilledInstance) -> MigrationStatus:
        move = self.outgoing.get(instance.name)
        if move is None:
            raise HypervisorError(f"{instance.name} is not migrating")
        if move.status == "active":
            move.steps += 1
            if (self.migration_error and move.steps == STEPS_OF_A_MIGRATION - 1) or instance.name not in move.target.guests:
                move.status = "failed"
            elif move.steps >= STEPS_OF_A_MIGRATION:
                move.status = "completed"
                self.guests[instance.name].state = RunState.PAUSED
                arrived = move.target.guests[instance.name]
                arrived.incoming = False
                if self.shared.runs_on_arrival:
                    arrived.state = RunState.RUNNING
        mib = 1024 * 1024
        total = self.guests[instance.name].memory * mib
        left = 0 if move.status == "completed" else total - total * move.steps // STEPS_OF_A_MIGRATION
        done = move.status == "completed"
        return MigrationStatus(
            move.status,
            transferred=total - left,
            remaining=left,
            total=total,
            downtime_ms=42 if done else None,
            total_ms=1234 if done else None,
            error=self.migration_error if move.status == "failed" else "",
        )

    def migration_cancel(self, instance: FilledInstance) -> None:
        move = self.outgoing.get(instance.name)
        if move is not None and move.status == "active":
            move.status = "cancelled"

    def migration_finish_source(self, instance: FilledInstance, success: bool, target: str) -> None:
        move = self.outgoing.pop(instance.name, None)
        sent = move is not None and move.status == "completed"
        if success:
            assert sent or instance.name not in self.guests, "a guest that had not moved was ended at its source"
            self.guests.pop(instance.name, None)
        elif instance.name in self.guests:
            if sent and move is not None:
                # A guest that has run elsewhere, or waits there with its state, must not go on here.
                assert not self.shared.runs_on_arrival and instance.name not in move.target.guests
            if self.guests[instance.name].state is RunState.PAUSED and not self.guests[instance.name].paused:
                self.guests[instance.name].state = RunState.RUNNING

    def migration_finish_target(self, instance: FilledInstance, success: bool) -> None:
        guest = self.guests.get(instance.name)
        if not success:
            self.guests.pop(instance.name, None)
        elif guest is None or guest.incoming:
            raise HypervisorError(f"{instance.name} has not arrived")
        else:
            guest.state = RunState.RUNNING

    def hypervisor_validate(self, hypervisor: str, hvparams: Params) -> str:
        return str(hvparams.get("kernel_path", "")) if hvparams.get("kernel_path") == "/nowhere" else ""

    # --- disks
    def blockdev_create(self, disk: FilledDisk, instance_name: str) -> None:
        path = self._path(disk)
        files = self._files(path)
        if path in files:
            raise StorageError(f"{path} exists")
        if path.rpartition("/")[0] not in self._directories(path):
            raise StorageError(f"{path}: no such directory")
        files[path] = disk.size

    def blockdev_remove(self, disk: FilledDisk) -> None:
        if disk.uuid in self.assembled and any(guest.uuid == disk.uuid for guest in self.guests.values()):
            raise StorageError(f"{self._path(disk)} is in use")
        self._files(self._path(disk)).pop(self._path(disk), None)

    def blockdev_assemble(self, disk: FilledDisk, instance_name: str, as_primary: bool, index: int) -> str:
        path = self._path(disk)
        if path not in self._files(path):
            raise StorageError(f"{path} does not exist")
        self.assembled.add(disk.uuid)
        return path

    def blockdev_shutdown(self, disk: FilledDisk, instance_name: str, index: int) -> None:
        if instance_name in self.guests:
            raise StorageError(f"{self._path(disk)} is in use by {instance_name}")
        self.assembled.discard(disk.uuid)

    def blockdev_find(self, disks: list[FilledDisk]) -> list[str | None]:
        return [self._path(disk) if self._path(disk) in self._files(self._path(disk)) else None for disk in disks]

    def blockdev_wipe(self, disk: FilledDisk, offset: int, size: int) -> None:
        if disk.uuid not in self.assembled:
            raise StorageError(f"{disk.iv_name} is not assembled")

    def blockdev_grow(self, disk: FilledDisk, amount: int, dry_run: bool) -> None:
        if not dry_run:
            self._files(self._path(disk))[self._path(disk)] += amount

    def storage_space(self, units: list[tuple[str, str]]) -> list[StorageInfo]:
        return [StorageInfo(kind, name, self.disk_total, self.disk_total - sum(self.files.values())) for kind, name in units]

    def file_storage_prepare(self, directory: str) -> None:
        self._directories(directory).add(directory)

    def file_storage_cleanup(self, directory: str) -> None:
        if not any(path.startswith(directory + "/") for path in self._files(directory + "/")):
            self._directories(directory).discard(directory)

    # --- OS definitions
    def os_create(self, instance: FilledInstance, reinstall: bool, secret: dict[str, str]) -> None:
        if os_base(instance.os) in self.broken_oses:
            raise ExecError(f"the create script of {instance.os} failed with status 1: disk is on fire")
        self.os_secrets = dict(secret)
        self.installed.append((instance.name, instance))

    def os_rename(self, instance: FilledInstance, old_name: str) -> None:
        self.installed.append((old_name, instance))

    def os_validate(self, name: str, osparams: dict[str, str], force_variant: bool) -> str:
        found = self.oses.get(os_base(name))
        if found is None:
            return f"OS {os_base(name)} is not there"
        variant = name.partition("+")[2]
        if variant and variant not in found.variants and not force_variant:
            return f"OS {os_base(name)} has no variant '{variant}'; it has: {', '.join(found.variants) or 'none'}"
        unknown = sorted(set(osparams) - {key for key, _ in found.parameters})
        return f"OS {os_base(name)} has no parameter {', '.join(unknown)}" if unknown else ""

    # --- the node itself
    def version(self) -> VersionReply:
        return replace(self.version_reply, time=self.version_reply.time + self.clock)

    def node_info(self, storage: list[tuple[str, str]], hypervisors: list[str]) -> NodeInfo:
        info = HypervisorInfo(self.memory_total, self.memory_free, 256, 4, version=self.hypervisor_version)
        return NodeInfo("boot", dict.fromkeys(hypervisors, info), self.storage_space(storage))

    def node_verify(self, request: VerifyRequest) -> VerifyReply:
        reply = VerifyReply(
            version=self.version(),
            time=self.version_reply.time + self.clock,
            files=dict.fromkeys(request.files, "0" * 64),
            hypervisors=dict.fromkeys(request.hypervisors, self.hypervisor_error),
            missing_bridges=[bridge for bridge in request.bridges if bridge not in self.bridges],
            storage=dict.fromkeys(request.storage_dirs, ""),
            instances=self.instance_states([]),
            oses=list(self.oses.values()),
            certificate_digest=self.digest,
            certificate_expiry=self.version_reply.time + self.clock + 365 * 86400,
            has_master_ip=None if request.master_ip is None else self.has_master_ip,
        )
        return replace(reply, **self.verify_overrides)

    def os_list(self) -> list[OsVariantInfo]:
        return list(self.oses.values())

    def write_ssconf(self, values: dict[str, str]) -> None:
        self.ssconf.update(values)

    def upload_file(self, name: str, content: Secret) -> None:
        self.texts[name] = content.reveal()

    def write_authorized_keys(self, add: list[str], remove: list[str]) -> None:
        self.keys = (self.keys | set(add)) - set(remove)

    def master_address_start(self, address: MasterAddress) -> None:
        self.has_master_ip = True

    def master_address_stop(self, address: MasterAddress) -> None:
        self.has_master_ip = False

    def store_append(self, log: LogRange) -> int:
        return max(row[0] for row in log.rows)

    def store_replace(self, snapshot: str, serial: int) -> int:
        return serial

    def store_remove(self) -> None:
        self.no_replica = True

    def node_leave(self) -> None:
        self.left = True

    def run_hooks(self, path: str, phase: str, environment: dict[str, str]) -> list[HookResult]:
        self.hooks_run.append((path, phase, environment))
        failure = self.hook_failures.get(f"{path}-{phase}")
        return [HookResult("10-check", "failed", failure)] if failure else []

    def test_delay(self, duration: float) -> None:
        self.slept += duration
