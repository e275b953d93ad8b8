"""Moving an instance cold: stop it where it is, start it on another node that sees the same data.

Order of effects: the guest is stopped, then the configuration names the new node, then it is started there. A worker that
dies before the commit leaves an instance that belongs to its old node and can be started there; after it, to the new one.
"""

from __future__ import annotations

from ganeti.base.errors import Code, ExecError, NodeError, PrereqError
from ganeti.model.enums import AdminState
from ganeti.model.objects import Instance, Node
from ganeti.ops.context import Context
from ganeti.ops.instance.steps import guest


def check_source(ctx: Context, instance: Instance, *, ignore_consistency: bool) -> None:
    """`PrereqError` if the primary node neither answers nor is marked offline: the guest might go on running there."""
    node = ctx.config.node(instance.primary_node)
    if node.offline or ignore_consistency:
        return
    try:
        guest.state_on(ctx, node.uuid, instance)
    except NodeError as err:
        raise PrereqError(
            f"instance {instance.name} cannot be stopped on its node: {err}. If that node is really dead, mark it offline"
            f" first (gnt-node modify -O yes {node.name}), so that the instance cannot run twice",
            Code.ENVIRON,
        ) from err


def fail_over(
    ctx: Context, instance: Instance, target: Node, *, timeout: float, ignore_consistency: bool = False
) -> None:
    """Do it. `ExecError` if the guest cannot be stopped on a node that is not marked offline."""
    source = ctx.config.node(instance.primary_node)
    if source.offline:
        ctx.info(f"Node {source.name} is offline, so instance {instance.name} is not stopped there")
    else:
        ctx.info(f"Stopping instance {instance.name} on {source.name}")
        _stop(ctx, instance, source, timeout, ignore_consistency)
    up = instance.admin_state is AdminState.UP
    moved = guest.update(ctx, instance, primary_node=target.uuid, disks_active=up)
    if up:
        ctx.info(f"Starting instance {instance.name} on {target.name}")
        guest.start(ctx, moved)


def _stop(ctx: Context, instance: Instance, source: Node, timeout: float, ignore_consistency: bool) -> None:
    try:
        guest.stop(ctx, instance, timeout=timeout)
    except (NodeError, ExecError) as err:
        if not ignore_consistency:
            raise ExecError(
                f"instance {instance.name} could not be stopped on {source.name}, so it stays there: {err}. If that node is"
                " really dead, mark it offline and try again"
            ) from err
        ctx.warn(f"Instance {instance.name} could not be stopped ({err}); make sure that node {source.name} is down")
