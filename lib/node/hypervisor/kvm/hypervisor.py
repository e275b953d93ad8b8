"""KVM: guests are QEMU processes, with hardware acceleration where the node has it."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Sequence

from ganeti.base.errors import HypervisorError
from ganeti.model import params
from ganeti.model.enums import HypervisorKind
from ganeti.model.filled import FilledInstance
from ganeti.model.objects import Params
from ganeti.node.environment import HypervisorEnvironment
from ganeti.node.hypervisor.kvm import check, layout, observe
from ganeti.node.hypervisor.kvm.accel import AccelerationProbe
from ganeti.node.hypervisor.kvm.capabilities import CapabilityStore
from ganeti.node.hypervisor.kvm.guests import Guests
from ganeti.node.hypervisor.kvm.launch import Launcher
from ganeti.node.hypervisor.kvm.lifecycle import Emulators, Lifecycle
from ganeti.node.hypervisor.kvm.migration import Migration
from ganeti.node.hypervisor.kvm.places import Places
from ganeti.node.hypervisor.kvm.qmp import Monitor
from ganeti.rpc.node.replies import NOTE, ConsoleInfo, HypervisorInfo, InstanceState, MigrationStatus

log = logging.getLogger(__name__)

CONSOLE_WRAPPER = "ganeti-kvm-console"
ATTEND_SECONDS = 0.5

"""Begins a text of `KvmHypervisor.verify` that is worth knowing, but no error."""


class KvmHypervisor:
    """`Hypervisor`, `Migratable` and `Resident`; the work is done by the modules beside this one."""

    kind = HypervisorKind.KVM

    def __init__(self, environment: HypervisorEnvironment) -> None:
        self._environment = environment
        self._places = Places(environment.paths)
        self._emulators = Emulators(
            CapabilityStore(self._places.capabilities, environment.runner),
            AccelerationProbe(self._places.acceleration, environment.runner),
        )
        self._guests = Guests(environment, self._places, self)
        launcher = Launcher(environment, self._places, self._guests)
        self._lifecycle = Lifecycle(self._places, self._emulators, self._guests, launcher)
        self._migration = Migration(self._places, self._emulators, self._guests, launcher, self._lifecycle)
        self._attending: set[asyncio.Task[None]] = set()

    # --- Resident, and what the connections tell

    async def open(self) -> None:
        """Find the guests that run, and clean up after those that ended while no agent was there."""
        await asyncio.to_thread(self._adopt)

    def _adopt(self) -> None:
        self._places.prepare()
        for name in self._places.known_guests():
            try:
                if self._guests.find(name) is None:
                    self._lifecycle.forget_dead(name)
            except HypervisorError as err:
                log.warning("instance %s: cannot be adopted: %s", name, err)

    async def close(self) -> None:
        """Let go of all guests; they live on."""
        await self._guests.close()
        attending = list(self._attending)
        for task in attending:
            task.cancel()
        await asyncio.gather(*attending, return_exceptions=True)

    def guest_halted(self, monitor: Monitor, reason: str) -> None:
        """As `Watcher`."""
        self._attend(monitor, reason)

    def guest_ended(self, monitor: Monitor) -> None:
        """As `Watcher`."""
        self._attend(monitor, "")

    def _attend(self, monitor: Monitor, reason: str) -> None:
        task = asyncio.get_running_loop().create_task(self._attend_until_done(monitor, reason))
        self._attending.add(task)
        task.add_done_callback(self._attending.discard)

    async def _attend_until_done(self, monitor: Monitor, reason: str) -> None:
        try:
            while True:
                if await asyncio.to_thread(self._lifecycle.attend, monitor, reason):
                    return
                await asyncio.sleep(ATTEND_SECONDS)
        except HypervisorError as err:
            log.error("instance %s: cleaning up after it failed: %s", monitor.name, err)

    # --- Hypervisor

    def start(self, instance: FilledInstance, disks: Sequence[str], *, paused: bool = False) -> list[str]:
        return self._lifecycle.start(instance, disks, paused=paused)

    def stop(self, name: str, *, timeout: float, force: bool = False) -> None:
        self._lifecycle.stop(name, timeout=timeout, force=force)

    def reset(self, instance: FilledInstance) -> None:
        self._lifecycle.reset(instance.name)

    def state(self, name: str) -> InstanceState:
        return observe.describe(name, self._guests, self._places)

    def states(self) -> list[InstanceState]:
        return observe.describe_all(self._guests, self._places)

    def info(self) -> HypervisorInfo:
        return observe.describe_node(self._guests, self._places, self._describe_version())

    def _describe_version(self) -> str:
        """Such as ``7.2.22``; where guests are emulated, it says so, and why."""
        try:
            _, capabilities = self._emulators.find(layout.DEFAULTS)
            found = self._emulators.acceleration(layout.DEFAULTS)
        except HypervisorError as err:
            log.warning("%s", err)
            return ""
        return capabilities.text if found.usable else f"{capabilities.text} (no KVM: {found.reason})"

    def console(self, instance: FilledInstance, host: str) -> ConsoleInfo:
        hv = params.fill(layout.DEFAULTS, instance.hvparams)
        if hv["serial_console"]:
            places = self._places.of(instance.name)
            command = [_find_wrapper(), places.serial, instance.name]
            return ConsoleInfo(instance.name, "ssh", host=host, user="root", command=command)
        port = instance.network_port or 0
        if hv["vnc_bind_address"] and not hv["vnc_bind_address"].startswith("/"):
            display = str(port - layout.VNC_BASE_PORT)
            return ConsoleInfo(
                instance.name, "vnc", host=_reachable(hv["vnc_bind_address"], host), port=port, display=display
            )
        if hv["spice_bind"]:
            return ConsoleInfo(instance.name, "spice", host=host, port=port)
        text = f"instance {instance.name} has no console; set serial_console, vnc_bind_address or spice_bind"
        return ConsoleInfo(instance.name, "msg", message=text)

    def validate(self, hvparams: Params) -> str:
        unknown = sorted(set(hvparams) - set(layout.DEFAULTS))
        if unknown:
            return f"hypervisor kvm has no parameter {', '.join(unknown)}"
        hv = params.fill(layout.DEFAULTS, hvparams)
        problems = [*check.check_parameters(hv), *check.check_node(hv, os.sched_getaffinity(0))]
        try:
            binary, capabilities = self._emulators.find(hv)
            problems += check.check_capabilities(hv, capabilities)
            self._emulators.choose_accelerator(hv, binary, capabilities)
        except HypervisorError as err:
            problems.append(err.message)
        return "; ".join(problems)

    def verify(self) -> str:
        """As `Hypervisor.verify`; a text that begins with `NOTE` is no error."""
        try:
            note = self._emulators.note(layout.DEFAULTS)
        except HypervisorError as err:
            return err.message
        return NOTE + note if note else ""

    # --- Migratable

    def migration_info(self, name: str) -> str:
        return self._migration.info(name)

    def accept(self, instance: FilledInstance, disks: Sequence[str], info: str, address: str) -> str:
        return self._migration.accept(instance, disks, info, address)

    def migrate(self, instance: FilledInstance, uri: str, *, live: bool) -> None:
        self._migration.migrate(instance, uri, live=live)

    def migration_status(self, name: str) -> MigrationStatus:
        return self._migration.status(name)

    def migration_cancel(self, name: str) -> None:
        self._migration.cancel(name)

    def finish_source(self, name: str, *, success: bool) -> None:
        self._migration.finish_source(name, success=success)

    def finish_target(self, name: str, *, success: bool) -> None:
        self._migration.finish_target(name, success=success)


def _find_wrapper() -> str:
    """The console program that was installed beside the interpreter that runs this agent, else whatever the PATH has."""
    beside = os.path.join(os.path.dirname(sys.executable), CONSOLE_WRAPPER)
    return beside if os.path.exists(beside) else CONSOLE_WRAPPER


def _reachable(bound: str, host: str) -> str:
    return host if bound in ("0.0.0.0", "::") else bound
