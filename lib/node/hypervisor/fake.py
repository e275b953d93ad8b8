"""A hypervisor without virtual machines: guests are files. For tests, and for simulating clusters.

It keeps all rules of a real one: memory is honoured, states outlive the agent, a migration really sends the guest's state over
TCP and the target refuses to go on without it. ``{run}/fake-hypervisor`` holds one ``<name>.json`` per guest, and:

* ``<name>.poweroff``: made by anybody, the guest powers itself off;
* ``settings.json`` (optional): ``memory`` and ``cpus`` of the node, ``start_seconds``, ``stop_seconds`` (how long these take; a
  guest with ``stop_seconds`` beyond the time limit has to be killed), ``migration_mib_per_second``, ``fail`` (operations that
  fail: start, stop, accept, migrate).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import psutil

from ganeti.base import codec
from ganeti.base.errors import DecodeError, HypervisorError
from ganeti.base.files import ensure_directory, read_optional, remove_quietly, write_atomic
from ganeti.model.enums import HypervisorKind
from ganeti.model.filled import FilledInstance
from ganeti.model.objects import Params
from ganeti.model.parameters import HYPERVISOR
from ganeti.node.environment import HypervisorEnvironment
from ganeti.node.links import check_instance_name
from ganeti.rpc.node.replies import ConsoleInfo, HypervisorInfo, InstanceState, MigrationStatus, RunState

MIB = 1024 * 1024
MAX_STATE = MIB
"""Bytes of a guest's state that a migration target accepts."""
INCOMING_TIMEOUT = 300.0
"""Seconds a migration target waits for its state."""


@dataclass(frozen=True)
class Settings:
    """How the simulated node behaves. Memory is MiB."""

    memory: int = 0
    cpus: int = 0
    start_seconds: float = 0.0
    stop_seconds: float = 0.0
    migration_mib_per_second: float = 0.0
    """0: as fast as the network."""
    fail: tuple[str, ...] = ()


@dataclass(frozen=True)
class Guest:
    """A guest as its file holds it."""

    name: str
    memory: int
    vcpus: int
    status: str = "running"
    """running, paused, shutdown, incoming (waits for its state), arrived (has it), sending, sent"""
    started: float = 0.0
    boots: int = 1
    """How often the guest was booted or reset; goes along when it migrates."""
    disks: tuple[str, ...] = ()
    nics: tuple[str, ...] = ()
    migrations: int = 0
    origin: str = field(default="")
    """The node on which it was started."""


_STATES = {"running": RunState.RUNNING, "sending": RunState.RUNNING, "paused": RunState.PAUSED, "shutdown": RunState.SHUTDOWN}
_HERE = ("running", "paused", "sending")


class FakeHypervisor:
    """See the module's text."""

    kind = HypervisorKind.FAKE

    def __init__(self, environment: HypervisorEnvironment) -> None:
        self._paths = environment.paths
        self._directory = environment.paths.fake_hypervisor
        self._lock = threading.RLock()
        self._listeners: dict[str, socket.socket] = {}
        self._outgoing: dict[str, _Outgoing] = {}

    # --- files
    def _file(self, name: str) -> str:
        return os.path.join(self._directory, f"{check_instance_name(name)}.json")

    def _load(self, name: str) -> Guest | None:
        text = read_optional(self._file(name))
        if text is None:
            return None
        try:
            guest = codec.from_json(Guest, text)
        except DecodeError as err:
            raise HypervisorError(f"the file of guest {name} is damaged ({err}); remove {self._file(name)}") from err
        if guest.status in _HERE and remove_quietly(os.path.join(self._directory, f"{name}.poweroff")):
            guest = self._save(replace(guest, status="shutdown"))
        return guest

    def _save(self, guest: Guest) -> Guest:
        ensure_directory(self._directory, 0o750)
        write_atomic(self._file(guest.name), codec.to_json(guest) + "\n", mode=0o640)
        return guest

    def _remove(self, name: str) -> None:
        remove_quietly(self._file(name))
        remove_quietly(os.path.join(self._directory, f"{name}.poweroff"))

    def _require(self, name: str, task: str) -> Guest:
        guest = self._load(name)
        if guest is None or guest.status not in _HERE:
            raise HypervisorError(f"cannot {task} instance {name}: it does not run on node {self._paths.hostname}")
        return guest

    def _settings(self) -> Settings:
        text = read_optional(os.path.join(self._directory, "settings.json"))
        return codec.from_json(Settings, text) if text else Settings()

    def _check_failure(self, task: str, name: str) -> None:
        if task in self._settings().fail:
            raise HypervisorError(f"cannot {task} instance {name}: settings.json of the fake hypervisor says that it fails")

    # --- the core
    def start(self, instance: FilledInstance, disks: Sequence[str], *, paused: bool = False) -> list[str]:
        self._check_failure("start", instance.name)
        for disk in disks:
            if not os.path.exists(disk):
                raise HypervisorError(f"cannot start instance {instance.name}: its disk {disk} does not exist")
        with self._lock:
            present = self._load(instance.name)
            if present is not None and present.status != "shutdown":
                raise HypervisorError(f"cannot start instance {instance.name}: it is here already ({present.status})")
            self._save(self._new_guest(instance, disks, "paused" if paused else "running"))
        time.sleep(self._settings().start_seconds)
        return []

    def _new_guest(self, instance: FilledInstance, disks: Sequence[str], status: str) -> Guest:
        memory = int(instance.beparams.get("maxmem", 0))
        free = self.info().memory_free
        if memory > free:
            raise HypervisorError(
                f"cannot start instance {instance.name}: it needs {memory} MiB of memory, "
                f"but node {self._paths.hostname} has {free} MiB free"
            )
        return Guest(
            name=instance.name,
            memory=memory,
            vcpus=int(instance.beparams.get("vcpus", 1)),
            status=status,
            started=time.time(),
            disks=tuple(disks),
            nics=tuple(nic.mac for nic in instance.nics),
            origin=self._paths.hostname,
        )

    def stop(self, name: str, *, timeout: float, force: bool = False) -> None:
        guest = self._load(name)
        if guest is not None and guest.status in _HERE and not force:
            self._check_failure("stop", name)
            time.sleep(min(self._settings().stop_seconds, timeout))
        with self._lock:
            self._forget_migration(name)
            self._remove(name)

    def reset(self, instance: FilledInstance) -> None:
        with self._lock:
            guest = self._require(instance.name, "reset")
            self._save(replace(guest, boots=guest.boots + 1, started=time.time(), status="running"))

    def state(self, name: str) -> InstanceState:
        guest = self._load(name)
        return self._state_of(guest) if guest else InstanceState(name, RunState.ABSENT)

    def _state_of(self, guest: Guest) -> InstanceState:
        state = _STATES.get(guest.status, RunState.PAUSED)
        busy = time.time() - guest.started if state is RunState.RUNNING else 0.0
        return InstanceState(guest.name, state, guest.memory, guest.vcpus, round(max(0.0, busy) / 100, 3))

    def states(self) -> list[InstanceState]:
        return [self._state_of(guest) for guest in self._guests()]

    def _guests(self) -> list[Guest]:
        names = os.listdir(self._directory) if os.path.isdir(self._directory) else []
        guests = [self._load(name[:-5]) for name in sorted(names) if name.endswith(".json") and name != "settings.json"]
        return [guest for guest in guests if guest is not None]

    def info(self) -> HypervisorInfo:
        settings = self._settings()
        total = settings.memory or psutil.virtual_memory().total // MIB
        used = sum(guest.memory for guest in self._guests() if guest.status != "shutdown")
        cpus = settings.cpus or os.cpu_count() or 1
        return HypervisorInfo(memory_total=total, memory_free=max(0, total - used), memory_dom0=0, cpu_total=cpus, version="1")

    def console(self, instance: FilledInstance, host: str) -> ConsoleInfo:
        return ConsoleInfo(instance.name, "msg", message=f"instance {instance.name} is a fake one, it has no console")

    def validate(self, hvparams: Params) -> str:
        unknown = sorted(set(hvparams) - set(HYPERVISOR[self.kind]))
        return f"hypervisor fake has no parameter {', '.join(unknown)}" if unknown else ""

    def verify(self) -> str:
        ensure_directory(self._directory, 0o750)
        free = shutil.disk_usage(self._directory).free
        return "" if free > MIB else f"no space is left in {self._directory}"

    # --- migration
    def migration_info(self, name: str) -> str:
        guest = self._require(name, "migrate")
        return codec.dumps({"fake": 1, "memory": guest.memory, "vcpus": guest.vcpus})

    def accept(self, instance: FilledInstance, disks: Sequence[str], info: str, address: str) -> str:
        self._check_failure("accept", instance.name)
        try:
            facts: dict[str, int] = codec.decode(dict[str, int], codec.loads(info))
        except DecodeError as err:
            raise HypervisorError(f"cannot accept instance {instance.name}: the source says something unusable: {err}") from err
        with self._lock:
            present = self._load(instance.name)
            if present is not None and present.status != "shutdown":
                raise HypervisorError(f"cannot accept instance {instance.name}: it is on this node already ({present.status})")
            guest = replace(self._new_guest(instance, disks, "incoming"), memory=facts.get("memory", 0))
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            try:
                listener = socket.create_server((address, 0), family=family, backlog=1)
            except OSError as err:
                raise HypervisorError(f"cannot accept instance {instance.name}: cannot listen at {address}: {err}") from err
            self._save(guest)
            self._listeners[instance.name] = listener
        threading.Thread(target=self._receive, args=(guest.name, listener), name=f"fake-in-{guest.name}", daemon=True).start()
        host = f"[{address}]" if ":" in address else address
        return f"tcp:{host}:{listener.getsockname()[1]}"

    def _receive(self, name: str, listener: socket.socket) -> None:
        try:
            with listener:
                listener.settimeout(INCOMING_TIMEOUT)
                connection, _ = listener.accept()
            with connection:
                connection.settimeout(INCOMING_TIMEOUT)
                state = codec.from_json(Guest, _read_all(connection))
                with self._lock:
                    waiting = self._load(name)
                    if waiting is not None and waiting.status == "incoming" and state.name == name:
                        kept = replace(state, status="arrived", disks=waiting.disks, migrations=state.migrations + 1)
                        self._save(kept)
                        connection.sendall(b"ok\n")
        except (OSError, DecodeError):
            pass  # no state came: the guest stays "incoming", and finishing the migration says so

    def migrate(self, instance: FilledInstance, uri: str, *, live: bool) -> None:
        self._check_failure("migrate", instance.name)
        with self._lock:
            guest = self._require(instance.name, "migrate")
            if guest.status == "sending":
                raise HypervisorError(f"cannot migrate instance {instance.name}: a migration of it is under way")
            outgoing = _Outgoing(guest, uri, self._settings().migration_mib_per_second, live)
            self._outgoing[instance.name] = outgoing
            self._save(replace(guest, status="sending"))
        threading.Thread(target=self._send, args=(outgoing,), name=f"fake-out-{guest.name}", daemon=True).start()

    def _send(self, outgoing: _Outgoing) -> None:
        outgoing.run()
        with self._lock:
            guest = self._load(outgoing.guest.name)
            if guest is not None and guest.status == "sending":
                # What was sent must not run here too, until the migration is finished one way or the other.
                self._save(replace(guest, status="sent" if outgoing.status == "completed" else outgoing.guest.status))

    def migration_status(self, name: str) -> MigrationStatus:
        outgoing = self._outgoing.get(name)
        if outgoing is None:
            guest = self._load(name)
            if guest is not None and guest.status == "sent":
                return MigrationStatus("completed")  # before the agent was started again
            raise HypervisorError(f"no migration of instance {name} was begun on node {self._paths.hostname}")
        return outgoing.report()

    def migration_cancel(self, name: str) -> None:
        outgoing = self._outgoing.get(name)
        if outgoing is not None:
            outgoing.cancel()

    def finish_source(self, name: str, *, success: bool) -> None:
        with self._lock:
            guest = self._load(name)
            self._forget_migration(name)
            if success:
                self._remove(name)
            elif guest is not None and guest.status in ("sending", "sent"):
                self._save(replace(guest, status="running"))

    def finish_target(self, name: str, *, success: bool) -> None:
        with self._lock:
            guest = self._load(name)
            self._forget_migration(name)
            if not success:
                self._remove(name)
            elif guest is None or guest.status == "incoming":
                raise HypervisorError(f"cannot finish the migration of instance {name}: its state has not arrived here")
            elif guest.status == "arrived":
                self._save(replace(guest, status="running"))

    def _forget_migration(self, name: str) -> None:
        listener = self._listeners.pop(name, None)
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits there
            listener.close()
        outgoing = self._outgoing.pop(name, None)
        if outgoing is not None:
            outgoing.cancel()


class _Outgoing:
    """One migration, as the source sees it."""

    def __init__(self, guest: Guest, uri: str, pace: float, live: bool) -> None:
        self.guest = guest
        self.status = "active"
        self._uri, self._pace, self._live = uri, pace, live
        self._begun = time.monotonic()
        self._ended = 0.0
        self._downtime = 0.0
        self._sent = 0
        self._error = ""
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        self._cancelled.set()

    def run(self) -> None:
        """Send memory at the pace wanted, then the state. Never raises: how it went is in `status`."""
        try:
            status = self._transfer()
        except (OSError, HypervisorError) as err:
            status, self._error = "failed", f"sending instance {self.guest.name} to {self._uri} failed: {err}"
        self._ended = time.monotonic()
        self.status = status

    def _transfer(self) -> str:
        scheme, _, place = self._uri.partition(":")
        host, _, port = place.rpartition(":")
        if scheme != "tcp" or not port.isdigit():
            raise HypervisorError("not an address of a fake hypervisor")
        with socket.create_connection((host.strip("[]"), int(port)), timeout=30.0) as connection:
            stopped = time.monotonic()
            while self._sent < self.guest.memory and self._pace:
                if self._cancelled.wait(0.02):
                    return "cancelled"
                self._sent = min(self.guest.memory, int((time.monotonic() - self._begun) * self._pace))
            if self._cancelled.is_set():
                return "cancelled"
            if self._live:
                stopped = time.monotonic()
            connection.sendall(codec.to_json(self.guest).encode())
            connection.shutdown(socket.SHUT_WR)
            if connection.recv(16) != b"ok\n":
                raise HypervisorError("the target did not take it")
            self._sent = self.guest.memory
            self._downtime = time.monotonic() - stopped
            return "completed"

    def report(self) -> MigrationStatus:
        total, sent = self.guest.memory * MIB, self._sent * MIB
        final = self.status != "active"
        return MigrationStatus(
            status=self.status,
            transferred=sent,
            remaining=total - sent,
            total=total,
            downtime_ms=round(self._downtime * 1000) if self.status == "completed" else None,
            total_ms=round(((self._ended if final else time.monotonic()) - self._begun) * 1000),
            iterations=1,
            error=self._error,
        )


def _read_all(connection: socket.socket) -> bytes:
    data = b""
    while chunk := connection.recv(65536):
        data += chunk
        if len(data) > MAX_STATE:
            raise DecodeError("", "the state sent is too long")
    return data
