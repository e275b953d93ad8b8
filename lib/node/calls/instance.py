"""Node calls about instances: the right hypervisor, the right disks, one change of a guest at a time."""

from __future__ import annotations

from ganeti.base.errors import HypervisorError
from ganeti.model.enums import RebootType
from ganeti.model.filled import FilledInstance
from ganeti.model.objects import Params
from ganeti.node.dispatch import handling
from ganeti.node.hypervisor.base import Hypervisor, Migratable
from ganeti.node.services import Services
from ganeti.rpc.node.instance import InstanceApi
from ganeti.rpc.node.replies import ConsoleInfo, InstanceState, MigrationStatus, RunState


class InstanceCalls(InstanceApi):
    """See `InstanceApi`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def _hypervisor(self, instance: FilledInstance) -> Hypervisor:
        return self._services.hypervisors.get(instance.hypervisor)

    def _migratable(self, instance: FilledInstance) -> Migratable:
        hypervisor = self._hypervisor(instance)
        if not isinstance(hypervisor, Migratable):
            raise HypervisorError(f"instance {instance.name} cannot be migrated: its hypervisor, {instance.hypervisor}, cannot")
        return hypervisor

    @handling(order="instance")
    def instance_start(self, instance: FilledInstance, paused: bool = False) -> list[str]:
        hypervisor = self._hypervisor(instance)
        state = hypervisor.state(instance.name).state
        if state is RunState.RUNNING or (paused and state is RunState.PAUSED):
            return []
        if state is RunState.SHUTDOWN:
            # It powered itself off; what is left of it stands in the way.
            hypervisor.stop(instance.name, timeout=0.0, force=True)
        return hypervisor.start(instance, self._services.links.of(instance), paused=paused)

    @handling(order="name")
    def instance_stop(self, name: str, hypervisor: str, timeout: float, force: bool = False) -> None:
        self._services.hypervisors.get(hypervisor).stop(name, timeout=timeout, force=force)

    @handling(order="instance")
    def instance_reboot(self, instance: FilledInstance, kind: RebootType, timeout: float) -> None:
        hypervisor = self._hypervisor(instance)
        if kind is RebootType.SOFT:
            hypervisor.reset(instance)
            return
        disks = self._services.links.of(instance)
        hypervisor.stop(instance.name, timeout=timeout)
        hypervisor.start(instance, disks)

    def instance_state(self, name: str, hypervisor: str) -> InstanceState:
        return self._services.hypervisors.get(hypervisor).state(name)

    def instance_states(self, hypervisors: list[str]) -> list[InstanceState]:
        return [state for name in hypervisors for state in self._services.hypervisors.get(name).states()]

    def instance_console(self, instance: FilledInstance) -> ConsoleInfo:
        return self._hypervisor(instance).console(instance, self._services.paths.hostname)

    def instance_migratable(self, instance: FilledInstance) -> str:
        hypervisor = self._hypervisor(instance)
        if not isinstance(hypervisor, Migratable):
            return f"hypervisor {instance.hypervisor} cannot migrate"
        if hypervisor.state(instance.name).state not in (RunState.RUNNING, RunState.PAUSED):
            return f"instance {instance.name} does not run on node {self._services.paths.hostname}"
        return ""

    def migration_info(self, instance: FilledInstance) -> str:
        return self._migratable(instance).migration_info(instance.name)

    @handling(order="instance")
    def migration_accept(self, instance: FilledInstance, info: str, address: str) -> str:
        return self._migratable(instance).accept(instance, self._services.links.of(instance), info, address)

    @handling(order="instance", lane="normal")
    def migration_start(self, instance: FilledInstance, uri: str, live: bool) -> None:
        self._migratable(instance).migrate(instance, uri, live=live)

    def migration_status(self, instance: FilledInstance) -> MigrationStatus:
        return self._migratable(instance).migration_status(instance.name)

    def migration_cancel(self, instance: FilledInstance) -> None:
        self._migratable(instance).migration_cancel(instance.name)

    @handling(order="instance")
    def migration_finish_source(self, instance: FilledInstance, success: bool, target: str) -> None:
        self._migratable(instance).finish_source(instance.name, success=success)

    @handling(order="instance")
    def migration_finish_target(self, instance: FilledInstance, success: bool) -> None:
        self._migratable(instance).finish_target(instance.name, success=success)

    def hypervisor_validate(self, hypervisor: str, hvparams: Params) -> str:
        return self._services.hypervisors.get(hypervisor).validate(hvparams)
