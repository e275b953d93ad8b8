"""Remove an instance with its disks.

Order of effects: the configuration says "down", the guest is stopped, the disks are removed, and only then the instance is
forgotten. Whenever the worker dies, the same command again finishes the work: what is gone already is no error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ganeti.base.errors import Code, ExecError, NodeError, PrereqError
from ganeti.model.config import Config
from ganeti.model.locks import Locks
from ganeti.model.objects import Delete, Disk, Instance, Node
from ganeti.ops.base import HookRun, Hooks, Op, param
from ganeti.ops.checks import not_empty, not_negative
from ganeti.ops.context import Context
from ganeti.ops.instance.steps import disks, guest
from ganeti.ops.instance.steps.lookup import find_instance, instance_locks, require_usable
from ganeti.ops.steps.hooks import instance_environment


@dataclass(frozen=True)
class Plan:
    """The instance, and the node that can remove its disks (None: no node can, they stay where they are)."""

    instance: Instance
    disks: tuple[Disk, ...]
    holder: Node | None
    reachable: bool
    """Whether the primary node can be asked to stop the guest."""


class InstanceRemove(
    Op[Plan, None],
    command="gnt-instance remove",
    route="DELETE /2/instances/{instance_name}",
    summary="instance_name",
    hooks=Hooks("instance-remove", "INSTANCE"),
):
    """Stop an instance and remove it with its disks."""

    instance_name: str = param(help="Instance to remove", complete="instance")
    instance_uuid: str | None = param(default=None, help="The instance, by uuid", check=not_empty)
    shutdown_timeout: int = param(
        default=120,
        help="Seconds to wait for a clean shutdown",
        flags="--shutdown-timeout",
        metavar="SECONDS",
        check=not_negative,
    )
    ignore_failures: bool = param(
        default=False, help="Remove it from the configuration even if its disks cannot be removed", flags="--ignore-failures"
    )

    def locks(self, config: Config) -> Locks:
        instance = find_instance(config, self.instance_name, self.instance_uuid)
        return instance_locks(config, instance, resources=[instance.primary_node])

    def plan(self, ctx: Context) -> Plan:
        config = ctx.config
        instance = find_instance(config, self.instance_name, self.instance_uuid)
        primary = config.node(instance.primary_node)
        if instance.migration_peer is not None and not self.ignore_failures:
            require_usable(instance)
        if primary.offline and not self.ignore_failures:
            raise PrereqError(
                f"instance {instance.name} cannot be removed: its primary node {primary.name} is marked offline, so the guest"
                " cannot be stopped there. If the node is really dead, use --ignore-failures",
                Code.STATE,
            )
        holder = disks.reachable_holder(config, instance)
        return Plan(instance, tuple(config.disks_of(instance)), holder, not primary.offline)

    def run(self, ctx: Context, plan: Plan) -> None:
        instance = guest.mark_down(ctx, plan.instance)
        if plan.reachable:
            ctx.info(f"Stopping instance {instance.name}")
            self._attempt(ctx, lambda: guest.stop(ctx, instance, timeout=self.shutdown_timeout))
        else:
            ctx.warn(f"Node {ctx.config.node(instance.primary_node).name} is offline: {instance.name} was not stopped there")
        if plan.holder is not None:
            ctx.info(f"Removing the disks of {instance.name}")
            failures = disks.remove(ctx, plan.holder.uuid, instance, plan.disks)
            self._report(ctx, instance, failures)
        elif plan.disks:
            paths = ", ".join(str(disk.logical_id[-1]) for disk in plan.disks)
            ctx.warn(f"The data of {instance.name} stay on its offline node: {paths}")
        stored = ctx.config.instance(instance.uuid)
        ctx.commit([Delete.of(stored), *(Delete.of(disk) for disk in ctx.config.disks_of(stored))])

    def _attempt(self, ctx: Context, action: Callable[[], None]) -> None:
        try:
            action()
        except (NodeError, ExecError) as err:
            if not self.ignore_failures:
                raise
            ctx.warn(f"Ignored, as asked: {err}")

    def _report(self, ctx: Context, instance: Instance, failures: list[str]) -> None:
        if failures and not self.ignore_failures:
            raise ExecError(
                f"instance {instance.name} was stopped, but not removed: {'; '.join(failures)}. Try again, or use"
                " --ignore-failures to leave the data where they are"
            )
        for failure in failures:
            ctx.warn(f"Ignored, as asked: {failure}")

    def hook_run(self, config: Config, plan: Plan) -> HookRun:
        """Before on the master, afterwards also on the instance's nodes."""
        nodes = tuple(config.nodes_of(plan.instance))
        environment = instance_environment(config, plan.instance, plan.disks, SHUTDOWN_TIMEOUT=self.shutdown_timeout)
        return HookRun(plan.instance.name, environment, (), nodes)
