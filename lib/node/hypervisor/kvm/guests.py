"""The living guests of this node: their processes, and the connections to them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ganeti.base.errors import HypervisorError
from ganeti.node.environment import HypervisorEnvironment
from ganeti.node.hypervisor.kvm import runtime
from ganeti.node.hypervisor.kvm.places import GuestPlaces, Places
from ganeti.node.hypervisor.kvm.process import GuestProcess
from ganeti.node.hypervisor.kvm.qmp import COMMAND_SECONDS, HALTED, Monitor, Watcher

log = logging.getLogger(__name__)

SLACK_SECONDS = 5.0
"""How much longer a thread waits for the loop than the loop waits for QEMU."""

READY_SECONDS = 240.0
"""Until a new QEMU answers; one that has to fill huge pages first takes its time."""


@dataclass(frozen=True, eq=False)
class Guest:
    """A living guest."""

    places: GuestPlaces
    process: GuestProcess
    monitor: Monitor

    @property
    def name(self) -> str:
        return self.places.name

    @property
    def is_halted(self) -> bool:
        """Whether it has powered itself off and only its process is left."""
        return self.monitor.run_state == HALTED

    @property
    def is_arriving(self) -> bool:
        """Whether it waits for its state from another node."""
        return self.monitor.run_state == "inmigrate"


class Guests:
    """Finds guests, and talks to them for threads. Every method but `close` is for any thread except the loop's."""

    def __init__(self, environment: HypervisorEnvironment, places: Places, watcher: Watcher) -> None:
        self._environment = environment
        self._places = places
        self._watcher = watcher
        self._guests: dict[str, Guest] = {}
        self._monitors: set[Monitor] = set()
        self._locks: dict[str, threading.Lock] = {}
        self._mutex = threading.Lock()

    def lock(self, name: str) -> threading.Lock:
        """Held by whoever changes a guest."""
        with self._mutex:
            return self._locks.setdefault(name, threading.Lock())

    def find(self, name: str) -> Guest | None:
        """The living guest of this name; one that a former agent started is adopted."""
        with self._mutex:
            known = self._guests.get(name)
            if known is not None and known.process.is_alive():
                return known
            places = self._places.of(name)
            known_runtime = runtime.load_readable(places.runtime)
            process = GuestProcess.find(places, known_runtime.model.uuid if known_runtime is not None else None)
            if process is None:
                return None
            log.info("instance %s: found running as process %s", name, process.pid)
            return self._add(places, process)

    def require(self, name: str, task: str) -> Guest:
        """As `find`, but `HypervisorError` if it does not run here; `task` says what cannot be done then."""
        guest = self.find(name)
        if guest is None or guest.is_halted:
            raise HypervisorError(f"cannot {task} instance {name}: it does not run on this node")
        return guest

    def add(self, places: GuestPlaces, process: GuestProcess) -> Guest:
        """A guest whose process was just started; waits until it answers.

        Raises `HypervisorError` if it does not; ending the process is then up to the caller.
        """
        with self._mutex:
            guest = self._add(places, process)
        self.wait(guest, lambda monitor: monitor.is_connected and monitor.vcpus is not None, READY_SECONDS)
        if guest.monitor.is_connected:
            return guest
        self.forget(guest)
        raise HypervisorError(
            "QEMU has ended at once" if guest.monitor.ended else f"QEMU did not answer within {READY_SECONDS:g} s"
        )

    def _add(self, places: GuestPlaces, process: GuestProcess) -> Guest:
        monitor = Monitor(places.name, places.qmp, process.is_alive, self._watcher)
        self._monitors = {known for known in self._monitors if not known.ended} | {monitor}
        guest = self._guests[places.name] = Guest(places, process, monitor)
        self._environment.loop.call_soon_threadsafe(monitor.start)
        return guest

    def forget(self, guest: Guest) -> None:
        """The process has ended, and so has everything kept for it."""
        with self._mutex:
            if self._guests.get(guest.name) is guest:
                del self._guests[guest.name]

    def wait(self, guest: Guest, condition: Callable[[Monitor], bool], seconds: float) -> bool:
        """Wait until the condition holds, the guest's process has ended or the time has passed; whether it holds."""
        work = guest.monitor.wait_until(condition, seconds)
        return self._environment.wait(work, seconds + SLACK_SECONDS, f"instance {guest.name}")

    def execute(
        self, guest: Guest, command: str, arguments: Mapping[str, Any] | None = None, seconds: float = COMMAND_SECONDS
    ) -> Any:
        """Run a QMP command and return its answer. Raises `HypervisorError`."""
        work = guest.monitor.execute(command, arguments, seconds)
        return self._environment.wait(work, seconds + SLACK_SECONDS, f"QEMU of instance {guest.name}")

    def refresh(self, guest: Guest) -> str:
        """The guest's run state, asked for just now. Raises `HypervisorError`."""
        return self._environment.wait(guest.monitor.refresh(), COMMAND_SECONDS + SLACK_SECONDS, f"QEMU of instance {guest.name}")

    async def close(self) -> None:
        """Let go of all guests; they live on."""
        self._guests = {}
        for monitor in self._monitors:
            await monitor.close()
