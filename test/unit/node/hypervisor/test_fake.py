"""What is particular about the fake hypervisor; what it has in common with others is in `test/contract`."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ganeti.base.errors import HypervisorError
from ganeti.base.paths import Paths
from ganeti.base.retry import wait_until
from ganeti.node.environment import HypervisorEnvironment
from ganeti.node.hypervisor.fake import FakeHypervisor
from ganeti.rpc.node.replies import RunState
from support.doors import open_doors
from support.filled import filled_instance

WEB = filled_instance("web")


@pytest.fixture
def doors(tmp_path: Path) -> Iterator[HypervisorEnvironment]:
    with open_doors(Paths(str(tmp_path / "node1"), "node1")) as doors:
        yield doors


@pytest.fixture
def fake(doors: HypervisorEnvironment) -> FakeHypervisor:
    return FakeHypervisor(doors)


@pytest.fixture
def other(tmp_path: Path) -> Iterator[FakeHypervisor]:
    with open_doors(Paths(str(tmp_path / "node2"), "node2")) as doors:
        yield FakeHypervisor(doors)


def settings(doors: HypervisorEnvironment, **values: Any) -> None:
    os.makedirs(doors.paths.fake_hypervisor, exist_ok=True)
    Path(doors.paths.fake_hypervisor, "settings.json").write_text(json.dumps(values))


def guest_file(doors: HypervisorEnvironment, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(doors.paths.fake_hypervisor, f"{name}.json").read_text())
    return found


def wait_for(fake: FakeHypervisor, status: str) -> None:
    wait_until(lambda: fake.migration_status("web").status == status, timeout=5, interval=0.005)


def test_memory_is_honoured(fake: FakeHypervisor, doors: HypervisorEnvironment) -> None:
    settings(doors, memory=100, cpus=4)
    assert (fake.info().memory_total, fake.info().memory_free, fake.info().cpu_total) == (100, 100, 4)
    fake.start(WEB, [])
    assert fake.info().memory_free == 36
    with pytest.raises(HypervisorError, match="needs 64 MiB of memory, but node node1 has 36 MiB free"):
        fake.start(replace(WEB, name="db"), [])
    assert [state.name for state in fake.states()] == ["web"]


def test_guest_outlives_the_agent(fake: FakeHypervisor, doors: HypervisorEnvironment) -> None:
    fake.start(WEB, [])
    assert FakeHypervisor(doors).state("web").state is RunState.RUNNING


def test_guest_that_powered_itself_off_may_be_started_again_and_uses_no_memory(
    fake: FakeHypervisor, doors: HypervisorEnvironment
) -> None:
    settings(doors, memory=64)
    fake.start(WEB, [])
    Path(doors.paths.fake_hypervisor, "web.poweroff").touch()
    assert fake.state("web").state is RunState.SHUTDOWN
    assert fake.info().memory_free == 64
    fake.start(WEB, [])
    assert fake.state("web").state is RunState.RUNNING


def test_reset_is_counted(fake: FakeHypervisor, doors: HypervisorEnvironment) -> None:
    fake.start(WEB, [])
    fake.reset(WEB)
    assert guest_file(doors, "web")["boots"] == 2


def test_failures_can_be_ordered(fake: FakeHypervisor, doors: HypervisorEnvironment) -> None:
    settings(doors, fail=["start"])
    with pytest.raises(HypervisorError, match=r"settings\.json of the fake hypervisor says"):
        fake.start(WEB, [])
    assert fake.states() == []


@pytest.mark.parametrize("name", ["../x", "a/b", "settings/../x"])
def test_guests_names_do_not_leave_the_directory(fake: FakeHypervisor, name: str) -> None:
    with pytest.raises(HypervisorError, match="not the name of an instance"):
        fake.start(replace(WEB, name=name), [])


def test_damaged_file_is_told(fake: FakeHypervisor, doors: HypervisorEnvironment) -> None:
    settings(doors)
    Path(doors.paths.fake_hypervisor, "web.json").write_text("{")
    with pytest.raises(HypervisorError, match="file of guest web is damaged"):
        fake.state("web")


def test_migration_carries_the_guests_state(
    fake: FakeHypervisor, other: FakeHypervisor, doors: HypervisorEnvironment, tmp_path: Path
) -> None:
    fake.start(WEB, [])
    fake.reset(WEB)
    uri = other.accept(WEB, ["/there"], fake.migration_info("web"), "127.0.0.1")
    fake.migrate(WEB, uri, live=True)
    wait_for(fake, "completed")
    other.finish_target("web", success=True)
    fake.finish_source("web", success=True)
    arrived = json.loads((tmp_path / "node2/var/run/ganeti/fake-hypervisor/web.json").read_text())
    assert (arrived["boots"], arrived["origin"], arrived["migrations"], arrived["disks"]) == (2, "node1", 1, ["/there"])


def test_progress_of_a_slow_migration_can_be_watched_and_it_can_be_cancelled(
    fake: FakeHypervisor, other: FakeHypervisor, doors: HypervisorEnvironment
) -> None:
    settings(doors, migration_mib_per_second=100)
    big = replace(WEB, beparams={**WEB.beparams, "maxmem": 1000})
    fake.start(big, [])
    uri = other.accept(big, [], fake.migration_info("web"), "127.0.0.1")
    fake.migrate(big, uri, live=True)
    assert fake.state("web").state is RunState.RUNNING
    wait_until(lambda: 0 < fake.migration_status("web").transferred < 1000 << 20, timeout=5, interval=0.005)
    with pytest.raises(HypervisorError, match="under way"):
        fake.migrate(big, uri, live=True)
    fake.migration_cancel("web")
    wait_for(fake, "cancelled")
    fake.finish_source("web", success=False)
    other.finish_target("web", success=False)
    assert fake.state("web").state is RunState.RUNNING
    assert other.states() == []


def test_sent_guest_does_not_run_at_the_source_any_more(fake: FakeHypervisor, other: FakeHypervisor) -> None:
    fake.start(WEB, [])
    fake.migrate(WEB, other.accept(WEB, [], fake.migration_info("web"), "127.0.0.1"), live=True)
    wait_for(fake, "completed")
    wait_until(lambda: fake.state("web").state is RunState.PAUSED, timeout=5, interval=0.005)
    fake.finish_source("web", success=False)
    assert fake.state("web").state is RunState.RUNNING


def test_interrupted_migration_is_forgotten_with_the_agent(fake: FakeHypervisor, doors: HypervisorEnvironment) -> None:
    settings(doors, migration_mib_per_second=1)
    fake.start(WEB, [])
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        fake.migrate(WEB, f"tcp:127.0.0.1:{nobody.getsockname()[1]}", live=True)
        restarted = FakeHypervisor(doors)
        with pytest.raises(HypervisorError, match="no migration of instance web"):
            restarted.migration_status("web")
        restarted.finish_source("web", success=False)
        assert restarted.state("web").state is RunState.RUNNING
        fake.migration_cancel("web")
        wait_for(fake, "cancelled")


def test_rubbish_sent_to_a_waiting_target_does_not_count(other: FakeHypervisor) -> None:
    uri = other.accept(WEB, [], '{"memory": 64}', "127.0.0.1")
    with socket.create_connection(("127.0.0.1", int(uri.rsplit(":", 1)[1])), 5) as link:
        link.sendall(b'{"name": "web"')
    with pytest.raises(HypervisorError, match="has not arrived"):
        other.finish_target("web", success=True)
    other.finish_target("web", success=False)
    assert other.states() == []


def test_unusable_facts_of_the_source_are_refused(other: FakeHypervisor) -> None:
    with pytest.raises(HypervisorError, match="something unusable"):
        other.accept(WEB, [], "rubbish", "127.0.0.1")
    assert other.states() == []


def test_unknown_parameter_is_not_valid(fake: FakeHypervisor) -> None:
    assert fake.validate({"migration_mode": "live"}) == ""
    assert "acpi" in fake.validate({"acpi": True})
