"""The last job of a cluster. Its files are removed afterwards, when the daemons have stopped (`bootstrap.destroy`)."""

from __future__ import annotations

from ganeti.base.errors import Code, NodeError, PrereqError
from ganeti.model.config import Config
from ganeti.model.locks import BGL, Locks
from ganeti.ops.base import HookRun, Hooks, Op
from ganeti.ops.context import Context
from ganeti.rpc.node.node import MasterAddress, NodeApi


class ClusterDestroy(Op[str, str], hooks=Hooks("cluster-destroy", "CLUSTER")):
    """Make sure that nothing is left but the master, and take the cluster's address down. The result is the master's uuid."""

    def locks(self, config: Config) -> Locks:
        return Locks.of(exclusive=[BGL])

    def plan(self, ctx: Context) -> str:
        config = ctx.config
        for what, names in (
            ("instances", [instance.name for instance in config.instances]),
            ("other nodes", [node.name for node in config.nodes if node.uuid != config.cluster.master_node]),
        ):
            if names:
                listed = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
                raise PrereqError(f"the cluster still has {what} ({listed}); remove them first", Code.STATE)
        return config.cluster.master_node

    def run(self, ctx: Context, plan: str) -> str:
        cluster = ctx.config.cluster
        address = MasterAddress(
            cluster.master_ip,
            cluster.master_netdev,
            cluster.master_netmask,
            cluster.primary_ip_family,
            cluster.use_external_mip_script,
        )
        try:
            ctx.nodes.call(cluster.master_node, NodeApi.master_address_stop, address)
        except NodeError as err:
            ctx.warn(f"The cluster's address {cluster.master_ip} was not taken down: {err}")
        return plan

    def hook_run(self, config: Config, plan: str) -> HookRun:
        """On the master."""
        return HookRun(config.cluster.cluster_name, {})
