"""A network that is only remembered: for tests of hypervisors, which get descriptors of sockets in place of taps."""

from __future__ import annotations

import socket
import threading

from ganeti.base.errors import HypervisorError
from ganeti.model.enums import NicMode
from ganeti.node.net.door import Port, Tap


class MemoryNet:
    """A complete `Net` that touches no device. `ports` are those connected now, by tap."""

    def __init__(self, bridges: tuple[str, ...] = ("xen-br0",)) -> None:
        self.bridges = set(bridges)
        self.ports: dict[str, Port] = {}
        self._lock = threading.Lock()
        self._made = 0

    def open_tap(self, name: str | None = None, queues: int = 1, *, vnet_hdr: bool = True) -> Tap:
        with self._lock:
            chosen = name or f"gnt{self._made}"
            self._made += 1
        fds = []
        for _ in range(queues):
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            fds.append(ours.detach())
            theirs.close()
        return Tap(chosen, tuple(fds))

    def connect(self, port: Port) -> None:
        problem = self.check_link(port.nic.mode, port.nic.link)
        if problem:
            raise HypervisorError(f"cannot connect NIC {port.index} of instance {port.instance}: {problem}")
        with self._lock:
            self.ports[port.tap] = port

    def disconnect(self, port: Port) -> None:
        with self._lock:
            self.ports.pop(port.tap, None)

    def check_link(self, mode: NicMode, link: str) -> str:
        if mode is NicMode.BRIDGED and link not in self.bridges:
            return f"bridge {link} does not exist on this node"
        return ""
