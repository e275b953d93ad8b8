from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from ganeti.base.errors import HypervisorError
from ganeti.base.paths import Paths
from ganeti.model.enums import HypervisorKind
from ganeti.node.environment import HypervisorEnvironment
from ganeti.node.hypervisor import Hypervisors, create
from ganeti.node.hypervisor.fake import FakeHypervisor
from support.doors import open_doors


class ResidentFake(FakeHypervisor):
    """Remembers on which loop it was opened and closed."""

    def __init__(self, environment: HypervisorEnvironment) -> None:
        super().__init__(environment)
        self.opened: list[object] = []
        self.closed = 0

    async def open(self) -> None:
        self.opened.append(asyncio.get_running_loop())

    async def close(self) -> None:
        self.closed += 1


class BrokenFake(FakeHypervisor):
    async def open(self) -> None:
        raise HypervisorError("cannot find its guests")

    async def close(self) -> None:
        raise AssertionError("it was never opened")


@pytest.fixture
def doors(tmp_path: Path) -> Iterator[HypervisorEnvironment]:
    with open_doors(Paths(str(tmp_path), "node1")) as doors:
        yield doors


def test_one_object_of_each_kind_is_made(doors: HypervisorEnvironment) -> None:
    hypervisors = Hypervisors(doors)
    assert hypervisors.get("fake") is hypervisors.get("fake")
    assert hypervisors.get("fake").kind is HypervisorKind.FAKE


def test_unknown_hypervisor_is_an_error(doors: HypervisorEnvironment) -> None:
    with pytest.raises(HypervisorError, match="'vax' is not a hypervisor"):
        Hypervisors(doors).get("vax")
    with pytest.raises(HypervisorError, match="does not know hypervisor xen-pvm; it knows: fake, kvm"):
        create(HypervisorKind.XEN_PVM, doors)


def test_resident_hypervisor_is_opened_on_the_loop_once(doors: HypervisorEnvironment) -> None:
    hypervisors = Hypervisors(doors, make=lambda kind, environment: ResidentFake(environment))
    hypervisors.open(["fake"])
    found = hypervisors.get("fake")
    assert isinstance(found, ResidentFake)
    assert found.opened == [doors.loop]
    doors.wait(hypervisors.close(), 5, "closing")
    assert found.closed == 1


def test_hypervisor_that_fails_to_open_does_not_keep_the_agent_from_starting(doors: HypervisorEnvironment) -> None:
    hypervisors = Hypervisors(doors, make=lambda kind, environment: BrokenFake(environment))
    hypervisors.open(["fake", "vax"])
    with pytest.raises(HypervisorError, match="cannot find its guests"):
        hypervisors.get("fake")
    doors.wait(hypervisors.close(), 5, "closing")
