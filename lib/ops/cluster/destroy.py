"""The last job of a cluster: it takes down the cluster's address. The files are removed by `bootstrap.destroy` after it."""

from __future__ import annotations

from ganeti.base.errors import Code, PrereqError
from ganeti.model.config import Config
from ganeti.model.locks import BGL, Locks
from ganeti.ops.base import HookRun, Hooks, Op
from ganeti.ops.context import Context
from ganeti.rpc.node.node import MasterAddress, NodeApi

SHOWN = 5
"""How many of the objects that are in the way an error names."""


class ClusterDestroy(Op[None, str], hooks=Hooks("cluster-destroy", "CLUSTER")):
    """Prepare for the end of the cluster. The result is the master's name."""

    def locks(self, config: Config) -> Locks:
        return Locks.of(exclusive=[BGL])

    def plan(self, ctx: Context) -> None:
        """Only an empty cluster can be destroyed."""
        config = ctx.config
        instances = [instance.name for instance in config.instances]
        if instances:
            raise PrereqError(
                f"the cluster still has instances ({_some(instances)}); remove them first", Code.STATE
            )
        nodes = [node.name for node in config.nodes if node.uuid != config.cluster.master_node]
        if nodes:
            raise PrereqError(
                f"the cluster still has other nodes ({_some(nodes)}); remove them first", Code.STATE
            )

    def run(self, ctx: Context, plan: None) -> str:
        """Take the cluster's address down."""
        cluster, master = ctx.config.cluster, ctx.config.master
        address = MasterAddress(
            cluster.master_ip,
            cluster.master_netdev,
            cluster.master_netmask,
            cluster.primary_ip_family,
            cluster.use_external_mip_script,
        )
        ctx.nodes.call(master.uuid, NodeApi.master_address_stop, address)
        return master.name

    def hook_run(self, config: Config, plan: None) -> HookRun:
        cluster = config.cluster
        return HookRun(cluster.cluster_name, {"OP_TARGET": cluster.cluster_name})


def _some(names: list[str]) -> str:
    listed = ", ".join(names[:SHOWN])
    return listed if len(names) <= SHOWN else f"{listed} and {len(names) - SHOWN} more"
