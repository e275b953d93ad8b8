"""Starting and stopping a guest together with its disks, and keeping the configuration in step.

Order of effects. Before a guest is started, the configuration says that it should be up; before it is stopped, that it
should be down. A worker that dies in between leaves a wish which the watcher, or the same command again, fulfils.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ganeti.base.errors import Code, NodeError, PrereqError
from ganeti.model.enums import AdminState, AdminStateSource
from ganeti.model.filled import FilledInstance, fill_instance
from ganeti.model.ids import NodeUuid
from ganeti.model.objects import Instance, Put
from ganeti.ops.context import Context
from ganeti.ops.instance.steps import disks
from ganeti.rpc.node.instance import InstanceApi
from ganeti.rpc.node.replies import InstanceState, RunState


def update(ctx: Context, instance: Instance, **values: Any) -> Instance:
    """Store the instance with other values, unless it has them already; returns it as stored."""
    current = ctx.config.instance(instance.uuid)
    changed = replace(current, **values)
    if changed == current:
        return current
    (stored,) = ctx.commit([Put(changed)])
    assert isinstance(stored, Instance)
    return stored


def mark_up(ctx: Context, instance: Instance) -> Instance:
    """Record that the instance should run."""
    return update(
        ctx, instance, admin_state=AdminState.UP, admin_state_source=AdminStateSource.ADMIN, disks_active=True
    )


def mark_down(ctx: Context, instance: Instance, source: AdminStateSource = AdminStateSource.ADMIN) -> Instance:
    """Record that the instance should not run. An instance that is marked offline stays so."""
    if instance.admin_state is AdminState.OFFLINE:
        return instance
    return update(ctx, instance, admin_state=AdminState.DOWN, admin_state_source=source)


def start(ctx: Context, instance: Instance, filled: FilledInstance | None = None, *, paused: bool = False) -> None:
    """Assemble the disks on the primary node and start the guest. If that fails, both are undone with the operation."""
    node = instance.primary_node
    ctx.undo.push(give_up, ctx, instance)
    disks.assemble(ctx, instance, node, ctx.config.disks_of(instance), undo=False)
    for remark in ctx.nodes.call(node, InstanceApi.instance_start, filled or fill_instance(ctx.config, instance), paused):
        ctx.info(f"Node {ctx.config.node(node).name}: {remark}")


def give_up(ctx: Context, instance: Instance) -> None:
    """Undo `start`: no guest, disks shut down, and the configuration says that they are not in use."""
    stop(ctx, instance, timeout=0, force=True)
    update(ctx, instance, disks_active=False)


def stop(ctx: Context, instance: Instance, *, timeout: float, force: bool = False) -> None:
    """Stop the guest (within `timeout` seconds if it cooperates), then shut down its disks."""
    node = instance.primary_node
    ctx.nodes.call(node, InstanceApi.instance_stop, instance.name, str(instance.hypervisor), timeout, force)
    disks.shut_down(ctx, instance, node, ctx.config.disks_of(instance))


def state_on(ctx: Context, node: NodeUuid, instance: Instance) -> InstanceState:
    """The guest as that node sees it."""
    return ctx.nodes.call(node, InstanceApi.instance_state, instance.name, str(instance.hypervisor))


def require_state(ctx: Context, node: NodeUuid, instance: Instance) -> InstanceState:
    """Like `state_on`, for plans: `PrereqError` if the node does not answer."""
    try:
        return state_on(ctx, node, instance)
    except NodeError as err:
        raise PrereqError(f"instance {instance.name} cannot be looked at: {err}", Code.ENVIRON) from err


def wanted_up(instance: Instance, state: RunState) -> bool:
    """Whether the guest runs, or should."""
    return instance.admin_state is AdminState.UP or state is RunState.RUNNING


def is_present(state: RunState) -> bool:
    """Whether there is a guest, running or stopped for a moment."""
    return state in (RunState.RUNNING, RunState.PAUSED)
