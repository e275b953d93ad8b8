"""Reboot an instance: soft (inside the running hypervisor process), hard (stop and start), full (disks as well)."""

from __future__ import annotations

from dataclasses import dataclass

from ganeti.model.config import Config
from ganeti.model.enums import RebootType
from ganeti.model.filled import fill_instance
from ganeti.model.locks import Locks
from ganeti.model.objects import Instance
from ganeti.ops.base import HookRun, Hooks, Op, param
from ganeti.ops.checks import not_empty, not_negative
from ganeti.ops.context import Context
from ganeti.ops.instance.steps import guest, new_nics
from ganeti.ops.instance.steps.lookup import (
    find_instance,
    instance_locks,
    require_not_offline,
    require_online,
    require_usable,
)
from ganeti.ops.instance.steps.startable import check_startable
from ganeti.ops.steps.hooks import instance_environment
from ganeti.rpc.node.instance import InstanceApi
from ganeti.rpc.node.replies import RunState


@dataclass(frozen=True)
class Plan:
    """The instance, and whether there is a guest to reboot (else it is started)."""

    instance: Instance
    running: bool


class InstanceReboot(
    Op[Plan, None],
    command="gnt-instance reboot",
    route="POST /2/instances/{instance_name}/reboot",
    summary="instance_name",
    hooks=Hooks("instance-reboot", "INSTANCE"),
):
    """Reboot an instance. One that does not run is started."""

    instance_name: str = param(help="Instance to reboot", complete="instance")
    instance_uuid: str | None = param(default=None, help="The instance, by uuid", check=not_empty)
    reboot_type: RebootType = param(help="How: soft, hard (default) or full", flags="-t --type", metavar="soft|hard|full")
    shutdown_timeout: int = param(
        default=120,
        help="Seconds to wait for a clean shutdown",
        flags="--shutdown-timeout",
        metavar="SECONDS",
        check=not_negative,
    )
    ignore_secondaries: bool = param(
        default=False, help="Start even if copies of its disks on secondary nodes are not there", flags="--ignore-secondaries"
    )

    def locks(self, config: Config) -> Locks:
        instance = find_instance(config, self.instance_name, self.instance_uuid)
        return instance_locks(config, instance, resources=[instance.primary_node])

    def plan(self, ctx: Context) -> Plan:
        instance = find_instance(ctx.config, self.instance_name, self.instance_uuid)
        require_usable(instance)
        require_not_offline(instance)
        node = ctx.config.node(instance.primary_node)
        require_online(node, f"instance {instance.name} cannot be rebooted; fail it over")
        running = guest.require_state(ctx, node.uuid, instance).state is RunState.RUNNING
        if running:
            new_nics.check_bridges(ctx, [node.uuid], instance.nics)
        else:
            check_startable(ctx, instance, node)
        return Plan(instance, running)

    def run(self, ctx: Context, plan: Plan) -> None:
        instance = guest.mark_up(ctx, plan.instance)
        if plan.running and self.reboot_type is not RebootType.FULL:
            filled = fill_instance(ctx.config, instance)
            ctx.nodes.call(
                instance.primary_node, InstanceApi.instance_reboot, filled, self.reboot_type, self.shutdown_timeout
            )
            return
        if not plan.running:
            ctx.info(f"Instance {instance.name} does not run, so it is started")
        guest.stop(ctx, instance, timeout=self.shutdown_timeout)
        guest.start(ctx, instance)

    def hook_run(self, config: Config, plan: Plan) -> HookRun:
        """On the master and the instance's nodes, before and after."""
        instance = config.instance(plan.instance.uuid)
        nodes = tuple(config.nodes_of(instance))
        environment = instance_environment(
            config,
            instance,
            config.disks_of(instance),
            IGNORE_SECONDARIES=self.ignore_secondaries,
            REBOOT_TYPE=self.reboot_type,
            SHUTDOWN_TIMEOUT=self.shutdown_timeout,
        )
        return HookRun(instance.name, environment, nodes, nodes)
