"""A node with the real KVM hypervisor below a directory, and an instance for it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from ganeti.base import proc
from ganeti.base.paths import Paths
from ganeti.model import parameters, params
from ganeti.model.enums import DiskTemplate, HypervisorKind
from ganeti.model.filled import FilledInstance
from ganeti.node.environment import HypervisorEnvironment
from ganeti.node.hypervisor.kvm import KvmHypervisor
from ganeti.node.hypervisor.kvm.guests import Guest
from ganeti.node.hypervisor.kvm.places import GuestPlaces, Places
from ganeti.node.net.door import Net
from ganeti.node.net.memory import MemoryNet
from support.doors import running_loop
from support.filled import filled_disk, filled_instance
from support.kvmguest import Serial, write_disk

QEMU = os.environ.get("TEST_QEMU", "/usr/bin/qemu-system-x86_64")
"""The environment may name another binary to run the tests with."""

HVPARAMS = {
    **params.defaults(parameters.HYPERVISOR[HypervisorKind.KVM]),
    "kernel_path": "",
    "kvm_path": QEMU,
    "kvm_flag": "disabled",
    "kvm_extra": "",
    "migration_downtime": 300,
}


def kvm_instance(name: str = "i0.example.com", **hvparams: Any) -> FilledInstance:
    """A guest with 32 MiB and one disk, emulated so that results do not depend on the machine."""
    return filled_instance(
        name,
        hypervisor=HypervisorKind.KVM,
        hvparams={**HVPARAMS, **hvparams},
        beparams={**params.defaults(parameters.BACKEND), "maxmem": 32, "minmem": 32},
        disks=(filled_disk(dev_type=DiskTemplate.SHAREDFILE),),
        disk_template=DiskTemplate.SHAREDFILE,
        network_port=11000,
    )


@dataclass
class KvmNode:
    """One node. `disk` may be shared with another one, to which guests migrate then."""

    paths: Paths
    disk: Path
    net: Net
    loop: asyncio.AbstractEventLoop
    hypervisor: KvmHypervisor
    agents: list[KvmHypervisor] = field(default_factory=list)

    @property
    def disks(self) -> list[str]:
        return [str(self.disk)]

    def start(self, instance: FilledInstance, **options: Any) -> None:
        self.hypervisor.start(instance, self.disks, **options)

    def files(self, name: str = "i0.example.com") -> GuestPlaces:
        return Places(self.paths).of(name)

    def serial(self, name: str = "i0.example.com") -> Serial:
        return Serial(self.files(name).serial)

    def guest(self, name: str = "i0.example.com") -> Guest:
        found = self.hypervisor._guests.find(name)
        assert found is not None
        return found

    def restart_agent(self) -> None:
        """The agent ends, and another one begins."""
        self.wait(self.hypervisor.close())
        self.hypervisor = KvmHypervisor(HypervisorEnvironment(self.paths, self.loop, proc.run, self.net))
        self.wait(self.hypervisor.open())

    def wait(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def leftovers(self) -> list[str]:
        """Files of guests that are not supposed to be there when none runs, and processes."""
        places = Places(self.paths)
        directories = (places.pid, places.uid, places.control, places.runtime, places.nic, places.chroot)
        files = [str(path) for directory in directories for path in Path(directory).rglob("*")]
        return files + [" ".join(words) for words in self.processes()]

    def processes(self) -> list[list[str]]:
        """Command lines of all QEMU processes of this node."""
        found = []
        for process in psutil.process_iter():
            try:
                words = process.cmdline()
            except psutil.Error:
                continue
            if any(self.paths.kvm in word for word in words) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(words)
        return found


@contextmanager
def kvm_node(root: Path, disk: Path | None = None, net: Net | None = None) -> Iterator[KvmNode]:
    """A node below `root`. At the end its guests are killed."""
    root.mkdir()
    if disk is None:
        disk = root / "disk0"
        write_disk(disk)
    paths = Paths(str(root), root.name)
    net = net or MemoryNet()
    with running_loop() as loop:
        hypervisor = KvmHypervisor(HypervisorEnvironment(paths, loop, proc.run, net))
        node = KvmNode(paths, disk, net, loop, hypervisor)
        node.wait(hypervisor.open())
        try:
            yield node
        finally:
            for name in Places(paths).known_guests():
                node.hypervisor.stop(name, timeout=0.0, force=True)
            node.wait(node.hypervisor.close())


def eventually(condition: Any, timeout: float = 30.0) -> None:
    """Wait for something that happens by itself."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
