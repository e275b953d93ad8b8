"""The settings of the cluster, through a job."""

from __future__ import annotations

from typing import Any

from ganeti.model.config import Config
from ganeti.model.locks import Locks
from ganeti.ops.base import Op
from ganeti.ops.context import Context
from ganeti.query.clusterinfo import cluster_info


class ClusterQuery(Op[None, dict[str, Any]], changes_nothing=True):
    """Versions and settings of the cluster."""

    def locks(self, config: Config) -> Locks:
        return Locks.none()

    def plan(self, ctx: Context) -> None:
        return None

    def run(self, ctx: Context, plan: None) -> dict[str, Any]:
        return cluster_info(ctx.config.cluster, ctx.config.master.name)
