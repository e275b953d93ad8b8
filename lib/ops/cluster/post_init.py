"""The first job of a cluster: it only gives hooks the occasion to run."""

from __future__ import annotations

from ganeti.model.config import Config
from ganeti.model.locks import BGL, Locks
from ganeti.ops.base import HookRun, Hooks, Op
from ganeti.ops.context import Context


class ClusterPostInit(Op[None, bool], hooks=Hooks("cluster-init", "CLUSTER")):
    """Run the hooks of a new cluster."""

    def locks(self, config: Config) -> Locks:
        return Locks.of(exclusive=[BGL])

    def plan(self, ctx: Context) -> None:
        return None

    def run(self, ctx: Context, plan: None) -> bool:
        return True

    def hook_run(self, config: Config, plan: None) -> HookRun:
        """On the master."""
        return HookRun(config.cluster.cluster_name, {})
