"""What devcluster asks of the product, and what it recognises of it."""

from __future__ import annotations

from pathlib import Path

from ganeti.tools.devcluster import product
from ganeti.tools.devcluster.machine import Process
from ganeti.tools.devcluster.plan import Plan


def make_plan(state: Path, hypervisor: str = "kvm") -> Plan:
    return Plan("demo", str(state), "10.1.2.0/24", 2, hypervisor)


def test_init_enables_what_the_machines_can_do(tmp_path: Path) -> None:
    argv = product.build_init(make_plan(tmp_path))
    assert argv[:3] == ["gnt-cluster", "init", "--enabled-hypervisors=kvm"] and argv[-1] == "cluster.demo"
    assert "kvm:kernel_path=,kvm_path=/usr/bin/qemu-system-x86_64" in argv
    assert "-H" not in product.build_init(make_plan(tmp_path, "fake"))


def test_daemons_are_named_once_with_their_first_process() -> None:
    members = [
        Process(70, "S", ("/v/bin/python", "-IS", "/v/bin/ganeti-masterd")),
        Process(40, "S", ("/v/bin/python", "-IS", "/v/bin/ganeti-noded", "-f")),
        Process(50, "S", ("/v/bin/python", "-IS", "/v/bin/ganeti-masterd")),
        Process(60, "S", ("vim", "/etc/x/y/z", "a", "ganeti-noded")),
    ]
    assert product.find_daemons(members) == {"noded": 40, "masterd": 50}


def test_guests_are_named_whatever_the_hypervisor(tmp_path: Path) -> None:
    node = make_plan(tmp_path).nodes[0]
    members = [
        Process(1, "S", ("/usr/bin/qemu-system-x86_64", "-S", "-name", "i0.demo,debug-threads=on")),
        Process(2, "S", ("qemu-system-x86_64", "-name", "guest=i1.demo")),
        Process(3, "S", ("qemu-system-x86_64", "-name")),
        Process(4, "S", ("sh", "-c", "x", "-name", "no")),
    ]
    assert product.find_guests(node, members) == ["i0.demo", "i1.demo"]
    folder = Path(node.paths.fake_hypervisor)
    folder.mkdir(parents=True)
    (folder / "i9.demo").touch()
    assert product.find_guests(node, []) == ["i9.demo"]


def test_host_outside_a_cluster_starts_no_daemons(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    product.start_daemons(plan, plan.nodes[0])  # it would fail: the node is off
