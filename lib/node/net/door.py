"""What hypervisors ask of this node's network: tap devices, and connecting them to the link of a NIC."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Protocol

from ganeti.model.enums import NicMode
from ganeti.model.filled import FilledNic


@dataclass(frozen=True)
class Tap:
    """A tap device and its open queues. It vanishes when the last copy of the last descriptor is closed.

    The descriptors belong to whoever got the object: give them to the emulator, then `close`.
    """

    name: str
    fds: tuple[int, ...]

    def close(self) -> None:
        """Close this process's copies."""
        for fd in self.fds:
            os.close(fd)


@dataclass(frozen=True)
class Port:
    """A NIC of a guest as scripts are told of it."""

    instance: str
    index: int
    nic: FilledNic
    tap: str
    tags: tuple[str, ...] = ()
    """The instance's tags."""


class Net(Protocol):
    """The network of this node. All methods block and raise `HypervisorError`."""

    def open_tap(self, name: str | None = None, queues: int = 1, *, vnet_hdr: bool = True) -> Tap:
        """Make a tap device (None: the kernel chooses a free name) with this many queues."""
        ...

    def connect(self, port: Port) -> None:
        """Bring a tap up and connect it as its NIC wants: to a bridge (with its MTU, in a VLAN), as a route, or by script."""
        ...

    def disconnect(self, port: Port) -> None:
        """Undo `connect`; a tap that is gone already is success."""
        ...

    def check_link(self, mode: NicMode, link: str) -> str:
        """Whether a NIC can be connected here: empty, or what is wrong (such as a bridge that does not exist)."""
        ...
