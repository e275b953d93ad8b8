"""Start an instance.

The configuration says "up" first, then the disks are assembled and the guest is started; if that fails the disks are shut
down again, and the wish stays: the instance is shown as one that should run and does not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ganeti.base.errors import Code, PrereqError
from ganeti.model.config import Config
from ganeti.model.filled import fill_instance
from ganeti.model.locks import Locks
from ganeti.model.objects import Instance, Params
from ganeti.ops.base import HookRun, Hooks, Op, param
from ganeti.ops.checks import not_empty, not_negative
from ganeti.ops.context import Context
from ganeti.ops.instance.steps import guest, new_params
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
    """The instance, what it is started with, and what is to be done at all."""

    instance: Instance
    hvparams: Params
    beparams: Params
    reachable: bool
    state: RunState


class InstanceStartup(
    Op[Plan, None],
    command="gnt-instance startup",
    route="PUT /2/instances/{instance_name}/startup",
    summary="instance_name",
    hooks=Hooks("instance-start", "INSTANCE"),
):
    """Start an instance. One that runs already is success."""

    instance_name: str = param(help="Instance to start", complete="instance")
    instance_uuid: str | None = param(default=None, help="The instance, by uuid", check=not_empty)
    force: bool = param(default=False, help="Start even if not all copies of its disks are there", flags="-f --force")
    ignore_offline_nodes: bool = param(
        default=False, help="If its node is offline, only record that it should run", flags="--ignore-offline"
    )
    hvparams: dict[str, Any] = param(
        default_factory=dict,
        help="Hypervisor parameters for this time only",
        flags="-H --hypervisor-parameters",
        metavar="NAME=VALUE,...",
        cli_type="keyval",
    )
    beparams: dict[str, Any] = param(
        default_factory=dict,
        help="Back-end parameters for this time only",
        flags="-B --backend-parameters",
        metavar="NAME=VALUE,...",
        cli_type="keyval",
    )
    no_remember: bool = param(default=False, help="Do not record that it should run", flags="--no-remember")
    startup_paused: bool = param(default=False, help="Start it stopped, for debugging", flags="--paused")
    shutdown_timeout: int = param(
        default=120, help="Seconds to wait while what is left of a guest that powered itself off is ended", check=not_negative
    )

    def locks(self, config: Config) -> Locks:
        instance = find_instance(config, self.instance_name, self.instance_uuid)
        return instance_locks(config, instance, resources=[instance.primary_node])

    def plan(self, ctx: Context) -> Plan:
        config = ctx.config
        instance = find_instance(config, self.instance_name, self.instance_uuid)
        require_usable(instance)
        require_not_offline(instance)
        hvparams = {**instance.hvparams, **new_params.hypervisor_overrides(instance.hypervisor, self.hvparams)}
        beparams = {**instance.beparams, **new_params.backend_overrides(self.beparams)}
        new_params.fill_backend(config.cluster, beparams)
        node = config.node(instance.primary_node)
        if node.offline and self.ignore_offline_nodes:
            return Plan(instance, hvparams, beparams, False, RunState.ABSENT)
        require_online(node, f"instance {instance.name} cannot be started; fail it over, or use --ignore-offline")
        state = guest.require_state(ctx, instance.primary_node, instance).state
        plan = Plan(instance, hvparams, beparams, True, state)
        if state is RunState.PAUSED and not self.startup_paused:
            raise PrereqError(
                f"instance {instance.name} is on node {node.name} already, but stopped. If a migration was interrupted, use"
                " gnt-instance migrate --cleanup; else shut it down first",
                Code.STATE,
            )
        if not guest.is_present(state):
            check_startable(ctx, replace(instance, hvparams=hvparams, beparams=beparams), node)
        return plan

    def run(self, ctx: Context, plan: Plan) -> None:
        instance = plan.instance if self.no_remember else guest.mark_up(ctx, plan.instance)
        if not plan.reachable:
            ctx.warn(f"Node {ctx.config.node(instance.primary_node).name} is offline: {instance.name} is only marked as up")
            return
        if guest.is_present(plan.state):
            ctx.info(f"Instance {instance.name} is there already")
            return
        if plan.state is not RunState.ABSENT:
            ctx.info(f"Ending what is left of {instance.name}, which powered itself off")
            timeout = self.shutdown_timeout
            ctx.nodes.call(instance.primary_node, InstanceApi.instance_stop, instance.name, instance.hypervisor, timeout)
        filled = fill_instance(ctx.config, replace(instance, hvparams=plan.hvparams, beparams=plan.beparams))
        guest.start(ctx, instance, filled, paused=self.startup_paused)

    def hook_run(self, config: Config, plan: Plan) -> HookRun:
        """On the master and the instance's nodes, before and after."""
        instance = config.instance(plan.instance.uuid)
        nodes = tuple(config.nodes_of(instance))
        environment = instance_environment(config, instance, config.disks_of(instance), FORCE=self.force)
        return HookRun(instance.name, environment, nodes, nodes)
