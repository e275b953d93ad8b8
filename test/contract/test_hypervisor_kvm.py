"""KVM keeps to the contract of all hypervisors: real QEMU processes, emulated guests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from contract.hypervisor import ContractNode, HypervisorContract

from ganeti.rpc.node.replies import RunState
from support.kvmnode import KvmNode, eventually, kvm_instance, kvm_node


def contract_node(node: KvmNode) -> ContractNode:
    def power_off(name: str) -> None:
        with node.serial(name) as serial:
            serial.count()
            serial.send("p")
            eventually(lambda: node.hypervisor.state(name).state is RunState.SHUTDOWN)

    return ContractNode(node.hypervisor, kvm_instance(), node.disks, power_off)


class TestKvm(HypervisorContract):
    # Each node has a disk of its own: the guest does not write, and QEMU does not let two use the same one.
    @pytest.fixture
    def node(self, tmp_path: Path) -> Iterator[ContractNode]:
        with kvm_node(tmp_path / "n1") as node:
            yield contract_node(node)

    @pytest.fixture
    def other(self, tmp_path: Path) -> Iterator[ContractNode]:
        with kvm_node(tmp_path / "n2") as node:
            yield contract_node(node)
