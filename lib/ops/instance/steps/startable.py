"""Whether an instance can be started on a node."""

from __future__ import annotations

from ganeti.base.errors import Code, NodeError, PrereqError
from ganeti.model.filled import fill_beparams, fill_hvparams
from ganeti.model.objects import Instance, Node
from ganeti.ops.context import Context
from ganeti.ops.instance.steps import new_nics, new_params
from ganeti.ops.steps import capacity


def check_startable(ctx: Context, instance: Instance, node: Node, *, memory: int | None = None) -> capacity.NodeFacts:
    """`PrereqError` unless bridges, hypervisor and memory of the node allow it; returns what the node said.

    `memory`: MiB that are needed, if not the instance's minimum.
    """
    cluster = ctx.config.cluster
    new_nics.check_bridges(ctx, [node.uuid], instance.nics)
    new_params.check_hypervisor_on(ctx, [node.uuid], instance.hypervisor, fill_hvparams(cluster, instance))
    facts = capacity.ask_nodes(ctx, [node.uuid], instance.hypervisor, besides=[instance.name])[node.uuid]
    if isinstance(facts, NodeError):
        raise PrereqError(str(facts), Code.ENVIRON)
    wanted = int(fill_beparams(cluster, instance)["minmem"]) if memory is None else memory
    capacity.require_memory(facts, node.name, wanted, f"instance {instance.name}")
    return facts
