"""What runs here, and what the node offers, without asking any guest: events have told already."""

from __future__ import annotations

import glob
import os

import psutil

from ganeti.base.files import read_optional
from ganeti.node.hypervisor.kvm import runtime
from ganeti.node.hypervisor.kvm.command import MIB
from ganeti.node.hypervisor.kvm.guests import Guest, Guests
from ganeti.node.hypervisor.kvm.places import Places
from ganeti.node.hypervisor.kvm.qmp import HALTED
from ganeti.rpc.node.replies import HypervisorInfo, InstanceState, RunState

RUNNING = frozenset({"", "running", "suspended"})
"""QEMU's run states of a guest that runs; "" is a process that lives but has not been reached yet."""


def describe(name: str, guests: Guests, places: Places) -> InstanceState:
    """The state of one guest."""
    guest = guests.find(name)
    if guest is None:
        is_off = os.path.exists(places.of(name).shutdown_mark)
        return InstanceState(name, RunState.SHUTDOWN if is_off else RunState.ABSENT)
    state = guest.monitor.run_state
    if state == HALTED:
        return InstanceState(name, RunState.SHUTDOWN)
    memory, vcpus = _size(guest)
    run_state = RunState.RUNNING if state in RUNNING else RunState.PAUSED
    return InstanceState(name, run_state, memory, vcpus, round(guest.process.cpu_seconds(), 3))


def describe_all(guests: Guests, places: Places) -> list[InstanceState]:
    """All guests that run here or have powered themselves off here."""
    found = (describe(name, guests, places) for name in places.known_guests())
    return [state for state in found if state.state is not RunState.ABSENT]


def _size(guest: Guest) -> tuple[int, int]:
    """Memory in MiB and number of processors: as QEMU said, else as it was started."""
    monitor = guest.monitor
    if monitor.memory is not None and monitor.vcpus is not None:
        return monitor.memory // MIB, monitor.vcpus
    known = runtime.load_readable(guest.places.runtime)
    return (known.model.memory, known.model.vcpus) if known is not None else (0, monitor.vcpus or 0)


def describe_node(guests: Guests, places: Places, version: str) -> HypervisorInfo:
    """Memory in MiB. What neither is free nor belongs to guests is the node's own."""
    memory = psutil.virtual_memory()
    living = (guests.find(name) for name in places.known_guests())
    used_by_guests = sum(guest.process.resident_bytes() for guest in living if guest is not None)
    return HypervisorInfo(
        memory_total=memory.total // MIB,
        memory_free=memory.available // MIB,
        memory_dom0=max(0, memory.total - memory.available - used_by_guests) // MIB,
        cpu_total=psutil.cpu_count() or 1,
        cpu_sockets=_count_sockets(),
        cpu_nodes=max(1, len(glob.glob("/sys/devices/system/node/node[0-9]*"))),
        version=version,
    )


def _count_sockets() -> int:
    files = glob.glob("/sys/devices/system/cpu/cpu[0-9]*/topology/physical_package_id")
    return max(1, len({read_optional(path) for path in files}))
