"""What every hypervisor keeps to. For each one there is a test module with a subclass that provides the fixtures below:

    class TestFake(HypervisorContract):
        @pytest.fixture
        def node(self, tmp_path) -> Iterator[ContractNode]: ...

`node` is a node of its own with the hypervisor under test; `other` a second one to which guests can migrate (leave it out, and
set `migratable = False`, for hypervisors that cannot). Each test gets fresh ones and leaves no guest behind.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import pytest

from ganeti.base.errors import HypervisorError
from ganeti.base.retry import wait_until
from ganeti.model.filled import FilledInstance
from ganeti.node.hypervisor.base import Hypervisor, Migratable
from ganeti.rpc.node.replies import InstanceState, RunState

PATIENCE = 60.0
"""Seconds for anything a guest has to do by itself."""


class PowerOff(Protocol):
    def __call__(self, name: str) -> None:
        """Make the guest power itself off, from inside."""
        ...


@dataclass(frozen=True)
class ContractNode:
    """One node for the contract."""

    hypervisor: Hypervisor
    instance: FilledInstance
    """A guest that can be started here, with little memory and, if the hypervisor can, one disk."""
    disks: Sequence[str]
    """Where its disks are found on this node."""
    power_off: PowerOff
    address: str = "127.0.0.1"
    """At which it accepts migrations."""

    def start(self, *, paused: bool = False) -> None:
        self.hypervisor.start(self.instance, self.disks, paused=paused)

    def state(self) -> RunState:
        return self.hypervisor.state(self.instance.name).state

    def wait_for(self, wanted: RunState) -> None:
        wait_until(lambda: self.state() is wanted, timeout=PATIENCE, interval=0.02, what=f"the guest to be {wanted}")

    def clean_up(self) -> None:
        for state in self.hypervisor.states():
            self.hypervisor.stop(state.name, timeout=0.0, force=True)


class HypervisorContract:
    """The tests."""

    migratable = True

    # --- start and stop
    def test_started_instance_runs(self, node: ContractNode) -> None:
        node.start()
        found = node.hypervisor.state(node.instance.name)
        assert found.state is RunState.RUNNING
        assert found.memory == node.instance.beparams["maxmem"]
        assert found.vcpus == node.instance.beparams["vcpus"]

    def test_instance_can_be_started_paused(self, node: ContractNode) -> None:
        node.start(paused=True)
        assert node.state() is RunState.PAUSED

    def test_running_instance_is_not_started_twice(self, node: ContractNode) -> None:
        node.start()
        with pytest.raises(HypervisorError, match=node.instance.name):
            node.start()
        assert node.state() is RunState.RUNNING

    def test_failed_start_leaves_nothing(self, node: ContractNode) -> None:
        if not node.disks:
            pytest.fail("the contract needs a guest with a disk")
        with pytest.raises(HypervisorError, match=node.instance.name):
            node.hypervisor.start(node.instance, ["/nonexistent/disk"] * len(node.disks))
        assert node.state() is RunState.ABSENT
        assert node.hypervisor.states() == []
        node.start()
        assert node.state() is RunState.RUNNING

    def test_forced_stop_is_quick_and_leaves_nothing(self, node: ContractNode) -> None:
        node.start()
        begun = time.monotonic()
        node.hypervisor.stop(node.instance.name, timeout=600.0, force=True)
        assert time.monotonic() - begun < PATIENCE
        assert node.state() is RunState.ABSENT
        assert node.hypervisor.states() == []

    def test_stop_ends_the_guest_after_its_time(self, node: ContractNode) -> None:
        node.start()
        node.hypervisor.stop(node.instance.name, timeout=0.2)
        assert node.state() is RunState.ABSENT

    def test_stop_of_an_absent_guest_is_success(self, node: ContractNode) -> None:
        node.hypervisor.stop(node.instance.name, timeout=1.0)
        node.hypervisor.stop(node.instance.name, timeout=1.0, force=True)

    def test_stopped_instance_can_be_started_again(self, node: ContractNode) -> None:
        node.start()
        node.hypervisor.stop(node.instance.name, timeout=0.0, force=True)
        node.start()
        assert node.state() is RunState.RUNNING

    def test_reset_keeps_the_instance_running(self, node: ContractNode) -> None:
        node.start()
        node.hypervisor.reset(node.instance)
        assert node.state() is RunState.RUNNING

    def test_absent_instance_cannot_be_reset(self, node: ContractNode) -> None:
        with pytest.raises(HypervisorError, match=node.instance.name):
            node.hypervisor.reset(node.instance)

    # --- what it tells
    def test_absent_instance_is_absent(self, node: ContractNode) -> None:
        assert node.hypervisor.state("nobody.example.com") == InstanceState("nobody.example.com", RunState.ABSENT)

    def test_guest_that_powered_itself_off_is_seen_and_can_be_cleaned_up(self, node: ContractNode) -> None:
        node.start()
        node.power_off(node.instance.name)
        node.wait_for(RunState.SHUTDOWN)
        assert [state.state for state in node.hypervisor.states()] == [RunState.SHUTDOWN]
        node.hypervisor.stop(node.instance.name, timeout=0.0)
        assert node.state() is RunState.ABSENT

    def test_all_guests_are_listed(self, node: ContractNode) -> None:
        assert node.hypervisor.states() == []
        node.start()
        assert [(state.name, state.state) for state in node.hypervisor.states()] == [(node.instance.name, RunState.RUNNING)]

    def test_node_has_memory_and_processors(self, node: ContractNode) -> None:
        info = node.hypervisor.info()
        assert 0 < info.memory_free <= info.memory_total
        assert info.cpu_total >= 1
        assert info.version

    def test_hypervisor_works_here(self, node: ContractNode) -> None:
        text = node.hypervisor.verify()
        assert text == "" or text.startswith("note: ")

    def test_own_parameters_are_valid(self, node: ContractNode) -> None:
        assert node.hypervisor.validate(node.instance.hvparams) == ""

    def test_console_names_the_instance(self, node: ContractNode) -> None:
        node.start()
        console = node.hypervisor.console(node.instance, "node1.example.com")
        assert console.instance == node.instance.name
        assert console.kind in ("ssh", "vnc", "spice", "msg")

    def test_looking_does_not_wait_for_a_change(self, node: ContractNode) -> None:
        """State may be asked for, by other threads, while a guest is being stopped."""
        import threading

        node.start()
        thread = threading.Thread(target=node.hypervisor.stop, args=(node.instance.name,), kwargs={"timeout": 3.0})
        thread.start()
        begun = time.monotonic()
        node.hypervisor.state(node.instance.name)
        node.hypervisor.states()
        assert time.monotonic() - begun < 2.0
        thread.join()

    # --- migration
    def migrate(self, node: ContractNode, other: ContractNode) -> Migratable:
        """All steps up to the transfer's end, as the operation does them."""
        source, target = node.hypervisor, other.hypervisor
        assert isinstance(source, Migratable)
        assert isinstance(target, Migratable)
        info = source.migration_info(node.instance.name)
        uri = target.accept(other.instance, other.disks, info, other.address)
        source.migrate(node.instance, uri, live=True)
        return source

    def wait_for_end(self, source: Migratable, name: str) -> str:
        status = ""

        def is_over() -> bool:
            nonlocal status
            status = source.migration_status(name).status
            return status != "active"

        wait_until(is_over, timeout=PATIENCE, interval=0.02, what="the migration to end")
        return status

    def test_ability_to_migrate_is_as_declared(self, node: ContractNode) -> None:
        assert isinstance(node.hypervisor, Migratable) is self.migratable

    def test_migrated_instance_runs_on_the_other_node_only(self, node: ContractNode, other: ContractNode) -> None:
        node.start()
        source = self.migrate(node, other)
        name = node.instance.name
        assert self.wait_for_end(source, name) == "completed"
        final = source.migration_status(name)
        assert final.downtime_ms is not None
        assert final.total > 0
        source.finish_source(name, success=True)
        assert isinstance(other.hypervisor, Migratable)
        other.hypervisor.finish_target(name, success=True)
        assert node.state() is RunState.ABSENT
        other.wait_for(RunState.RUNNING)
        assert other.hypervisor.state(name).memory == node.instance.beparams["maxmem"]

    def test_instance_migrates_back(self, node: ContractNode, other: ContractNode) -> None:
        node.start()
        for source, target in ((node, other), (other, node)):
            hypervisor = self.migrate(source, target)
            assert self.wait_for_end(hypervisor, source.instance.name) == "completed"
            hypervisor.finish_source(source.instance.name, success=True)
            assert isinstance(target.hypervisor, Migratable)
            target.hypervisor.finish_target(source.instance.name, success=True)
        node.wait_for(RunState.RUNNING)
        assert other.state() is RunState.ABSENT

    def test_failed_migration_leaves_the_guest_where_it_was(self, node: ContractNode, other: ContractNode) -> None:
        node.start()
        source, target = node.hypervisor, other.hypervisor
        assert isinstance(source, Migratable)
        assert isinstance(target, Migratable)
        name = node.instance.name
        target.accept(other.instance, other.disks, source.migration_info(name), other.address)
        # Nobody listens there.
        source.migrate(node.instance, "tcp:127.0.0.1:9", live=True)
        assert self.wait_for_end(source, name) == "failed"
        assert source.migration_status(name).error
        source.finish_source(name, success=False)
        target.finish_target(name, success=False)
        node.wait_for(RunState.RUNNING)
        assert other.state() is RunState.ABSENT
        assert other.hypervisor.states() == []

    def test_target_without_the_state_does_not_go_on(self, node: ContractNode, other: ContractNode) -> None:
        node.start()
        source, target = node.hypervisor, other.hypervisor
        assert isinstance(source, Migratable)
        assert isinstance(target, Migratable)
        name = node.instance.name
        target.accept(other.instance, other.disks, source.migration_info(name), other.address)
        with pytest.raises(HypervisorError, match=name):
            target.finish_target(name, success=True)
        target.finish_target(name, success=False)
        assert other.state() is RunState.ABSENT
        assert node.state() is RunState.RUNNING

    def test_absent_instance_has_no_runtime_to_migrate(self, node: ContractNode, other: ContractNode) -> None:
        assert isinstance(node.hypervisor, Migratable)
        with pytest.raises(HypervisorError, match=node.instance.name):
            node.hypervisor.migration_info(node.instance.name)

    def test_instance_that_is_there_already_is_not_accepted(self, node: ContractNode, other: ContractNode) -> None:
        node.start()
        other.start()
        assert isinstance(node.hypervisor, Migratable)
        assert isinstance(other.hypervisor, Migratable)
        info = node.hypervisor.migration_info(node.instance.name)
        with pytest.raises(HypervisorError, match=node.instance.name):
            other.hypervisor.accept(other.instance, other.disks, info, other.address)
        assert other.state() is RunState.RUNNING
