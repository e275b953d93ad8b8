"""The network of a real node: tap devices from the kernel's tun driver, everything else through netlink."""

from __future__ import annotations

import errno
import fcntl
import ipaddress
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ganeti.base.errors import CommandError, HypervisorError
from ganeti.base.paths import Paths
from ganeti.base.proc import Runner, clean_environment
from ganeti.model.enums import NicMode
from ganeti.node.net.door import Port, Tap
from ganeti.node.net.script import TIMEOUT, build_environment, find_script, script_path
from ganeti.node.net.vlan import Vlan, parse_vlan

# linux/if_tun.h
_TUNSETIFF = 0x400454CA
_IFF_TAP = 0x0002
_IFF_NO_PI = 0x1000
_IFF_VNET_HDR = 0x4000
_IFF_MULTI_QUEUE = 0x0100
_IFREQ = "16sH22x"

NAME_PATTERN = "gnt%d"
MAX_NAME = 15
MAX_QUEUES = 256

_GONE = (errno.ENODEV, errno.ENOENT)


class LinuxNet:
    """A `Net` over the kernel this process sees (its network namespace)."""

    def __init__(self, paths: Paths, runner: Runner) -> None:
        self._paths = paths
        self._runner = runner

    def open_tap(self, name: str | None = None, queues: int = 1, *, vnet_hdr: bool = True) -> Tap:
        if name is not None and (not name or len(name) > MAX_NAME or "/" in name or "%" in name):
            raise HypervisorError(f"'{name}' cannot be the name of a tap device (at most {MAX_NAME} characters)")
        if not 1 <= queues <= MAX_QUEUES:
            raise HypervisorError(f"a tap device has between 1 and {MAX_QUEUES} queues, not {queues}")
        flags = _IFF_TAP | _IFF_NO_PI | (_IFF_VNET_HDR if vnet_hdr else 0) | (_IFF_MULTI_QUEUE if queues > 1 else 0)
        fds: list[int] = []
        wanted = name or NAME_PATTERN
        try:
            for _ in range(queues):
                fds.append(os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK))
                answer = fcntl.ioctl(fds[-1], _TUNSETIFF, struct.pack(_IFREQ, wanted.encode(), flags))
                # All further queues belong to the device whose name the kernel chose for the first one.
                wanted = struct.unpack(_IFREQ, answer)[0].rstrip(b"\0").decode()
        except OSError as err:
            for fd in fds:
                os.close(fd)
            hint = "; the kernel needs the module tun" if err.errno in (errno.ENOENT, errno.ENODEV) else ""
            raise HypervisorError(f"cannot make tap device {wanted}: {err.strerror}{hint}") from err
        return Tap(wanted, tuple(fds))

    def connect(self, port: Port) -> None:
        script = find_script(self._paths, port.nic.mode)
        if script is not None:
            self._run(script, port, "up")
        elif port.nic.mode is NicMode.BRIDGED:
            self._join_bridge(port, parse_vlan(port.nic.vlan))
        elif port.nic.mode is NicMode.ROUTED:
            self._route(port)
        else:
            raise HypervisorError(f"cannot connect {_describe(port)}: {self.check_link(port.nic.mode, port.nic.link)}")

    def disconnect(self, port: Port) -> None:
        script = find_script(self._paths, port.nic.mode)
        if script is not None:
            self._run(script, port, "down")
            return
        with _netlink(f"disconnect {_describe(port)}", gone_is_fine=True) as route:
            for index in route.link_lookup(ifname=port.tap):
                # Routes vanish with the link going down.
                route.link("set", index=index, master=0, state="down")

    def check_link(self, mode: NicMode, link: str) -> str:
        if find_script(self._paths, mode) is not None or mode is NicMode.ROUTED:
            return ""
        if mode is NicMode.BRIDGED:
            with _netlink(f"look for bridge {link}") as route:
                return _bridge_problem(route, link)
        return f"NICs of mode {mode} are connected by a script, and {script_path(self._paths, mode)} is not there"

    def _join_bridge(self, port: Port, vlan: Vlan | None) -> None:
        with _netlink(f"connect {_describe(port)} to bridge {port.nic.link}") as route:
            problem = _bridge_problem(route, port.nic.link, vlan)
            if problem:
                raise HypervisorError(f"cannot connect {_describe(port)}: {problem}")
            bridge = route.get_links(route.link_lookup(ifname=port.nic.link)[0])[0]
            tap = _index(route, port.tap)
            # The host itself must not talk through this port.
            _set_sysctl(f"ipv6/conf/{port.tap}/disable_ipv6", "1")
            # Before it joins: a bridge takes over the smallest MTU of its ports.
            # The high address keeps the bridge from taking over this port's as its own, which would be that of a guest.
            route.link("set", index=tap, mtu=bridge.get_attr("IFLA_MTU"), address="fe" + port.nic.mac[2:])
            route.link("set", index=tap, master=bridge["index"], state="up")
            if vlan is not None:
                _set_vlan(route, tap, vlan)

    def _route(self, port: Port) -> None:
        ip = port.nic.ip
        if not ip:
            raise HypervisorError(f"cannot connect {_describe(port)}: a routed NIC needs an address")
        address = ipaddress.ip_address(ip)
        family = "ipv4" if address.version == 4 else "ipv6"
        with _netlink(f"route {ip} to {_describe(port)}") as route:
            tap = _index(route, port.tap)
            route.link("set", index=tap, state="up")
            _set_sysctl(f"{family}/conf/{port.tap}/{'proxy_arp' if family == 'ipv4' else 'proxy_ndp'}", "1")
            _set_sysctl(f"{family}/conf/{port.tap}/forwarding", "1")
            table = {"table": int(port.nic.link)} if port.nic.link.isdigit() else {}
            route.route("replace", dst=f"{ip}/{address.max_prefixlen}", oif=tap, **table)

    def _run(self, script: str, port: Port, action: str) -> None:
        environment = {**clean_environment(), **self._paths.environment(), **build_environment(port, action)}
        try:
            self._runner([script, port.tap], env=environment, timeout=TIMEOUT, merge_stderr=True)
        except CommandError as err:
            raise HypervisorError(f"cannot bring {_describe(port)} {action}: {err.message}") from err


def _describe(port: Port) -> str:
    return f"NIC {port.index} ({port.tap}) of instance {port.instance}"


@contextmanager
def _netlink(task: str, *, gone_is_fine: bool = False) -> Iterator[Any]:
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with IPRoute() as route:
            yield route
    except NetlinkError as err:
        if not (gone_is_fine and err.code in _GONE):
            raise HypervisorError(f"cannot {task}: {os.strerror(err.code)}") from err
    except OSError as err:
        raise HypervisorError(f"cannot {task}: {err}") from err


def _index(route: Any, name: str) -> int:
    found = route.link_lookup(ifname=name)
    if not found:
        raise HypervisorError(f"device {name} does not exist")
    return int(found[0])


def _bridge_problem(route: Any, name: str, vlan: Vlan | None = None) -> str:
    found = route.link_lookup(ifname=name)
    if not found:
        return f"bridge {name} does not exist on this node"
    info = route.get_links(found[0])[0].get_attr("IFLA_LINKINFO")
    if info is None or info.get_attr("IFLA_INFO_KIND") != "bridge":
        return f"device {name} is not a bridge"
    data = info.get_attr("IFLA_INFO_DATA")
    if vlan is not None and not (data and data.get_attr("IFLA_BR_VLAN_FILTERING")):
        return f"bridge {name} does not tell VLANs apart; switch it on with 'ip link set {name} type bridge vlan_filtering 1'"
    return ""


def _set_vlan(route: Any, tap: int, vlan: Vlan) -> None:
    if vlan.untagged != 1 and 1 not in vlan.tagged:
        # Every new port is in VLAN 1 (or whatever the bridge's default is) until it is taken out.
        route.vlan_filter("del", index=tap, vlan_info={"vid": 1})
    if vlan.untagged is not None:
        route.vlan_filter("add", index=tap, vlan_info={"vid": vlan.untagged, "flags": ["PVID", "UNTAGGED"]})
    for number in vlan.tagged:
        route.vlan_filter("add", index=tap, vlan_info={"vid": number})


def _set_sysctl(name: str, value: str) -> None:
    path = f"/proc/sys/net/{name}"
    try:
        with open(path, "w", encoding="ascii") as stream:
            stream.write(value)
    except FileNotFoundError:
        pass  # a kernel without this protocol has nothing to be set
    except OSError as err:
        raise HypervisorError(f"cannot set {path}: {err.strerror}") from err
