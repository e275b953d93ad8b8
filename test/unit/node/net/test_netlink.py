"""Real taps and bridges, in a network namespace of their own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ganeti.base import proc
from ganeti.base.codec import loads
from ganeti.base.errors import HypervisorError
from ganeti.base.paths import Paths
from ganeti.model.enums import NicMode
from ganeti.node.net.door import Port
from ganeti.node.net.memory import MemoryNet
from ganeti.node.net.netlink import LinuxNet
from support.filled import filled_nic
from support.namespaces import run_in_namespaces

pytestmark = pytest.mark.root


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(str(tmp_path), "node2")


def ip(*words: str) -> Any:
    output = proc.run(["ip", "-j", "-d", *words]).stdout
    return loads(output) if output.strip() else None


def link(name: str) -> Any:
    return ip("link", "show", name)[0]


def inside(paths: Paths, test: Callable[[LinuxNet], None]) -> None:
    """Run a test in a namespace with a bridge ``br0`` of MTU 1400."""

    def body() -> None:
        ip("link", "add", "br0", "mtu", "1400", "type", "bridge")
        ip("link", "set", "br0", "up")
        test(LinuxNet(paths, proc.run))

    run_in_namespaces(body)


def test_tap_joins_its_bridge_with_the_bridges_mtu(paths: Paths) -> None:
    def test(net: LinuxNet) -> None:
        tap = net.open_tap()
        port = Port("web", 0, filled_nic(), tap.name)
        net.connect(port)
        found = link(tap.name)
        assert (found["master"], found["mtu"], found["address"]) == ("br0", 1400, "fe:00:00:00:00:01")
        assert "UP" in found["flags"]
        assert Path(f"/proc/sys/net/ipv6/conf/{tap.name}/disable_ipv6").read_text() == "1\n"
        net.disconnect(port)
        assert "master" not in link(tap.name)
        assert "UP" not in link(tap.name)["flags"]
        tap.close()

    inside(paths, test)


def test_frames_cross_the_bridge(paths: Paths) -> None:
    def test(net: LinuxNet) -> None:
        taps = [net.open_tap(vnet_hdr=False) for _ in range(2)]
        ports = [Port("web", 0, filled_nic(mac=f"aa:00:00:00:00:0{number}"), tap.name) for number, tap in enumerate(taps)]
        for port in ports:
            net.connect(port)
        frame = b"\xff" * 6 + bytes.fromhex("aa0000000001") + b"\x88\xb5" + b"hello".ljust(50, b"\0")
        os.write(taps[0].fds[0], frame)
        os.set_blocking(taps[1].fds[0], True)
        seen = os.read(taps[1].fds[0], 2000)
        while seen[12:14] != b"\x88\xb5":
            seen = os.read(taps[1].fds[0], 2000)
        assert seen == frame

    inside(paths, test)


def test_tap_has_the_queues_and_headers_asked_for_and_vanishes_when_closed(paths: Paths) -> None:
    def test(net: LinuxNet) -> None:
        plain, several = net.open_tap("first", vnet_hdr=False), net.open_tap(queues=3)
        assert plain.name == "first"
        assert len(plain.fds) == 1 and len(several.fds) == 3
        first, second = link("first")["linkinfo"]["info_data"], link(several.name)["linkinfo"]["info_data"]
        assert (first["vnet_hdr"], first["multi_queue"], first["persist"]) == (False, False, False)
        assert (second["vnet_hdr"], second["multi_queue"], second["numqueues"]) == (True, True, 3)
        assert not any(os.get_inheritable(fd) for fd in (*plain.fds, *several.fds))
        plain.close()
        several.close()
        assert {found["ifname"] for found in ip("link")} == {"lo", "br0"}

    inside(paths, test)


def test_taps_get_names_of_their_own(paths: Paths) -> None:
    def test(net: LinuxNet) -> None:
        assert len({net.open_tap().name for _ in range(5)}) == 5

    inside(paths, test)


def test_name_in_use_is_refused(paths: Paths) -> None:
    def test(net: LinuxNet) -> None:
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(HypervisorError, match="cannot make tap device br0"):
            net.open_tap("br0")
        assert len(os.listdir("/proc/self/fd")) == before

    inside(paths, test)


def test_routed_nic_gets_a_route(paths: Paths) -> None:
    def test(net: LinuxNet) -> None:
        tap = net.open_tap()
        port = Port("web", 0, filled_nic(mode=NicMode.ROUTED, link="100", ip="192.0.2.7"), tap.name)
        for _ in range(2):
            net.connect(port)
        assert [(route["dst"], route["dev"]) for route in ip("route", "show", "table", "100")] == [("192.0.2.7", tap.name)]
        assert Path(f"/proc/sys/net/ipv4/conf/{tap.name}/proxy_arp").read_text() == "1\n"
        net.disconnect(port)
        assert not ip("route", "show", "table", "100")

    inside(paths, test)


def test_routed_nic_of_the_next_protocol_goes_to_the_main_table(paths: Paths) -> None:
    def test(net: LinuxNet) -> None:
        tap = net.open_tap()
        net.connect(Port("web", 0, filled_nic(mode=NicMode.ROUTED, link="main", ip="2001:db8::7"), tap.name))
        assert ("2001:db8::7", tap.name) in [(route["dst"], route.get("dev")) for route in ip("-6", "route")]

    inside(paths, test)


def test_nic_that_cannot_be_connected_says_why(paths: Paths) -> None:
    def test(net: LinuxNet) -> None:
        tap = net.open_tap()
        for nic, reason in (
            (filled_nic(link="br9"), "bridge br9 does not exist on this node"),
            (filled_nic(link="lo"), "device lo is not a bridge"),
            (filled_nic(vlan=".100"), "does not tell VLANs apart"),
            (filled_nic(vlan="x"), "is not a VLAN setting"),
            (filled_nic(mode=NicMode.ROUTED), "needs an address"),
            (filled_nic(mode=NicMode.EXT), "vif-custom is not there"),
            (filled_nic(mode=NicMode.OPENVSWITCH), "kvm-vif-bridge is not there"),
        ):
            with pytest.raises(HypervisorError, match=reason):
                net.connect(Port("web", 0, nic, tap.name))
        assert net.check_link(NicMode.BRIDGED, "br9") == "bridge br9 does not exist on this node"
        assert net.check_link(NicMode.BRIDGED, "br0") == net.check_link(NicMode.ROUTED, "100") == ""

    inside(paths, test)


def test_tap_that_is_gone_is_disconnected(paths: Paths) -> None:
    def test(net: LinuxNet) -> None:
        port = Port("web", 0, filled_nic(), "gnt77")
        net.disconnect(port)
        with pytest.raises(HypervisorError, match="device gnt77 does not exist"):
            net.connect(port)

    inside(paths, test)


def test_users_script_takes_our_place(paths: Paths, tmp_path: Path) -> None:
    def test(net: LinuxNet) -> None:
        tap = net.open_tap()
        port = Port("web", 0, filled_nic(link="br9"), tap.name)
        net.connect(port)
        net.disconnect(port)

    script = Path(paths.conf, "kvm-vif-bridge")
    script.parent.mkdir(parents=True)
    script.write_text(f'#!/bin/sh\necho "$ACTION $1 $INTERFACE $BRIDGE" >> {tmp_path}/seen\n')
    script.chmod(0o755)
    inside(paths, test)
    assert (tmp_path / "seen").read_text() == "up gnt0 gnt0 br9\ndown gnt0 gnt0 br9\n"


def test_failing_script_is_an_error(paths: Paths) -> None:
    def test(net: LinuxNet) -> None:
        with pytest.raises(HypervisorError, match="(?s)cannot bring NIC 0 .* up: .*no such luck"):
            net.connect(Port("web", 0, filled_nic(mode=NicMode.EXT), net.open_tap().name))

    script = Path(paths.conf, "vif-custom")
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/sh\necho no such luck; exit 1\n")
    script.chmod(0o755)
    inside(paths, test)


@pytest.mark.parametrize(("name", "queues"), [("x" * 16, 1), ("a/b", 1), ("a%d", 1), ("", 1), ("ok", 0), ("ok", 257)])
def test_impossible_wishes_are_refused_before_anything_is_made(paths: Paths, name: str, queues: int) -> None:
    with pytest.raises(HypervisorError, match="tap device"):
        LinuxNet(paths, proc.run).open_tap(name, queues)


def test_network_that_is_only_remembered_behaves_alike() -> None:
    net = MemoryNet(("br0",))
    tap = net.open_tap(queues=2)
    port = Port("web", 0, filled_nic(), tap.name)
    net.connect(port)
    assert net.ports == {tap.name: port}
    net.disconnect(port)
    net.disconnect(port)
    with pytest.raises(HypervisorError, match="bridge br9 does not exist"):
        net.connect(Port("web", 0, filled_nic(link="br9"), tap.name))
    tap.close()
