"""NICs of real QEMU processes on real taps and bridges, in a network namespace."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ganeti.base import proc
from ganeti.base.errors import HypervisorError
from ganeti.base.paths import Paths
from ganeti.model.filled import FilledInstance
from ganeti.node.hypervisor.kvm import runtime
from ganeti.node.net.netlink import LinuxNet
from ganeti.rpc.node.replies import RunState
from support.filled import filled_nic
from support.kvmnode import KvmNode, eventually, kvm_instance, kvm_node
from support.namespaces import run_in_namespaces

NAME = "i0.example.com"


def instance_with_nics(count: int, link: str = "br0", **hvparams: Any) -> FilledInstance:
    nics = [
        filled_nic(uuid=f"c{index:07x}-0000-4000-8000-000000000000", mac=f"aa:00:00:00:00:{index:02x}", link=link)
        for index in range(count)
    ]
    return replace(kvm_instance(**hvparams), nics=tuple(nics))


def taps() -> dict[str, str]:
    """Master of each tap of this namespace."""
    links = json.loads(proc.run(["ip", "-j", "-d", "link"]).stdout)
    return {link["ifname"]: link.get("master", "") for link in links if link.get("linkinfo", {}).get("info_kind") == "tun"}


def in_namespace(root: Path, work: Callable[[KvmNode], None]) -> None:
    def inside() -> None:
        proc.run(["ip", "link", "add", "br0", "type", "bridge"])
        proc.run(["ip", "link", "set", "br0", "up"])
        with kvm_node(root, net=LinuxNet(Paths(str(root), root.name), proc.run)) as node:
            work(node)

    run_in_namespaces(inside)


@pytest.mark.root
def test_nics_are_connected_while_the_guest_lives(tmp_path: Path) -> None:
    def work(node: KvmNode) -> None:
        node.start(instance_with_nics(2))
        found = taps()
        assert list(found.values()) == ["br0", "br0"]
        directory = Path(node.files().nic)
        assert {(directory / index).read_text().strip() for index in ("0", "1")} == set(found)
        node.hypervisor.stop(NAME, timeout=0.0, force=True)
        assert taps() == {}
        assert node.leftovers() == []

    in_namespace(tmp_path / "n1", work)


@pytest.mark.root
def test_guest_has_as_many_queues_as_asked(tmp_path: Path) -> None:
    def work(node: KvmNode) -> None:
        node.start(instance_with_nics(1, virtio_net_queues=2))
        pid = node.guest().process.pid
        tuns = [link for fd in os.listdir(f"/proc/{pid}/fd") if (link := os.readlink(f"/proc/{pid}/fd/{fd}")) == "/dev/net/tun"]
        assert len(tuns) == 2
        ours = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")]
        assert "/dev/net/tun" not in ours  # or the tap would outlive the guest

    in_namespace(tmp_path / "n1", work)


@pytest.mark.root
def test_start_without_the_bridge_leaves_nothing(tmp_path: Path) -> None:
    def work(node: KvmNode) -> None:
        with pytest.raises(HypervisorError, match="br1 does not exist"):
            node.start(instance_with_nics(1, link="br1"))
        assert taps() == {}
        assert node.leftovers() == []

    in_namespace(tmp_path / "n1", work)


@pytest.mark.root
def test_start_that_qemu_refuses_leaves_no_tap(tmp_path: Path) -> None:
    def work(node: KvmNode) -> None:
        with pytest.raises(HypervisorError, match="no-such-thing"):
            node.start(instance_with_nics(1, kvm_extra="-device no-such-thing"))
        assert taps() == {}
        assert node.leftovers() == []

    in_namespace(tmp_path / "n1", work)


@pytest.mark.root
def test_guest_that_powers_itself_off_leaves_no_tap(tmp_path: Path) -> None:
    def work(node: KvmNode) -> None:
        node.start(instance_with_nics(1))
        with node.serial() as serial:
            serial.count()
            serial.send("p")
            eventually(lambda: taps() == {})
        assert node.hypervisor.state(NAME).state is RunState.SHUTDOWN

    in_namespace(tmp_path / "n1", work)


@pytest.mark.root
def test_target_of_a_migration_has_taps_of_its_own(tmp_path: Path) -> None:
    def work(node: KvmNode) -> None:
        instance = instance_with_nics(1)
        node.start(instance)
        here = set(taps())
        net = LinuxNet(Paths(str(tmp_path / "n2"), "n2"), proc.run)
        with kvm_node(tmp_path / "n2", node.disk, net) as target:
            uri = target.hypervisor.accept(instance, target.disks, node.hypervisor.migration_info(NAME), "127.0.0.1")
            node.hypervisor.migrate(instance, uri, live=True)
            eventually(lambda: node.hypervisor.migration_status(NAME).status == "completed")
            node.hypervisor.finish_source(NAME, success=True)
            target.hypervisor.finish_target(NAME, success=True)
            there = taps()
            assert len(there) == 1 and set(there).isdisjoint(here) and list(there.values()) == ["br0"]
            known = runtime.load(target.files().runtime)
            assert known is not None and [port.tap for port in known.ports] == list(there)

    def with_loopback(node: KvmNode) -> None:
        proc.run(["ip", "link", "set", "lo", "up"])
        work(node)

    in_namespace(tmp_path / "n1", with_loopback)
