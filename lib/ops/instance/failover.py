"""Stop an instance and start it on another node that sees the same data. See `steps.failover` for the order of effects."""

from __future__ import annotations

from dataclasses import dataclass

from ganeti.model.config import Config
from ganeti.model.enums import AdminState
from ganeti.model.filled import fill_beparams
from ganeti.model.locks import Locks, lock
from ganeti.model.objects import Instance, Node
from ganeti.ops.base import HookRun, Hooks, Op, param
from ganeti.ops.checks import not_empty, not_negative
from ganeti.ops.context import Context
from ganeti.ops.instance.steps import failover, target, whereabouts
from ganeti.ops.instance.steps.lookup import find_instance, kept_locks, require_not_offline, require_usable
from ganeti.ops.steps.hooks import instance_environment
from ganeti.ops.steps.refuse import refuse_given


@dataclass(frozen=True)
class Plan:
    """The instance and its new node (None: only clean up, looking at the nodes in `asked`)."""

    instance: Instance
    target: Node | None
    asked: tuple[Node, ...] = ()


class InstanceFailover(
    Op[Plan, None],
    command="gnt-instance failover",
    route="PUT /2/instances/{instance_name}/failover",
    summary="instance_name",
    hooks=Hooks("instance-failover", "INSTANCE"),
):
    """Stop an instance (if its node lives) and start it on another node."""

    instance_name: str = param(help="Instance to fail over", complete="instance")
    instance_uuid: str | None = param(default=None, help="The instance, by uuid", check=not_empty)
    shutdown_timeout: int = param(
        default=120,
        help="Seconds to wait for a clean shutdown",
        flags="--shutdown-timeout",
        metavar="SECONDS",
        check=not_negative,
    )
    ignore_consistency: bool = param(
        default=False,
        help="Go on even if the instance cannot be stopped on its node; make sure yourself that it does not run there",
        flags="--ignore-consistency",
    )
    target_node: str | None = param(
        default=None,
        help="Node to go to (default: the one with most memory left in its group)",
        flags="-n --target-node",
        metavar="NODE",
        complete="node",
        check=not_empty,
    )
    target_node_uuid: str | None = param(default=None, help="Node to go to, by uuid", check=not_empty)
    ignore_ipolicy: bool = param(default=False, help="Ignore the instance policy", flags="--ignore-ipolicy")
    cleanup: bool = param(
        default=False, help="Repair what an interrupted move left, instead of failing over", flags="--cleanup"
    )
    iallocator: str | None = param(
        default=None,
        help="Allocator that chooses the node",
        flags="-I --iallocator",
        metavar="NAME",
        complete="iallocator",
        check=not_empty,
    )

    def locks(self, config: Config) -> Locks:
        instance = find_instance(config, self.instance_name, self.instance_uuid)
        others = self._others(config, instance)
        return target.moving_locks(config, instance, others, resources=not self.cleanup)

    def _others(self, config: Config, instance: Instance) -> list[Node]:
        find = target.cleanup_candidates if self.cleanup else target.candidates
        return find(config, instance, self.target_node, self.target_node_uuid)

    def plan(self, ctx: Context) -> Plan:
        config = ctx.config
        instance = find_instance(config, self.instance_name, self.instance_uuid)
        others = self._others(config, instance)
        refuse_given(
            self,
            {"iallocator": "external allocators are not supported yet; name a node with -n, or leave both out"},
        )
        require_not_offline(instance)
        source = config.node(instance.primary_node)
        if self.cleanup:
            asked = (source, *others)
            whereabouts.examine(ctx, instance, asked)
            return Plan(instance, None, asked)
        require_usable(instance)
        failover.check_source(ctx, instance, ignore_consistency=self.ignore_consistency)
        up = instance.admin_state is AdminState.UP
        memory = int(fill_beparams(config.cluster, instance)["minmem"]) if up else 0
        named = bool(self.target_node or self.target_node_uuid)
        found = target.choose_target(
            ctx, instance, others, named=named, memory=memory, ignore_ipolicy=self.ignore_ipolicy
        )
        ctx.locks.keep([*kept_locks(instance.name, [found.node.uuid]), lock("node", source.uuid)])
        return Plan(instance, found.node)

    def run(self, ctx: Context, plan: Plan) -> None:
        if plan.target is None:
            whereabouts.repair(ctx, plan.instance, plan.asked)
        else:
            failover.fail_over(
                ctx,
                plan.instance,
                plan.target,
                timeout=self.shutdown_timeout,
                ignore_consistency=self.ignore_consistency,
            )

    def hook_run(self, config: Config, plan: Plan) -> HookRun:
        """Before on the master and the new node, afterwards on the old one as well."""
        instance = config.instance(plan.instance.uuid)
        new = (plan.target.uuid,) if plan.target else ()
        nodes = target.nodes_concerned(plan.instance, plan.target.uuid if plan.target else None)
        old = config.node(plan.instance.primary_node).name
        environment = instance_environment(
            config,
            instance,
            config.disks_of(instance),
            FAILOVER_CLEANUP=self.cleanup,
            IGNORE_CONSISTENCY=self.ignore_consistency,
            SHUTDOWN_TIMEOUT=self.shutdown_timeout,
            OLD_PRIMARY=old,
            NEW_PRIMARY=plan.target.name if plan.target else old,
            OLD_SECONDARY="",
            NEW_SECONDARY="",
        )
        return HookRun(instance.name, environment, new, nodes)
