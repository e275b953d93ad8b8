from __future__ import annotations

import socket

import pytest

from ganeti.base import net
from ganeti.base.codec import loads
from ganeti.base.errors import ExecError, PrereqError
from ganeti.base.net import InterfaceAddress
from ganeti.base.proc import run
from support.namespaces import run_in_namespaces


def test_addresses_resolve_to_themselves() -> None:
    assert net.resolve("127.0.0.1") == net.HostAddress("127.0.0.1", "127.0.0.1")
    assert net.resolve("localhost", socket.AF_INET).ip == "127.0.0.1"


@pytest.mark.parametrize("name", ["no-such-host.invalid", "", "a" * 300, "a..b"])
def test_unknown_name_is_an_error_with_its_code(name: str) -> None:
    with pytest.raises(PrereqError, match="cannot be resolved") as caught:
        net.resolve(name)
    assert caught.value.code == "resolver_error"


def test_listening_port_is_reachable_and_closed_port_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert net.is_reachable("127.0.0.1", port, 1)
        assert net.is_reachable("127.0.0.1", port, 1, source="127.0.0.2")
    assert not net.is_reachable("127.0.0.1", port, 1)
    assert net.is_reachable("127.0.0.1", port, 1, need_open=False)


def test_free_port_can_be_bound() -> None:
    for host in ("127.0.0.1", "::1"):
        port = net.free_port(host)
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as server:
            server.bind((host, port))


def test_loopback_is_among_own_addresses() -> None:
    assert InterfaceAddress("lo", "127.0.0.1", 8) in net.own_addresses()


def test_frames_have_the_form_of_the_standards() -> None:
    mac = bytes.fromhex("020000000001")
    assert split(net.build_gratuitous_arp(mac, "10.0.0.1", net.ARP_REQUEST), 6, 6, 2, 8, 6, 4, 6, 4) == (
        "ffffffffffff 020000000001 0806 0001080006040001 020000000001 0a000001 000000000000 0a000001"
    )
    assert split(net.build_gratuitous_arp(mac, "10.0.0.1", net.ARP_REPLY), 6, 6, 2, 8, 6, 4, 6, 4) == (
        "ffffffffffff 020000000001 0806 0001080006040002 020000000001 0a000001 ffffffffffff 0a000001"
    )
    assert split(net.build_neighbour_advertisement(mac, "fd00::1"), 4, 4, 16, 2, 6) == (
        "88000000 20000000 fd000000000000000000000000000001 0201 020000000001"
    )


def split(data: bytes, *lengths: int) -> str:
    """Fields of these lengths in hexadecimal digits; there must be nothing after the last."""
    fields = []
    for length in lengths:
        fields.append(data[:length].hex())
        data = data[length:]
    assert data == b""
    return " ".join(fields)


def make_link() -> str:
    """Two devices joined by a cable; returns the MAC address of the first."""
    run(["ip", "link", "add", "east", "type", "veth", "peer", "name", "west"])
    for name in ("lo", "east", "west"):
        run(["ip", "link", "set", name, "up"])
    found: str = loads(run(["ip", "-json", "link", "show", "east"]).stdout)[0]["address"]
    return found


def in_namespace_addresses() -> None:
    make_link()
    for ip, prefix in (("10.1.2.3", 24), ("fd00::3", 64)):
        for _ in range(2):
            net.add_address("east", ip, prefix)
        assert InterfaceAddress("east", ip, prefix) in net.own_addresses()
        for _ in range(2):
            net.remove_address("east", ip, prefix)
        assert ip not in [address.ip for address in net.own_addresses()]
    with pytest.raises(ExecError, match="cannot add address 10.1.2.3/24 on device nosuch: there is no such device"):
        net.add_address("nosuch", "10.1.2.3", 24)
    with pytest.raises(ExecError, match="cannot add address 10.1.2.3/99 on device east: "):
        net.add_address("east", "10.1.2.3", 99)
    with pytest.raises(ExecError, match="cannot announce address 10.1.2.3 on device nosuch: "):
        net.announce_address("nosuch", "10.1.2.3")


@pytest.mark.root
def test_addresses_come_and_go_and_repeating_does_no_harm() -> None:
    run_in_namespaces(in_namespace_addresses)


def in_namespace_announce() -> tuple[str, list[str]]:
    mac = make_link()
    frames = []
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003)) as link:
        link.bind(("west", 0x0003))
        link.settimeout(2)
        net.announce_address("east", "10.1.2.3")
        run(["ip", "address", "add", "fd00::3/64", "dev", "east", "nodad"])
        net.announce_address("east", "fd00::3")
        # The kernel talks on a new link too: pick ours.
        while len(frames) < 3:
            frame = link.recv(2000)
            if frame[12:14] == b"\x08\x06" or (frame[12:14] == b"\x86\xdd" and frame[54] == 136 and b"\xfd\x00" in frame[58:]):
                frames.append(frame.hex())
    return mac, frames


@pytest.mark.root
def test_neighbours_hear_the_announcement() -> None:
    mac, (request, reply, advertisement) = run_in_namespaces(in_namespace_announce)
    raw = mac.replace(":", "")
    assert request[:84] == net.build_gratuitous_arp(bytes.fromhex(raw), "10.1.2.3", net.ARP_REQUEST).hex()
    assert reply[:84] == net.build_gratuitous_arp(bytes.fromhex(raw), "10.1.2.3", net.ARP_REPLY).hex()
    assert advertisement[:24] == "333300000001" + raw
    assert advertisement[42:44] == "ff"  # hop limit
    assert advertisement[116:] == "20000000" + "fd00" + "0" * 27 + "3" + "0201" + raw
