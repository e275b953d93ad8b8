"""Names, addresses and reachability.

`pyroute2` is imported inside the functions that talk to the kernel: it costs 100 ms, which no command should pay at its start.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ganeti.base.errors import ExecError, ResolverError

ARP_REQUEST, ARP_REPLY = 1, 2
_BROADCAST = b"\xff" * 6
_ALL_NODES = "ff02::1"


@dataclass(frozen=True)
class HostAddress:
    """A resolved name: the full name as the resolver knows it, and one address."""

    name: str
    ip: str


@dataclass(frozen=True)
class InterfaceAddress:
    """An address of this host, with the length of its network prefix."""

    device: str
    ip: str
    prefix: int


def resolve(name: str, family: int = socket.AF_UNSPEC) -> HostAddress:
    """Full name and first address of a host; `family` (such as `socket.AF_INET`) restricts the choice.

    Raises `ResolverError` (a `PrereqError`).
    """
    try:
        found = socket.getaddrinfo(name, None, family, socket.SOCK_STREAM, 0, socket.AI_CANONNAME)
    except (OSError, UnicodeError) as err:
        reason = getattr(err, "strerror", None) or err
        raise ResolverError(f"host name '{name}' cannot be resolved: {reason}; check DNS and /etc/hosts") from err
    return HostAddress(found[0][3] or name, str(found[0][4][0]))


def is_reachable(ip: str, port: int, timeout: float = 10.0, *, source: str | None = None, need_open: bool = True) -> bool:
    """Whether a TCP connection to the port succeeds within `timeout` seconds, from the address `source` if given.

    Without `need_open` a refusal counts too: somebody is there.
    """
    try:
        socket.create_connection((ip, port), timeout, (source, 0) if source else None).close()
    except ConnectionRefusedError:
        return not need_open
    except OSError:
        return False
    return True


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port of this host that nobody listens on now. Somebody else may take it before you do."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


# --- addresses of this host


def own_addresses() -> list[InterfaceAddress]:
    """All addresses of this host, those of the loopback device too."""
    with _netlink("list the addresses of this host") as route:
        names = {link["index"]: str(link.get_attr("IFLA_IFNAME")) for link in route.get_links()}
        found = []
        for entry in route.get_addr():
            # On a point-to-point link IFA_ADDRESS is the other end.
            ip = str(entry.get_attr("IFA_LOCAL") or entry.get_attr("IFA_ADDRESS"))
            found.append(InterfaceAddress(names.get(entry["index"], "?"), ip, int(entry["prefixlen"])))
        return found


def add_address(device: str, ip: str, prefix: int) -> None:
    """Give a device an address; nothing happens if it has it. Raises `ExecError`."""
    _change_address("add", device, ip, prefix)


def remove_address(device: str, ip: str, prefix: int) -> None:
    """Take an address from a device; nothing happens if it does not have it. Raises `ExecError`."""
    _change_address("del", device, ip, prefix)


def _change_address(command: str, device: str, ip: str, prefix: int) -> None:
    task = f"{'add address' if command == 'add' else 'remove address'} {ip}/{prefix} on device {device}"
    settled = errno.EEXIST if command == "add" else errno.EADDRNOTAVAIL
    with _netlink(task, settled) as route:
        found = route.link_lookup(ifname=device)
        if not found:
            raise ExecError(f"cannot {task}: there is no such device")
        route.addr(command, index=found[0], address=ip, prefixlen=prefix)


@contextmanager
def _netlink(task: str, settled: int | None = None) -> Iterator[Any]:
    """A connection to the kernel; the error number `settled` means that there was nothing left to do."""
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with IPRoute() as route:
            yield route
    except NetlinkError as err:
        if err.code != settled:
            raise ExecError(f"cannot {task}: {os.strerror(err.code)}") from err
    except OSError as err:
        raise ExecError(f"cannot {task}: {err}") from err


# --- announcing


def announce_address(device: str, ip: str, count: int = 1) -> None:
    """Tell the neighbours that this address now lives behind this device, `count` times.

    Gratuitous ARP (RFC 5227 section 3) as request and as reply, since hosts differ in which one they heed; for IPv6 an
    unsolicited neighbour advertisement (RFC 4861 section 7.2.6). Raises `ExecError`.
    """
    try:
        for _ in range(count):
            if ipaddress.ip_address(ip).version == 4:
                _announce4(device, ip)
            else:
                _announce6(device, ip)
    except OSError as err:
        raise ExecError(f"cannot announce address {ip} on device {device}: {err}") from err


def _announce4(device: str, ip: str) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as link:
        link.bind((device, 0))
        mac = link.getsockname()[4]
        for operation in (ARP_REQUEST, ARP_REPLY):
            link.send(build_gratuitous_arp(mac, ip, operation))


def _announce6(device: str, ip: str) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as link:
        link.bind((device, 0))
        mac = link.getsockname()[4]
    index = socket.if_nametoindex(device)
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as link:
        # Receivers drop advertisements that may have come through a router.
        link.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        link.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        link.sendto(build_neighbour_advertisement(mac, ip), (_ALL_NODES, 0, 0, index))


def build_gratuitous_arp(mac: bytes, ip: str, operation: int) -> bytes:
    """The Ethernet frame of a gratuitous ARP (RFC 826): sender and target address are the same."""
    address = socket.inet_aton(ip)
    target = _BROADCAST if operation == ARP_REPLY else bytes(6)
    header = _BROADCAST + mac + b"\x08\x06"
    return header + struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + mac + address + target + address


def build_neighbour_advertisement(mac: bytes, ip: str) -> bytes:
    """The ICMPv6 message (RFC 4861 section 4.4), override flag set, with the link-layer address; the kernel adds the checksum."""
    override = 0x20000000
    option = struct.pack("!BB", 2, 1) + mac
    return struct.pack("!BBHI", 136, 0, 0, override) + socket.inet_pton(socket.AF_INET6, ip) + option
