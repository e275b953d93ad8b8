"""Starting, stopping and resetting guests, and what is done when one ends by itself."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import replace

from ganeti.base import files
from ganeti.base.errors import HypervisorError
from ganeti.base.undo import Undo
from ganeti.model import params
from ganeti.model.filled import FilledInstance
from ganeti.model.objects import Params
from ganeti.node.hypervisor.kvm import check, launch, layout, runtime
from ganeti.node.hypervisor.kvm.accel import Acceleration, AccelerationProbe, Accelerator, KvmFlag, choose
from ganeti.node.hypervisor.kvm.capabilities import Capabilities, CapabilityStore
from ganeti.node.hypervisor.kvm.guests import Guest, Guests
from ganeti.node.hypervisor.kvm.launch import Launcher, Order, quote
from ganeti.node.hypervisor.kvm.places import Places
from ganeti.node.hypervisor.kvm.qmp import Monitor
from ganeti.node.hypervisor.kvm.runtime import Runtime

log = logging.getLogger(__name__)

POWERDOWN_SECONDS = 5.0
"""How often a guest is asked to power off: one that is still booting does not hear the first time."""

GUEST_SHUTDOWN = "guest-shutdown"


class Emulators:
    """The QEMU binaries of this node: which one to use, what it can do, and whether KVM works with it."""

    def __init__(self, capabilities: CapabilityStore, acceleration: AccelerationProbe) -> None:
        self._capabilities = capabilities
        self._acceleration = acceleration

    def find(self, hv: Params) -> tuple[str, Capabilities]:
        """The binary for these parameters and its capabilities. Raises `HypervisorError`."""
        binary = launch.find_binary(hv["kvm_path"], layout.DEFAULTS["kvm_path"])
        return binary, self._capabilities.get(binary)

    def choose_accelerator(self, hv: Params, binary: str, capabilities: Capabilities) -> Accelerator:
        """As `accel.choose`, for this node."""
        return choose(hv["kvm_flag"], self._acceleration.get(binary, capabilities))

    def acceleration(self, hv: Params) -> Acceleration:
        """Whether KVM works here, or is not wanted (which is as good)."""
        binary, capabilities = self.find(hv)
        return Acceleration(True) if hv["kvm_flag"] == KvmFlag.DISABLED else self._acceleration.get(binary, capabilities)

    def note(self, hv: Params) -> str:
        """What is to be said about acceleration on this node; empty if KVM works, or is not wanted."""
        return self.acceleration(hv).note


class Lifecycle:
    """See the module's text. Each method takes the guest's lock."""

    def __init__(self, places: Places, emulators: Emulators, guests: Guests, launcher: Launcher) -> None:
        self._places = places
        self._emulators = emulators
        self._guests = guests
        self._launcher = launcher

    # --- start

    def start(self, instance: FilledInstance, disks: Sequence[str], *, paused: bool) -> list[str]:
        """As `Hypervisor.start`."""
        with self._guests.lock(instance.name):
            self.make_room(instance.name, "start")
            order = self._plan(instance, disks)
            self._run(replace(order, runtime=replace(order.runtime, paused=paused)), paused=paused)
            return self._remarks(order.runtime)

    def _remarks(self, runtime: Runtime) -> list[str]:
        """What the operator should know of how the guest runs."""
        hv = runtime.hvparams
        notes = (self._emulators.note(hv), check.note_cpu(hv, runtime.model.accelerator))
        for note in filter(None, notes):
            log.warning("instance %s: %s", runtime.model.name, note)
        return [note for note in notes if note]

    def _run(self, order: Order, *, paused: bool) -> None:
        with Undo() as undo:
            guest = self._launcher.launch(order, undo)
            self._launcher.prepare(guest, order.runtime.model, order.runtime.hvparams)
            if not paused:
                self._guests.execute(guest, "cont")
            undo.commit()
        log.info("instance %s: started as process %s", guest.name, guest.process.pid)

    def _plan(self, instance: FilledInstance, disks: Sequence[str]) -> Order:
        hv = params.fill(layout.DEFAULTS, instance.hvparams)
        binary, capabilities = self._emulators.find(hv)
        problems = [
            *check.check_parameters(hv),
            *check.check_capabilities(hv, capabilities),
            *check.check_node(hv, os.sched_getaffinity(0)),
        ]
        if problems:
            raise HypervisorError(f"cannot start instance {instance.name}: {'; '.join(problems)}")
        accelerator = self._emulators.choose_accelerator(hv, binary, capabilities)
        model = layout.plan_model(instance, capabilities, accelerator)
        if len(disks) != len(model.disks):
            raise HypervisorError(f"cannot start instance {instance.name}: {len(disks)} paths for {len(model.disks)} disks")
        return Order(
            runtime=Runtime(
                model=model,
                qemu=capabilities.text,
                hvparams=hv,
                ports=launch.describe_ports(instance),
                chroot=hv["use_chroot"],
            ),
            disks={disk.id: path for disk, path in zip(model.disks, disks, strict=True)},
            binary=binary,
            capabilities=capabilities,
        )

    def make_room(self, name: str, task: str) -> None:
        """Clear away what an earlier life of the guest left. The caller holds the guest's lock.

        Raises `HypervisorError` if it runs; `task` says what cannot be done then.
        """
        guest = self._guests.find(name)
        if guest is not None:
            state = self._guests.refresh(guest)
            if not guest.is_halted and not guest.is_arriving:
                raise HypervisorError(f"cannot {task} instance {name}: it is on this node already ({state})")
            # It has powered itself off just now, or still waits for a migration that nobody will finish.
            self._launcher.end(guest)
        self._launcher.clean(name)

    # --- stop

    def stop(self, name: str, *, timeout: float, force: bool) -> None:
        """As `Hypervisor.stop`."""
        with self._guests.lock(name):
            guest = self._guests.find(name)
            if guest is not None:
                # So that an agent that takes over meanwhile does not think that the guest wanted it.
                files.write_atomic(guest.places.stopping_mark, "")
                if not force and timeout > 0 and self._can_power_off(guest):
                    self._power_off(guest, timeout)
                self._launcher.end(guest)
                log.info("instance %s: stopped", name)
            self._launcher.clean(name)

    def _can_power_off(self, guest: Guest) -> bool:
        if guest.monitor.run_state != "running":
            return False  # it would not hear
        known = runtime.load_readable(guest.places.runtime)
        return known is None or known.model.acpi

    def _power_off(self, guest: Guest, timeout: float) -> None:
        """Press the power button, again and again, until the guest has powered off or the time has passed."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            try:
                self._guests.execute(guest, "system_powerdown", seconds=min(POWERDOWN_SECONDS, left))
            except HypervisorError as err:
                log.warning("%s", err)
                return
            if self._guests.wait(guest, _has_stopped, min(POWERDOWN_SECONDS, left)) or guest.monitor.ended:
                return
        log.info("instance %s: did not power off within %g s", guest.name, timeout)

    def reset(self, name: str) -> None:
        """As `Hypervisor.reset`."""
        with self._guests.lock(name):
            guest = self._guests.require(name, "reset")
            known = runtime.load(guest.places.runtime)
            if known is not None and not known.model.reboots:
                self._restart(guest, known)
                return
            self._guests.execute(guest, "system_reset")
            if guest.monitor.run_state != "running":
                self._guests.execute(guest, "cont")

    def _restart(self, guest: Guest, known: Runtime) -> None:
        """A new process for the same machine: for a guest whose process does not survive a reboot.

        (Allowing one reboot is no way out: firmware reboots once more by itself when it finds a machine that was reset.)
        """
        binary, capabilities = self._emulators.find(known.hvparams)
        order = Order(
            runtime=replace(known, ports=launch.without_taps(known.ports)),
            disks=known.devices,
            binary=binary,
            capabilities=capabilities,
        )
        self._launcher.end(guest)
        self._launcher.clean(guest.name)
        self._run(order, paused=False)

    # --- guests that end by themselves

    def attend(self, monitor: Monitor, reason: str) -> bool:
        """Clean up after a guest that powered itself off or whose process has ended; whether that is done.

        It is not done while somebody else changes the guest, who will see to it, or leave it to the next try.
        """
        name = monitor.name
        lock = self._guests.lock(name)
        if not lock.acquire(blocking=False):
            return False
        try:
            guest = self._guests.find(name)
            if guest is not None and guest.monitor is not monitor:
                return True  # a new life has begun meanwhile
            if guest is not None:
                self._end_halted(guest, reason)
            elif os.path.exists(self._places.of(name).runtime):
                log.warning("instance %s: its QEMU has ended%s", name, quote(self._places.of(name)))
                self._launcher.clean(name, keep_mark=True)
        finally:
            lock.release()
        return True

    def forget_dead(self, name: str) -> None:
        """Clean up after a guest that is not alive, as an agent finds it that has just started."""
        with self._guests.lock(name):
            if self._guests.find(name) is None:
                self._launcher.clean(name, keep_mark=True)

    def _end_halted(self, guest: Guest, reason: str) -> None:
        if not guest.is_halted:
            return
        places = guest.places
        known = runtime.load_readable(places.runtime)
        # Nobody may have been there to see why. A guest whose reboots end it may just have rebooted.
        assumed = reason or (GUEST_SHUTDOWN if known is None or known.model.reboots else "")
        if assumed == GUEST_SHUTDOWN and not os.path.exists(places.stopping_mark):
            files.write_atomic(places.shutdown_mark, "")
            log.info("instance %s: has powered itself off", guest.name)
        else:
            log.info("instance %s: has ended (%s)", guest.name, reason or "reason unknown")
        self._launcher.end(guest)
        self._launcher.clean(guest.name, keep_mark=True)


def _has_stopped(monitor: Monitor) -> bool:
    return monitor.run_state not in ("", "running")
