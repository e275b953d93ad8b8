"""A real address on a real device, in a network namespace of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ganeti.base import net, proc
from ganeti.base.errors import ExecError
from ganeti.base.paths import Paths
from ganeti.node import master_address
from ganeti.node.scripts import Scripts
from ganeti.rpc.node.node import MasterAddress
from support.namespaces import run_in_namespaces

ADDRESS = MasterAddress("192.0.2.250", "eth0", 24, 2)


def own() -> list[tuple[str, str]]:
    return [(found.device, found.ip) for found in net.own_addresses()]


def inside(test: Callable[[Paths, Scripts], None], root: Path) -> None:
    def body() -> None:
        proc.run(["ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth1"])
        proc.run(["ip", "link", "set", "eth0", "up"])
        test(Paths(str(root), "node1"), Scripts())

    run_in_namespaces(body)


@pytest.mark.root
def test_address_comes_and_goes_and_both_may_be_repeated(tmp_path: Path) -> None:
    def test(paths: Paths, scripts: Scripts) -> None:
        for _ in range(2):
            master_address.start(paths, scripts, ADDRESS)
            assert ("eth0", "192.0.2.250") in own()
        for _ in range(2):
            master_address.stop(paths, scripts, ADDRESS)
            assert ("eth0", "192.0.2.250") not in own()

    inside(test, tmp_path)


@pytest.mark.root
def test_address_is_taken_from_wherever_it_is(tmp_path: Path) -> None:
    def test(paths: Paths, scripts: Scripts) -> None:
        net.add_address("lo", ADDRESS.ip, 32)
        master_address.stop(paths, scripts, ADDRESS)
        assert own() == []

    inside(test, tmp_path)


@pytest.mark.root
def test_missing_device_is_told(tmp_path: Path) -> None:
    def test(paths: Paths, scripts: Scripts) -> None:
        with pytest.raises(ExecError, match="eth9: there is no such device"):
            master_address.start(paths, scripts, MasterAddress("192.0.2.250", "eth9", 24, 2))

    inside(test, tmp_path)


def external(paths: Paths, body: str, place: str = "scripts/master-ip-setup") -> MasterAddress:
    script = Path(paths.conf, place)
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/sh\n" + body)
    script.chmod(0o755)
    return MasterAddress("2001:db8::1", "eth0", 64, 10, external_script=True)


@pytest.mark.parametrize("place", ["scripts/master-ip-setup", "master-ip-setup"])
def test_operators_script_takes_our_place(tmp_path: Path, place: str) -> None:
    paths = Paths(str(tmp_path), "node1")
    body = f'echo "$1 $MASTER_NETDEV $MASTER_IP $MASTER_NETMASK $CLUSTER_IP_VERSION" >> {tmp_path}/seen'
    address = external(paths, body, place)
    master_address.start(paths, Scripts(), address)
    master_address.stop(paths, Scripts(), address)
    assert (tmp_path / "seen").read_text() == "start eth0 2001:db8::1 64 6\nstop eth0 2001:db8::1 64 6\n"


def test_failing_or_missing_script_is_an_error(tmp_path: Path) -> None:
    paths = Paths(str(tmp_path), "node1")
    address = external(paths, "echo no; exit 3")
    with pytest.raises(ExecError, match=r"master-ip-setup start failed \(exit status 3\): no"):
        master_address.start(paths, Scripts(), address)
    Path(paths.conf, "scripts/master-ip-setup").unlink()
    with pytest.raises(ExecError, match="is not there or not executable"):
        master_address.start(paths, Scripts(), address)
