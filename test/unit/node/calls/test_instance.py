from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ganeti.base.errors import HypervisorError
from ganeti.base.paths import Paths
from ganeti.base.retry import wait_until
from ganeti.model.enums import HypervisorKind, RebootType
from ganeti.node.calls.instance import InstanceCalls
from ganeti.node.services import Services, build_services
from ganeti.rpc.node.replies import RunState
from support.doors import open_doors
from support.filled import filled_disk, filled_instance

WEB = filled_instance("web", disks=(filled_disk(),))


def make(root: Path) -> Iterator[Services]:
    with open_doors(Paths(str(root), root.name)) as doors:
        services = build_services(doors, 1811, lambda: None)
        root.mkdir(parents=True, exist_ok=True)
        (root / "disk").touch()
        services.links.make("web", 0, str(root / "disk"))
        yield services


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    yield from make(tmp_path / "node1")


@pytest.fixture
def target(tmp_path: Path) -> Iterator[InstanceCalls]:
    for services in make(tmp_path / "node2"):
        yield InstanceCalls(services)


@pytest.fixture
def calls(services: Services) -> InstanceCalls:
    return InstanceCalls(services)


def state(calls: InstanceCalls) -> RunState:
    return calls.instance_state("web", "fake").state


def test_instance_is_started_once_and_stopped(calls: InstanceCalls) -> None:
    calls.instance_start(WEB)
    calls.instance_start(WEB)
    assert state(calls) is RunState.RUNNING
    assert [one.name for one in calls.instance_states(["fake"])] == ["web"]
    calls.instance_stop("web", "fake", 0.0)
    calls.instance_stop("web", "fake", 0.0, True)
    assert state(calls) is RunState.ABSENT


def test_guest_that_powered_itself_off_is_started_again(calls: InstanceCalls, services: Services) -> None:
    calls.instance_start(WEB)
    Path(services.paths.fake_hypervisor, "web.poweroff").touch()
    assert state(calls) is RunState.SHUTDOWN
    calls.instance_start(WEB)
    assert state(calls) is RunState.RUNNING


def test_instance_without_its_disks_is_not_started(calls: InstanceCalls, services: Services) -> None:
    services.links.remove("web", 0)
    with pytest.raises(HypervisorError, match="disk/0 of instance web is not assembled"):
        calls.instance_start(WEB)
    assert state(calls) is RunState.ABSENT


def test_soft_reboot_resets_and_hard_reboot_starts_anew(calls: InstanceCalls, services: Services) -> None:
    calls.instance_start(WEB)
    calls.instance_reboot(WEB, RebootType.SOFT, 0.0)
    file = Path(services.paths.fake_hypervisor, "web.json")
    assert '"boots":2' in file.read_text()
    calls.instance_reboot(WEB, RebootType.HARD, 0.0)
    assert '"boots":1' in file.read_text()


def test_hard_reboot_without_disks_leaves_the_guest_running(calls: InstanceCalls, services: Services) -> None:
    calls.instance_start(WEB)
    services.links.remove("web", 0)
    with pytest.raises(HypervisorError, match="not assembled"):
        calls.instance_reboot(WEB, RebootType.HARD, 0.0)
    assert state(calls) is RunState.RUNNING


def test_instance_moves_with_all_steps_of_a_migration(calls: InstanceCalls, target: InstanceCalls) -> None:
    calls.instance_start(WEB)
    assert calls.instance_migratable(WEB) == ""
    uri = target.migration_accept(WEB, calls.migration_info(WEB), "127.0.0.1")
    calls.migration_start(WEB, uri, True)
    wait_until(lambda: calls.migration_status(WEB).status == "completed", timeout=5, interval=0.005)
    calls.migration_finish_source(WEB, True, "node2")
    target.migration_finish_target(WEB, True)
    assert (state(calls), state(target)) == (RunState.ABSENT, RunState.RUNNING)


def test_migration_can_be_cancelled(calls: InstanceCalls, target: InstanceCalls) -> None:
    calls.instance_start(WEB)
    calls.migration_start(WEB, target.migration_accept(WEB, calls.migration_info(WEB), "127.0.0.1"), True)
    calls.migration_cancel(WEB)
    wait_until(lambda: calls.migration_status(WEB).status != "active", timeout=5, interval=0.005)


def test_instance_that_does_not_run_cannot_be_migrated(calls: InstanceCalls) -> None:
    assert calls.instance_migratable(WEB) == "instance web does not run on node node1"


def test_unknown_hypervisor_is_an_error_that_says_so(calls: InstanceCalls) -> None:
    with pytest.raises(HypervisorError, match="does not know hypervisor lxc"):
        calls.instance_start(replace(WEB, hypervisor=HypervisorKind.LXC))


def test_parameters_are_judged(calls: InstanceCalls) -> None:
    assert calls.hypervisor_validate("fake", {"migration_mode": "live"}) == ""
    assert "acpi" in calls.hypervisor_validate("fake", {"acpi": True})


def test_console_names_this_node(calls: InstanceCalls) -> None:
    assert calls.instance_console(WEB).instance == "web"
