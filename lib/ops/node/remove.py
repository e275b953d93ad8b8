"""Remove a node from the cluster.

Order of effects: the configuration forgets the node (so that nobody trusts it any more), then the node is told to forget
the cluster. If it cannot be told, it keeps files that are of no use to it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

from ganeti.base.errors import Code, NodeError, PrereqError
from ganeti.model import candidates
from ganeti.model.config import Config
from ganeti.model.index import IndexedRows
from ganeti.model.locks import BGL, Locks
from ganeti.model.objects import Delete, Node, Put
from ganeti.ops.base import HookRun, Hooks, Op, param
from ganeti.ops.checks import not_empty
from ganeti.ops.context import Context
from ganeti.ops.node.steps.membership import distribute_ssh, let_nobody_in
from ganeti.rpc.node.node import NodeApi


@dataclass(frozen=True)
class Plan:
    """The node that leaves, and those that become candidates in its place."""

    node: Node
    promoted: tuple[Node, ...]


class NodeRemove(
    Op[Plan, None], command="gnt-node remove", summary="node_name", hooks=Hooks("node-remove", "NODE")
):
    """Remove a node that has no instances."""

    node_name: str = param(help="Node to remove", complete="node")
    node_uuid: str | None = param(default=None, help="The node, by uuid", check=not_empty)

    def locks(self, config: Config) -> Locks:
        """Everything stands still while the membership changes."""
        return Locks.of(exclusive=[BGL])

    def plan(self, ctx: Context) -> Plan:
        config = ctx.config
        node = config.find_node(self.node_uuid or self.node_name)
        if node.uuid == config.cluster.master_node:
            raise PrereqError(
                f"node {node.name} is the master, so it cannot be removed; make another node the master first"
                " (gnt-cluster master-failover), or destroy the cluster",
                Code.STATE,
            )
        # Every implementation of rows has indexes; asking them costs the same in a cluster of any size.
        moving = cast(IndexedRows, config.rows).lookup("migration-peer", node.uuid)
        instances = [
            *config.primary_instances(node.uuid),
            *config.secondary_instances(node.uuid),
            *(config.instance(uuid) for _, uuid in moving),
        ]
        if instances:
            listed = ", ".join(sorted({instance.name for instance in instances})[:10])
            raise PrereqError(f"node {node.name} still has instances ({listed}); move or remove them first", Code.STATE)
        others = [other for other in config.nodes if other.uuid != node.uuid]
        return Plan(node, tuple(candidates.to_promote(config.cluster, others)))

    def run(self, ctx: Context, plan: Plan) -> None:
        node = plan.node
        ctx.introduce(node)
        ctx.commit([Delete.of(node), *(Put(replace(other, master_candidate=True)) for other in plan.promoted)])
        for other in plan.promoted:
            ctx.info(f"Node {other.name} becomes a master candidate")
        distribute_ssh(ctx, [node])
        try:
            let_nobody_in(ctx, node)
            ctx.nodes.call(node.uuid, NodeApi.node_leave)
        except NodeError as err:
            ctx.warn(f"The node was removed, but could not be told to forget the cluster ({err}); clean it up by hand")

    def hook_run(self, config: Config, plan: Plan) -> HookRun:
        """On all other nodes, before and after."""
        nodes = tuple(node.uuid for node in config.nodes if node.uuid != plan.node.uuid)
        return HookRun(plan.node.name, {"NODE_NAME": plan.node.name}, nodes, nodes)
