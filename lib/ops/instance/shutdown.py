"""Stop an instance.

The configuration says "down" first, then the guest is stopped: if the worker dies in between, nobody starts it again, and
the same command finishes the work.
"""

from __future__ import annotations

from dataclasses import dataclass

from ganeti.base.errors import Code, PrereqError
from ganeti.model.config import Config
from ganeti.model.enums import AdminState, AdminStateSource
from ganeti.model.locks import Locks
from ganeti.model.objects import Instance
from ganeti.ops.base import HookRun, Hooks, Op, param
from ganeti.ops.checks import not_empty, not_negative
from ganeti.ops.context import Context
from ganeti.ops.instance.steps import guest
from ganeti.ops.instance.steps.lookup import (
    find_instance,
    instance_locks,
    require_not_offline,
    require_online,
    require_usable,
)
from ganeti.ops.steps.hooks import instance_environment
from ganeti.rpc.node.replies import RunState


@dataclass(frozen=True)
class Plan:
    """The instance, whether its node can be asked, and on whose account it is down."""

    instance: Instance
    reachable: bool
    source: AdminStateSource


class InstanceShutdown(
    Op[Plan, None],
    command="gnt-instance shutdown",
    route="PUT /2/instances/{instance_name}/shutdown",
    summary="instance_name",
    hooks=Hooks("instance-stop", "INSTANCE"),
):
    """Stop an instance. One that does not run is success."""

    instance_name: str = param(help="Instance to stop", complete="instance")
    instance_uuid: str | None = param(default=None, help="The instance, by uuid", check=not_empty)
    force: bool = param(default=False, help="Stop it even if it is marked offline", flags="-f --force")
    ignore_offline_nodes: bool = param(
        default=False, help="If its node is offline, only record that it should not run", flags="--ignore-offline"
    )
    timeout: int = param(
        default=120,
        help="Seconds to wait for a clean shutdown before it is ended (0: do not wait)",
        flags="--timeout",
        metavar="SECONDS",
        check=not_negative,
    )
    no_remember: bool = param(default=False, help="Do not record that it should not run", flags="--no-remember")
    admin_state_source: AdminStateSource | None = param(
        default=None, help="Who wants it down: the operator, or the guest that powered itself off"
    )

    def locks(self, config: Config) -> Locks:
        return instance_locks(config, find_instance(config, self.instance_name, self.instance_uuid))

    def plan(self, ctx: Context) -> Plan:
        config = ctx.config
        instance = find_instance(config, self.instance_name, self.instance_uuid)
        require_usable(instance)
        if not self.force:
            require_not_offline(instance)
        node = config.node(instance.primary_node)
        source = self.admin_state_source or AdminStateSource.ADMIN
        if node.offline and self.ignore_offline_nodes:
            return Plan(instance, False, source)
        require_online(node, f"instance {instance.name} cannot be stopped; use --ignore-offline to record the wish only")
        if source is AdminStateSource.USER:
            self._require_user_shutdown(ctx, instance)
        return Plan(instance, True, source)

    def _require_user_shutdown(self, ctx: Context, instance: Instance) -> None:
        if not ctx.config.cluster.enabled_user_shutdown:
            raise PrereqError("this cluster does not let guests power themselves off (user shutdown)", Code.STATE)
        if guest.require_state(ctx, instance.primary_node, instance).state is not RunState.SHUTDOWN:
            raise PrereqError(f"instance {instance.name} has not powered itself off", Code.STATE)

    def run(self, ctx: Context, plan: Plan) -> None:
        instance = plan.instance if self.no_remember else guest.mark_down(ctx, plan.instance, plan.source)
        if not plan.reachable:
            ctx.warn(f"Node {ctx.config.node(instance.primary_node).name} is offline: {instance.name} is only marked as down")
            return
        guest.stop(ctx, instance, timeout=self.timeout)
        if ctx.config.instance(instance.uuid).admin_state is not AdminState.UP:
            guest.update(ctx, instance, disks_active=False)

    def hook_run(self, config: Config, plan: Plan) -> HookRun:
        """On the master and the instance's nodes, before and after."""
        instance = config.instance(plan.instance.uuid)
        nodes = tuple(config.nodes_of(instance))
        environment = instance_environment(config, instance, config.disks_of(instance), TIMEOUT=self.timeout)
        return HookRun(instance.name, environment, nodes, nodes)
