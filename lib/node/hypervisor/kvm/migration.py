"""Live migration, each side's part of it.

The target starts the device model that runs at the source (`runtime`), waits with ``-incoming defer`` and is then told where to
listen. Both sides get the same capabilities; with ``return-path`` the source takes the migration for completed only when the
target has said that it has everything, so that the guest is never lost: until then the source can go on.
References: QEMU's "Migration framework" and ``qapi/migration.json``.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ganeti.base.errors import HypervisorError
from ganeti.base.undo import Undo
from ganeti.model import params
from ganeti.model.filled import FilledInstance
from ganeti.model.objects import Params
from ganeti.node.hypervisor.kvm import check, layout, runtime
from ganeti.node.hypervisor.kvm.accel import Accelerator
from ganeti.node.hypervisor.kvm.command import MIB
from ganeti.node.hypervisor.kvm.devices import device_id
from ganeti.node.hypervisor.kvm.guests import Guest, Guests
from ganeti.node.hypervisor.kvm.launch import Launcher, Order, quote
from ganeti.node.hypervisor.kvm.lifecycle import Emulators, Lifecycle
from ganeti.node.hypervisor.kvm.places import Places
from ganeti.node.hypervisor.kvm.runtime import Runtime
from ganeti.rpc.node.replies import MigrationStatus

log = logging.getLogger(__name__)

PORTS = 100
"""How many ports, from ``migration_port`` on, migrations to one node may use at a time."""

ALWAYS = ("events", "return-path")
"""Capabilities that every migration uses."""

ARRIVAL_SECONDS = 60.0
CANCEL_SECONDS = 30.0
END_SECONDS = 1.0
"""From the connection's end to the process's, when QEMU dies."""

ANNOUNCEMENT = {"initial": 50, "max": 550, "rounds": 5, "step": 100}
"""How the guest's new place is told to switches, in milliseconds; the values that QEMU uses itself."""

STATUSES = {
    "none": "active",
    "setup": "active",
    "active": "active",
    "cancelling": "active",
    "pre-switchover": "active",
    "device": "active",
    "wait-unplug": "active",
    "postcopy-active": "active",
    "postcopy-recover-setup": "active",
    "postcopy-recover": "active",
    "completed": "completed",
    "failed": "failed",
    "failing": "failed",
    "postcopy-paused": "failed",
    "cancelled": "cancelled",
}
"""QEMU's ``MigrationStatus`` in the words of node calls."""

SPLIT = ("postcopy-active", "postcopy-paused", "postcopy-recover-setup", "postcopy-recover")
"""The guest runs at the target already, but some of its memory is still here: neither side is complete."""


class Migration:
    """See the module's text. Methods that change a guest take its lock."""

    def __init__(
        self, places: Places, emulators: Emulators, guests: Guests, launcher: Launcher, lifecycle: Lifecycle
    ) -> None:
        self._places = places
        self._emulators = emulators
        self._guests = guests
        self._launcher = launcher
        self._lifecycle = lifecycle

    # --- source, before

    def info(self, name: str) -> str:
        """As `Migratable.migration_info`."""
        guest = self._guests.require(name, "migrate")
        known = self._load(guest)
        return runtime.for_target(known, paused=self._guests.refresh(guest) != "running")

    def _load(self, guest: Guest) -> Runtime:
        known = runtime.load(guest.places.runtime)
        if known is None:
            raise HypervisorError(
                f"cannot migrate instance {guest.name}: its runtime state {guest.places.runtime} is missing on this node;"
                " shut it down and start it again"
            )
        return known

    # --- target

    def accept(self, instance: FilledInstance, disks: Sequence[str], info: str, address: str) -> str:
        """As `Migratable.accept`."""
        name = instance.name
        arriving = runtime.parse(info, f"the message about instance {name} from the source")
        if (arriving.model.name, arriving.model.uuid) != (name, instance.uuid):
            raise HypervisorError(f"cannot accept instance {name}: the source sent the state of {arriving.model.name}")
        with self._guests.lock(name):
            self._lifecycle.make_room(name, "accept")
            order = self._plan(arriving, instance, disks)
            hv = params.fill(layout.DEFAULTS, instance.hvparams)
            with Undo() as undo:
                guest = self._launcher.launch(order, undo)
                self._launcher.prepare(guest, arriving.model, arriving.hvparams)
                self._configure(guest, hv)
                uri = self._listen(guest, address, hv["migration_port"])
                undo.commit()
        log.info("instance %s: waits for its state at %s", name, uri)
        return uri

    def _plan(self, arriving: Runtime, instance: FilledInstance, disks: Sequence[str]) -> Order:
        model = arriving.model
        binary, capabilities = self._emulators.find(arriving.hvparams)
        if capabilities.find_machine(model.machine) is None:
            raise HypervisorError(
                f"cannot accept instance {model.name}: it runs as machine type {model.machine} (QEMU {arriving.qemu}), which"
                f" QEMU {capabilities.text} of this node does not have; choose another node or stop and start the instance"
            )
        self._require_accelerator(arriving, binary)
        problems = list(check.check_node(arriving.hvparams, os.sched_getaffinity(0)))
        if problems:
            raise HypervisorError(f"cannot accept instance {model.name}: {'; '.join(problems)}")
        # What the guest runs with counts: its configuration may have got more disks since it was started.
        paths = {device_id("disk", disk.uuid): path for disk, path in zip(instance.disks, disks, strict=True)}
        missing = [disk.id for disk in model.disks if disk.id not in paths]
        if missing:
            raise HypervisorError(
                f"cannot accept instance {model.name}: it runs with {', '.join(missing)}, which is not part of it any more"
            )
        return Order(
            runtime=arriving,
            disks={disk.id: paths[disk.id] for disk in model.disks},
            binary=binary,
            capabilities=capabilities,
            incoming=True,
        )

    def _require_accelerator(self, arriving: Runtime, binary: str) -> None:
        model = arriving.model
        if model.accelerator is not Accelerator.KVM:
            return
        _, capabilities = self._emulators.find(arriving.hvparams)
        chosen = self._emulators.choose_accelerator({**arriving.hvparams, "kvm_flag": ""}, binary, capabilities)
        if chosen is not Accelerator.KVM:
            raise HypervisorError(
                f"cannot accept instance {model.name}: it runs with KVM, and {self._emulators.note(arriving.hvparams)}"
            )

    def _listen(self, guest: Guest, address: str, port: int) -> str:
        host = f"[{address}]" if ":" in address else address
        # QEMU takes the first free port of the range itself: two that look for one at the same time do not collide.
        last = min(port + PORTS - 1, 65535)
        try:
            self._guests.execute(guest, "migrate-incoming", {"uri": f"tcp:{host}:{port},to={last}"})
        except HypervisorError as err:
            raise HypervisorError(
                f"cannot accept instance {guest.name}: QEMU cannot listen at {address}, ports {port} to {last}: {err.message}"
            ) from err
        places = self._guests.execute(guest, "query-migrate").get("socket-address", [])
        for place in places:
            if place.get("type") == "inet":
                return f"tcp:{host}:{place['port']}"
        raise HypervisorError(f"cannot accept instance {guest.name}: QEMU does not say at which port it listens")

    # --- both

    def _configure(self, guest: Guest, hv: Params) -> None:
        wanted = check.parse_migration_capabilities(hv)
        capabilities = [{"capability": name, "state": True} for name in dict.fromkeys((*ALWAYS, *wanted))]
        self._guests.execute(guest, "migrate-set-capabilities", {"capabilities": capabilities})
        parameters = {
            "max-bandwidth": hv["migration_bandwidth"] * MIB,
            "downtime-limit": hv["migration_downtime"],
        }
        if "postcopy-ram" in wanted:
            parameters["max-postcopy-bandwidth"] = hv["migration_bandwidth"] * MIB
        self._guests.execute(guest, "migrate-set-parameters", parameters)

    # --- source, during

    def migrate(self, instance: FilledInstance, uri: str, *, live: bool) -> None:
        """As `Migratable.migrate`."""
        name = instance.name
        hv = params.fill(layout.DEFAULTS, instance.hvparams)
        with self._guests.lock(name):
            guest = self._guests.require(name, "migrate")
            was_running = self._guests.refresh(guest) == "running"
            # For `finish_source`, which may be called by an agent that was not there when this began.
            runtime.save(guest.places.runtime, replace(self._load(guest), paused=not was_running))
            with Undo() as undo:
                self._configure(guest, hv)
                guest.monitor.postcopy = "postcopy-ram" in check.parse_migration_capabilities(hv)
                if was_running and not live:
                    self._guests.execute(guest, "stop")
                    undo.push(self._guests.execute, guest, "cont")
                self._guests.execute(guest, "migrate", {"uri": uri})
                undo.commit()

    def status(self, name: str) -> MigrationStatus:
        """As `Migratable.migration_status`. A source that is gone is a migration that failed."""
        guest = self._guests.find(name)
        try:
            if guest is not None:
                return describe_status(self._guests.execute(guest, "query-migrate"))
        except HypervisorError:
            if guest is not None and not guest.process.wait(END_SECONDS):
                raise
        return MigrationStatus("failed", error=f"instance {name} does not run on this node any more{self._quote(name)}")

    def cancel(self, name: str) -> None:
        """As `Migratable.migration_cancel`."""
        guest = self._guests.find(name)
        if guest is not None:
            self._guests.execute(guest, "migrate_cancel")

    # --- both, after

    def finish_source(self, name: str, *, success: bool) -> None:
        """As `Migratable.finish_source`."""
        with self._guests.lock(name):
            guest = self._guests.find(name)
            if guest is None:
                log.warning("instance %s: is gone already at the end of its migration%s", name, self._quote(name))
                self._launcher.clean(name, keep_mark=not success)
            elif success:
                self._leave(guest)
            else:
                self._go_on(guest)

    def _leave(self, guest: Guest) -> None:
        status = self._guests.execute(guest, "query-migrate").get("status", "none")
        if status != "completed":
            raise HypervisorError(
                f"instance {guest.name} is not ended on this node: its migration is not completed (QEMU says '{status}')"
            )
        self._launcher.end(guest)
        self._launcher.clean(guest.name)

    def _go_on(self, guest: Guest) -> None:
        status = self._guests.execute(guest, "query-migrate").get("status", "none")
        if status in SPLIT:
            raise HypervisorError(
                f"instance {guest.name} cannot go on here: part of its memory is at the target of its migration already"
                f" (QEMU says '{status}'); repair the connection between the nodes, or stop and start the instance"
            )
        if STATUSES.get(status) == "active" and status != "none":
            self._guests.execute(guest, "migrate_cancel")
            self._guests.wait(guest, lambda monitor: monitor.migration in ("cancelled", "failed", "completed"), CANCEL_SECONDS)
        known = runtime.load(guest.places.runtime)
        if self._guests.refresh(guest) != "running" and not (known is not None and known.paused):
            self._guests.execute(guest, "cont")
            log.info("instance %s: goes on after a migration that was not completed", guest.name)

    def finish_target(self, name: str, *, success: bool) -> None:
        """As `Migratable.finish_target`."""
        with self._guests.lock(name):
            guest = self._guests.find(name)
            if success:
                self._arrive(name, guest)
                return
            if guest is not None:
                self._launcher.end(guest)
            self._launcher.clean(name)

    def _arrive(self, name: str, guest: Guest | None) -> None:
        if guest is not None and not self._is_waiting(guest):
            self._guests.wait(guest, lambda monitor: monitor.run_state not in ("", "inmigrate"), ARRIVAL_SECONDS)
        if guest is None or not guest.process.is_alive():
            raise HypervisorError(f"instance {name} did not arrive: its QEMU on this node has ended{self._quote(name)}")
        if guest.is_arriving:
            raise HypervisorError(f"instance {name} did not arrive: its state has not been sent to this node completely")
        known = self._load(guest)
        if guest.monitor.run_state != "running" and not guest.is_halted and not known.paused:
            self._guests.execute(guest, "cont")
        if guest.monitor.run_state == "running":
            self._guests.execute(guest, "announce-self", ANNOUNCEMENT)
        runtime.save(guest.places.runtime, replace(known, arriving=False, paused=False))
        log.info("instance %s: has arrived", name)

    def _is_waiting(self, guest: Guest) -> bool:
        """Whether nothing has come yet."""
        if not guest.is_arriving:
            return False
        try:
            return self._guests.execute(guest, "query-migrate").get("status", "none") in ("none", "setup")
        except HypervisorError:
            if guest.process.wait(END_SECONDS):
                return False
            raise

    def _quote(self, name: str) -> str:
        return quote(self._places.of(name))


def describe_status(answer: dict[str, Any]) -> MigrationStatus:
    """The answer of ``query-migrate`` in the words of node calls."""
    ram = answer.get("ram", {})
    status = answer.get("status", "none")
    return MigrationStatus(
        status=STATUSES.get(status, "active"),
        transferred=ram.get("transferred", 0),
        remaining=ram.get("remaining", 0),
        total=ram.get("total", 0),
        downtime_ms=answer.get("downtime"),
        total_ms=answer.get("total-time"),
        expected_downtime_ms=answer.get("expected-downtime"),
        dirty_pages_rate=ram.get("dirty-pages-rate"),
        iterations=ram.get("dirty-sync-count", 0),
        error=answer.get("error-desc", "") or ("it was interrupted" if status == "postcopy-paused" else ""),
    )
