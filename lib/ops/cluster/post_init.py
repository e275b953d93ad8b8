"""The first job of a new cluster: it shows that jobs run, and runs the hooks."""

from __future__ import annotations

from ganeti.model.config import Config
from ganeti.model.locks import BGL, Locks
from ganeti.ops.base import HookRun, Hooks, Op
from ganeti.ops.context import Context


class ClusterPostInit(Op[None, bool], hooks=Hooks("cluster-init", "CLUSTER"), changes_nothing=True):
    """Run the hooks of a cluster that was just made."""

    def locks(self, config: Config) -> Locks:
        return Locks.of(exclusive=[BGL])

    def plan(self, ctx: Context) -> None:
        """Nothing can be wrong yet."""

    def run(self, ctx: Context, plan: None) -> bool:
        """The result says that it worked."""
        return True

    def hook_run(self, config: Config, plan: None) -> HookRun:
        cluster = config.cluster
        return HookRun(cluster.cluster_name, {"OP_TARGET": cluster.cluster_name}, (), (cluster.master_node,))
