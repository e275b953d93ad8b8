"""How to reach an instance's console."""

from __future__ import annotations

from typing import Any

from ganeti.base import codec
from ganeti.base.errors import Code, PrereqError
from ganeti.model.config import Config
from ganeti.model.filled import fill_instance
from ganeti.model.locks import Locks
from ganeti.model.objects import Instance
from ganeti.ops.base import Op, param
from ganeti.ops.checks import not_empty
from ganeti.ops.context import Context
from ganeti.ops.instance.steps import guest
from ganeti.ops.instance.steps.lookup import find_instance, instance_locks, require_online, require_usable
from ganeti.rpc.node.instance import InstanceApi


class InstanceConsole(Op[Instance, dict[str, Any]], summary="instance_name", changes_nothing=True):
    """Describe how to reach the console of a running instance: its kind, and what that kind needs."""

    instance_name: str = param(help="Instance whose console is wanted", complete="instance")
    instance_uuid: str | None = param(default=None, help="The instance, by uuid", check=not_empty)

    def locks(self, config: Config) -> Locks:
        """The instance and its node, shared with everybody who does not change them."""
        wanted = instance_locks(config, find_instance(config, self.instance_name, self.instance_uuid))
        return Locks.of(shared=wanted.exclusive | wanted.shared)

    def plan(self, ctx: Context) -> Instance:
        instance = find_instance(ctx.config, self.instance_name, self.instance_uuid)
        require_usable(instance)
        require_online(ctx.config.node(instance.primary_node), f"the console of instance {instance.name} cannot be reached")
        state = guest.require_state(ctx, instance.primary_node, instance).state
        if not guest.is_present(state):
            raise PrereqError(f"instance {instance.name} does not run (its state is {state}), so it has no console", Code.STATE)
        return instance

    def run(self, ctx: Context, plan: Instance) -> dict[str, Any]:
        filled = fill_instance(ctx.config, plan)
        console = codec.encode(ctx.nodes.call(plan.primary_node, InstanceApi.instance_console, filled))
        return {name: value for name, value in console.items() if value or name in ("instance", "kind")}
