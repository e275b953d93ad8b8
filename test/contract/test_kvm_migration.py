"""Live migration between two nodes on this machine, with real QEMU processes and with whatever can go wrong."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ganeti.base.errors import HypervisorError
from ganeti.model.filled import FilledInstance
from ganeti.node.hypervisor.kvm import runtime
from ganeti.rpc.node.replies import MigrationStatus, RunState
from support.filled import filled_disk
from support.kvmguest import write_disk
from support.kvmnode import KvmNode, eventually, kvm_instance, kvm_node

NAME = "i0.example.com"
I0 = kvm_instance()
SLOW = kvm_instance(migration_bandwidth=1, migration_downtime=1)
HOME = "127.0.0.1"


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "shared"
    write_disk(path)
    return path


@pytest.fixture
def source(tmp_path: Path, disk: Path) -> Iterator[KvmNode]:
    with kvm_node(tmp_path / "n1", disk) as node:
        yield node


@pytest.fixture
def target(tmp_path: Path, disk: Path) -> Iterator[KvmNode]:
    with kvm_node(tmp_path / "n2", disk) as node:
        yield node


def state(node: KvmNode) -> RunState:
    return node.hypervisor.state(NAME).state


def begin(source: KvmNode, target: KvmNode, instance: FilledInstance = I0, *, live: bool = True) -> str:
    info = source.hypervisor.migration_info(instance.name)
    uri = target.hypervisor.accept(instance, target.disks, info, HOME)
    source.hypervisor.migrate(instance, uri, live=live)
    return uri


def wait_for_end(source: KvmNode) -> MigrationStatus:
    found: list[MigrationStatus] = []

    def is_over() -> bool:
        found[:] = [source.hypervisor.migration_status(NAME)]
        return found[0].status != "active"

    eventually(is_over)
    return found[0]


def finish(source: KvmNode, target: KvmNode) -> None:
    source.hypervisor.finish_source(NAME, success=True)
    target.hypervisor.finish_target(NAME, success=True)


def start_busy(node: KvmNode, instance: FilledInstance) -> None:
    """A guest that writes its memory faster than it can be sent."""
    node.start(instance)
    with node.serial() as serial:
        serial.count()
        serial.send("w")
        serial.count()


def wait_for_transfer(source: KvmNode) -> None:
    eventually(lambda: source.hypervisor.migration_status(NAME).transferred > 0)
    assert source.hypervisor.migration_status(NAME).status == "active"


def test_counting_guest_counts_on(source: KvmNode, target: KvmNode) -> None:
    source.start(I0)
    with source.serial() as serial:
        serial.count()
        begin(source, target)
        final = wait_for_end(source)
        before = int(re.findall(r"C=([0-9a-f]{8})", serial.drain())[-1], 16)
    with target.serial() as serial:
        after = serial.count()
    assert 0 < after - before < 50
    assert final.status == "completed" and final.error == ""
    assert final.downtime_ms is not None and 0 <= final.downtime_ms < 1000
    assert final.total >= 32 * 1024 * 1024
    finish(source, target)
    assert (state(source), state(target)) == (RunState.ABSENT, RunState.RUNNING)
    assert source.leftovers() == []
    known = runtime.load(target.files().runtime)
    assert known is not None and not known.arriving


def test_migration_survives_a_restart_of_both_agents(source: KvmNode, target: KvmNode) -> None:
    start_busy(source, SLOW)
    begin(source, target, SLOW)
    wait_for_transfer(source)
    source.restart_agent()
    target.restart_agent()
    assert source.hypervisor.migration_status(NAME).status == "active"
    execute(source, "migrate-set-parameters", {"max-bandwidth": 1 << 30, "downtime-limit": 1000})
    assert wait_for_end(source).status == "completed"
    finish(source, target)
    assert state(target) is RunState.RUNNING


def execute(node: KvmNode, command: str, arguments: dict[str, Any]) -> None:
    node.wait(node.guest().monitor.execute(command, arguments))


def test_dead_target_lets_the_guest_go_on_at_the_source(source: KvmNode, target: KvmNode) -> None:
    start_busy(source, SLOW)
    begin(source, target, SLOW)
    wait_for_transfer(source)
    os.kill(target.guest().process.pid, signal.SIGKILL)
    final = wait_for_end(source)
    assert final.status == "failed"
    source.hypervisor.finish_source(NAME, success=False)
    target.hypervisor.finish_target(NAME, success=False)
    assert (state(source), state(target)) == (RunState.RUNNING, RunState.ABSENT)
    with source.serial() as serial:
        assert serial.count() < serial.count()
    eventually(lambda: target.leftovers() == [])


def test_dead_source_is_a_failed_migration(source: KvmNode, target: KvmNode) -> None:
    start_busy(source, SLOW)
    begin(source, target, SLOW)
    wait_for_transfer(source)
    os.kill(source.guest().process.pid, signal.SIGKILL)
    final = wait_for_end(source)
    assert final.status == "failed" and "does not run on this node any more" in final.error
    with pytest.raises(HypervisorError, match="did not arrive"):
        target.hypervisor.finish_target(NAME, success=True)
    source.hypervisor.finish_source(NAME, success=False)
    target.hypervisor.finish_target(NAME, success=False)
    eventually(lambda: source.leftovers() == [] and target.leftovers() == [])


def test_cancelled_migration_leaves_the_guest_running(source: KvmNode, target: KvmNode) -> None:
    start_busy(source, SLOW)
    begin(source, target, SLOW)
    wait_for_transfer(source)
    source.hypervisor.migration_cancel(NAME)
    assert wait_for_end(source).status == "cancelled"
    source.hypervisor.finish_source(NAME, success=False)
    target.hypervisor.finish_target(NAME, success=False)
    assert (state(source), state(target)) == (RunState.RUNNING, RunState.ABSENT)
    begin(source, target)
    execute(source, "migrate-set-parameters", {"max-bandwidth": 1 << 30, "downtime-limit": 1000})
    assert wait_for_end(source).status == "completed"
    finish(source, target)


def test_source_gives_up_a_migration_that_is_under_way(source: KvmNode, target: KvmNode) -> None:
    start_busy(source, SLOW)
    begin(source, target, SLOW)
    wait_for_transfer(source)
    source.hypervisor.finish_source(NAME, success=False)
    assert source.hypervisor.migration_status(NAME).status == "cancelled"
    assert state(source) is RunState.RUNNING


def test_source_is_not_ended_before_the_migration_is_completed(source: KvmNode, target: KvmNode) -> None:
    start_busy(source, SLOW)
    begin(source, target, SLOW)
    wait_for_transfer(source)
    with pytest.raises(HypervisorError, match="not completed"):
        source.hypervisor.finish_source(NAME, success=True)
    assert state(source) is RunState.RUNNING


def test_guest_that_has_arrived_nowhere_goes_on_after_completion_too(source: KvmNode, target: KvmNode) -> None:
    source.start(I0)
    begin(source, target)
    assert wait_for_end(source).status == "completed"
    target.hypervisor.finish_target(NAME, success=False)  # the target node broke down just then
    source.hypervisor.finish_source(NAME, success=False)
    with source.serial() as serial:
        serial.count()
    assert state(source) is RunState.RUNNING


def test_stopped_for_a_migration_the_guest_runs_again_at_the_target(source: KvmNode, target: KvmNode) -> None:
    source.start(I0)
    begin(source, target, live=False)
    assert wait_for_end(source).status == "completed"
    finish(source, target)
    assert state(target) is RunState.RUNNING
    with target.serial() as serial:
        serial.count()


def test_stopped_for_a_migration_that_failed_the_guest_runs_again_at_the_source(source: KvmNode, target: KvmNode) -> None:
    start_busy(source, SLOW)
    begin(source, target, SLOW, live=False)
    assert state(source) is RunState.PAUSED
    os.kill(target.guest().process.pid, signal.SIGKILL)
    assert wait_for_end(source).status == "failed"
    source.hypervisor.finish_source(NAME, success=False)
    assert state(source) is RunState.RUNNING


def test_paused_guest_stays_paused(source: KvmNode, target: KvmNode) -> None:
    source.start(I0, paused=True)
    begin(source, target)
    assert wait_for_end(source).status == "completed"
    finish(source, target)
    assert state(target) is RunState.PAUSED


def test_guest_that_powers_itself_off_after_its_migration_is_seen_at_the_target(source: KvmNode, target: KvmNode) -> None:
    source.start(I0)
    with source.serial() as serial:
        serial.count()
    begin(source, target)
    wait_for_end(source)
    finish(source, target)
    with target.serial() as serial:
        serial.count()
        serial.send("p")
        eventually(lambda: state(target) is RunState.SHUTDOWN)


def test_migrations_at_the_same_time_use_different_ports(source: KvmNode, target: KvmNode, tmp_path: Path) -> None:
    uris = []
    for index in range(3):
        disk = tmp_path / f"more{index}"
        write_disk(disk)
        instance = kvm_instance(f"p{index}.example.com")
        source.hypervisor.start(instance, [str(disk)])
        info = source.hypervisor.migration_info(instance.name)
        uris.append(target.hypervisor.accept(instance, [str(disk)], info, HOME))
    assert len(set(uris)) == 3
    assert all(uri.startswith(f"tcp:{HOME}:8") for uri in uris)


def test_target_starts_the_machine_that_runs(source: KvmNode, target: KvmNode, tmp_path: Path) -> None:
    """Not the one that the configuration would give now, which may have more disks and other parameters."""
    source.start(I0)
    changed = replace(
        kvm_instance(disk_type="ide", machine_version="q35"),
        disks=(*I0.disks, filled_disk(uuid="d1111111-0000-4000-8000-000000000000")),
    )
    info = source.hypervisor.migration_info(NAME)
    uri = target.hypervisor.accept(changed, [*target.disks, str(tmp_path / "not there")], info, HOME)
    source.hypervisor.migrate(changed, uri, live=True)
    assert wait_for_end(source).status == "completed"
    finish(source, target)
    assert state(target) is RunState.RUNNING


def test_target_without_the_machine_type_says_so(source: KvmNode, target: KvmNode) -> None:
    source.start(I0)
    info = source.hypervisor.migration_info(NAME).replace("pc-i440fx-", "pc-i440fx-99.")
    with pytest.raises(HypervisorError, match=r"machine type pc-i440fx-99\..*does not have"):
        target.hypervisor.accept(I0, target.disks, info, HOME)
    assert target.leftovers() == []


def test_target_that_cannot_listen_leaves_nothing(source: KvmNode, target: KvmNode) -> None:
    source.start(I0)
    info = source.hypervisor.migration_info(NAME)
    with pytest.raises(HypervisorError, match=r"cannot listen at 192\.0\.2\.1"):
        target.hypervisor.accept(I0, target.disks, info, "192.0.2.1")
    eventually(lambda: target.leftovers() == [])


def test_state_of_another_instance_is_refused(source: KvmNode, target: KvmNode) -> None:
    source.start(I0)
    info = source.hypervisor.migration_info(NAME)
    with pytest.raises(HypervisorError, match=r"the state of i0\.example\.com"):
        target.hypervisor.accept(kvm_instance("i1.example.com"), target.disks, info, HOME)


@pytest.mark.parametrize("spoil", [lambda info: "", lambda info: "{}", lambda info: info.replace('"version":1', '"version":9')])
def test_unusable_state_is_refused(source: KvmNode, target: KvmNode, spoil: Callable[[str], str]) -> None:
    source.start(I0)
    info = source.hypervisor.migration_info(NAME)
    with pytest.raises(HypervisorError, match="cannot be understood"):
        target.hypervisor.accept(I0, target.disks, spoil(info), HOME)


@pytest.mark.parametrize("capabilities", ["xbzrle", "auto-converge", "xbzrle:auto-converge"])
def test_capabilities_are_used_on_both_sides(source: KvmNode, target: KvmNode, capabilities: str) -> None:
    instance = kvm_instance(migration_caps=capabilities)
    source.start(instance)
    begin(source, target, instance)
    assert wait_for_end(source).status == "completed"
    finish(source, target)


def test_postcopy_ends_a_migration_that_would_never_end(source: KvmNode, target: KvmNode) -> None:
    instance = kvm_instance(migration_caps="postcopy-ram", migration_bandwidth=1, migration_downtime=1)
    start_busy(source, instance)
    begin(source, target, instance)
    assert wait_for_end(source).status == "completed"
    seen = [event.data.get("status") for event in source.guest().monitor.events if event.name == "MIGRATION"]
    assert "postcopy-active" in seen
    finish(source, target)
    assert state(target) is RunState.RUNNING
