"""The fake hypervisor keeps to the contract of all hypervisors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from contract.hypervisor import ContractNode, HypervisorContract

from ganeti.base.paths import Paths
from ganeti.model.enums import HypervisorKind
from ganeti.node.hypervisor import create
from support.doors import open_doors
from support.filled import filled_disk, filled_instance


@contextmanager
def fake_node(root: Path) -> Iterator[ContractNode]:
    paths = Paths(str(root), root.name)
    disk = root / "disk0"
    root.mkdir()
    disk.touch()
    with open_doors(paths) as doors:
        node = ContractNode(
            hypervisor=create(HypervisorKind.FAKE, doors),
            instance=filled_instance(disks=(filled_disk(),)),
            disks=[str(disk)],
            power_off=lambda name: Path(paths.fake_hypervisor, f"{name}.poweroff").touch(),
        )
        yield node
        node.clean_up()


class TestFake(HypervisorContract):
    @pytest.fixture
    def node(self, tmp_path: Path) -> Iterator[ContractNode]:
        with fake_node(tmp_path / "node1") as node:
            yield node

    @pytest.fixture
    def other(self, tmp_path: Path) -> Iterator[ContractNode]:
        with fake_node(tmp_path / "node2") as node:
            yield node
