"""Node calls about instances."""

from __future__ import annotations

from ganeti.model.enums import RebootType
from ganeti.model.filled import FilledInstance
from ganeti.model.objects import Params
from ganeti.rpc.call import FAST, HOURS_4, NORMAL, SLOW, URGENT, rpc
from ganeti.rpc.node.replies import ConsoleInfo, InstanceState, MigrationStatus


class InstanceApi:
    """Running, stopping and moving guests; disks must be assembled by the caller (`BlockdevApi`)."""

    @rpc(timeout=FAST)
    def instance_start(self, instance: FilledInstance, paused: bool = False) -> list[str]:
        """Start it; returns when the guest runs, with remarks for the operator. Running already is success."""
        raise NotImplementedError

    @rpc(timeout=SLOW)
    def instance_stop(self, name: str, hypervisor: str, timeout: float, force: bool = False) -> None:
        """Ask the guest to power off, for `timeout` seconds, then end it. Absent already is success."""
        raise NotImplementedError

    @rpc(timeout=SLOW)
    def instance_reboot(self, instance: FilledInstance, kind: RebootType, timeout: float) -> None:
        """Soft: reset inside the running hypervisor process; hard: stop and start."""
        raise NotImplementedError

    @rpc(timeout=URGENT)
    def instance_state(self, name: str, hypervisor: str) -> InstanceState:
        raise NotImplementedError

    @rpc(timeout=URGENT)
    def instance_states(self, hypervisors: list[str]) -> list[InstanceState]:
        """All guests of the node."""
        raise NotImplementedError

    @rpc(timeout=URGENT)
    def instance_console(self, instance: FilledInstance) -> ConsoleInfo:
        raise NotImplementedError

    @rpc(timeout=URGENT)
    def instance_migratable(self, instance: FilledInstance) -> str:
        """Empty if it can be migrated, else why not."""
        raise NotImplementedError

    # --- migration, in this order: info (source), accept (target), migrate (source), status (source, repeatedly), finish (both)
    @rpc(timeout=URGENT)
    def migration_info(self, instance: FilledInstance) -> str:
        """What the target needs to start the very device model that runs now (opaque text)."""
        raise NotImplementedError

    @rpc(timeout=NORMAL)
    def migration_accept(self, instance: FilledInstance, info: str, address: str) -> str:
        """Start a guest that waits for its state at `address`; returns the URI at which it listens."""
        raise NotImplementedError

    @rpc(timeout=HOURS_4)
    def migration_start(self, instance: FilledInstance, uri: str, live: bool) -> None:
        """Begin to send the running guest's state; returns at once."""
        raise NotImplementedError

    @rpc(timeout=URGENT)
    def migration_status(self, instance: FilledInstance) -> MigrationStatus:
        raise NotImplementedError

    @rpc(timeout=URGENT)
    def migration_cancel(self, instance: FilledInstance) -> None:
        raise NotImplementedError

    @rpc(timeout=NORMAL)
    def migration_finish_source(self, instance: FilledInstance, success: bool, target: str) -> None:
        """Success: end the source's process and forget it; failure: let the guest go on here."""
        raise NotImplementedError

    @rpc(timeout=NORMAL)
    def migration_finish_target(self, instance: FilledInstance, success: bool) -> None:
        """Success: the guest is this node's now (announced to the network); failure: end it and clean up."""
        raise NotImplementedError

    @rpc(timeout=URGENT)
    def hypervisor_validate(self, hypervisor: str, hvparams: Params) -> str:
        """Whether the parameters can work on this node (files exist, features there): empty, or what is wrong."""
        raise NotImplementedError
