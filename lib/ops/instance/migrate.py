"""Move a running instance to another node. See `steps.migration` for the order of effects and what undoes them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from ganeti.base.errors import Code, PrereqError
from ganeti.model.config import Config
from ganeti.model.enums import MigrationMode
from ganeti.model.filled import fill_beparams, fill_hvparams, fill_instance
from ganeti.model.locks import Locks, lock
from ganeti.model.objects import Instance, Node
from ganeti.ops.base import HookRun, Hooks, Op, param
from ganeti.ops.checks import not_empty
from ganeti.ops.context import Context
from ganeti.ops.instance.steps import guest, target, whereabouts
from ganeti.ops.instance.steps.failover import fail_over
from ganeti.ops.instance.steps.lookup import (
    find_instance,
    kept_locks,
    require_not_offline,
    require_online,
    require_usable,
)
from ganeti.ops.instance.steps.migration import Migration
from ganeti.ops.steps import capacity
from ganeti.ops.steps.hooks import instance_environment
from ganeti.ops.steps.refuse import refuse_given
from ganeti.rpc.node.instance import InstanceApi
from ganeti.rpc.node.replies import RunState

FAILOVER_TIMEOUT = 120.0
"""Seconds for a clean shutdown when the instance is failed over instead."""


class Action(Enum):
    """What the operation turns out to be."""

    MIGRATE = "migrate"
    FAIL_OVER = "fail over"
    CLEAN_UP = "clean up"


@dataclass(frozen=True)
class Plan:
    """What is done with the instance. `others`: nodes to look at when cleaning up."""

    action: Action
    instance: Instance
    target: Node | None = None
    live: bool = True
    others: tuple[Node, ...] = ()


class InstanceMigrate(
    Op[Plan, None],
    command="gnt-instance migrate",
    route="PUT /2/instances/{instance_name}/migrate",
    summary="instance_name",
    hooks=Hooks("instance-migrate", "INSTANCE"),
):
    """Move a running instance to another node without stopping it (or repair what an interrupted move left)."""

    instance_name: str = param(help="Instance to migrate", complete="instance")
    instance_uuid: str | None = param(default=None, help="The instance, by uuid", check=not_empty)
    mode: MigrationMode | None = param(
        default=None,
        help="live, or non-live: stopped while its state is sent (default: as the hypervisor is set)",
        flags="--migration-mode",
        metavar="live|non-live",
    )
    live: bool | None = param(default=None, help="Older form of mode")
    target_node: str | None = param(
        default=None,
        help="Node to go to (default: the one with most memory left in its group)",
        flags="-n --target-node",
        metavar="NODE",
        complete="node",
        check=not_empty,
    )
    target_node_uuid: str | None = param(default=None, help="Node to go to, by uuid", check=not_empty)
    allow_runtime_changes: bool = param(
        default=True, help="Do not shrink its memory to make it fit", flags="--no-runtime-changes"
    )
    ignore_ipolicy: bool = param(default=False, help="Ignore the instance policy", flags="--ignore-ipolicy")
    cleanup: bool = param(
        default=False, help="Repair what an interrupted migration left, instead of migrating", flags="--cleanup"
    )
    iallocator: str | None = param(
        default=None,
        help="Allocator that chooses the node",
        flags="-I --iallocator",
        metavar="NAME",
        complete="iallocator",
        check=not_empty,
    )
    allow_failover: bool = param(
        default=False, help="Fail over an instance that does not run", flags="--allow-failover"
    )
    ignore_hvversions: bool = param(
        default=False, help="Accept an older hypervisor on the target", flags="--ignore-hvversions"
    )

    def locks(self, config: Config) -> Locks:
        instance = find_instance(config, self.instance_name, self.instance_uuid)
        others = self._others(config, instance)
        return target.moving_locks(config, instance, others, resources=not self.cleanup)

    def _others(self, config: Config, instance: Instance) -> list[Node]:
        find = target.cleanup_candidates if self.cleanup else target.candidates
        return find(config, instance, self.target_node, self.target_node_uuid)

    # --- plan
    def plan(self, ctx: Context) -> Plan:
        config = ctx.config
        instance = find_instance(config, self.instance_name, self.instance_uuid)
        others = self._others(config, instance)
        self._refuse(instance)
        source = config.node(instance.primary_node)
        if self.cleanup:
            asked = (source, *others)
            whereabouts.examine(ctx, instance, asked)
            return Plan(Action.CLEAN_UP, instance, others=asked)
        require_online(source, f"instance {instance.name} cannot be migrated from there; fail it over")
        state = guest.require_state(ctx, source.uuid, instance)
        action = self._choose_action(ctx, instance, state.state)
        backend = fill_beparams(config.cluster, instance)
        memory = max(state.memory, int(backend["minmem"])) if guest.wanted_up(instance, state.state) else 0
        found = target.choose_target(
            ctx, instance, others, named=self._named, memory=memory, ignore_ipolicy=self.ignore_ipolicy
        )
        if action is Action.MIGRATE:
            self._check_migratable(ctx, instance, source, found)
        kept = kept_locks(instance.name, [found.node.uuid])
        ctx.locks.keep([*kept, lock("node", source.uuid)])
        return Plan(action, instance, found.node, self._is_live(config, instance))

    @property
    def _named(self) -> bool:
        return bool(self.target_node or self.target_node_uuid)

    def _refuse(self, instance: Instance) -> None:
        refuse_given(
            self,
            {"iallocator": "external allocators are not supported yet; name a node with -n, or leave both out"},
        )
        if self.mode is not None and self.live is not None:
            raise PrereqError("mode and live say the same thing; give one of them", Code.INVAL)
        if self.cleanup and self.allow_failover:
            raise PrereqError("cleaning up and failing over are different things; ask for one of them", Code.INVAL)
        require_not_offline(instance)
        if not self.cleanup:
            require_usable(instance)

    def _choose_action(self, ctx: Context, instance: Instance, state: RunState) -> Action:
        if fill_beparams(ctx.config.cluster, instance)["always_failover"]:
            ctx.info(f"Instance {instance.name} is set to be failed over always (back-end parameter always_failover)")
            return Action.FAIL_OVER
        if state is RunState.RUNNING:
            return Action.MIGRATE
        if self.allow_failover:
            ctx.info(f"Instance {instance.name} does not run, so it is failed over")
            return Action.FAIL_OVER
        raise PrereqError(
            f"instance {instance.name} does not run (its state is {state}), so it cannot be migrated; use gnt-instance failover,"
            " or --allow-failover. If a migration was interrupted, use --cleanup first",
            Code.STATE,
        )

    def _check_migratable(self, ctx: Context, instance: Instance, source: Node, found: target.Target) -> None:
        reason = ctx.nodes.call(source.uuid, InstanceApi.instance_migratable, fill_instance(ctx.config, instance))
        if reason:
            raise PrereqError(f"instance {instance.name} cannot be migrated: {reason}", Code.STATE)
        facts = capacity.ask_nodes(ctx, [source.uuid], instance.hypervisor)[source.uuid]
        own = facts.version if isinstance(facts, capacity.NodeFacts) else ""
        if is_older(found.facts.version, own) and not self.ignore_hvversions:
            # Without the remarks that follow the number.
            newer, older = (text.partition(" ")[0] for text in (own, found.facts.version))
            raise PrereqError(
                f"instance {instance.name} cannot be migrated: hypervisor {instance.hypervisor} has version {newer} on"
                f" {source.name}, but the older {older} on {found.node.name} (see --ignore-hvversions)",
                Code.STATE,
            )

    def _is_live(self, config: Config, instance: Instance) -> bool:
        if self.live is not None:
            return self.live
        default = fill_hvparams(config.cluster, instance).get("migration_mode", MigrationMode.LIVE)
        return (self.mode or MigrationMode(default)) is MigrationMode.LIVE

    # --- run
    def run(self, ctx: Context, plan: Plan) -> None:
        if plan.action is Action.CLEAN_UP:
            whereabouts.repair(ctx, plan.instance, plan.others)
            return
        assert plan.target is not None
        if plan.action is Action.FAIL_OVER:
            fail_over(ctx, plan.instance, plan.target, timeout=FAILOVER_TIMEOUT)
        else:
            Migration(ctx, plan.instance, plan.target, live=plan.live).run()

    def hook_run(self, config: Config, plan: Plan) -> HookRun:
        """On the master and the nodes concerned, before and after."""
        instance = config.instance(plan.instance.uuid)
        nodes = target.nodes_concerned(plan.instance, plan.target.uuid if plan.target else None)
        old = config.node(plan.instance.primary_node).name
        environment = instance_environment(
            config,
            instance,
            config.disks_of(instance),
            MIGRATE_LIVE=plan.live,
            MIGRATE_CLEANUP=self.cleanup,
            ALLOW_RUNTIME_CHANGES=self.allow_runtime_changes,
            OLD_PRIMARY=old,
            NEW_PRIMARY=plan.target.name if plan.target else old,
            OLD_SECONDARY="",
            NEW_SECONDARY="",
        )
        return HookRun(instance.name, environment, nodes, nodes)


def is_older(version: str, than: str) -> bool:
    """Whether a hypervisor's version is older in its first two numbers; what has no numbers is not."""
    mine, other = _numbers(version), _numbers(than)
    return bool(mine and other) and mine < other


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)[:2]]
