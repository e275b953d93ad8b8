"""Single values of the configuration, through a job."""

from __future__ import annotations

from typing import Any

from ganeti.model.config import Config
from ganeti.model.locks import Locks
from ganeti.ops.base import Op, param
from ganeti.ops.context import Context
from ganeti.query.clusterinfo import config_values


class ClusterConfigQuery(Op[None, list[Any]], changes_nothing=True):
    """Single values, in the order asked for; unknown ones are null."""

    output_fields: list[str] = param(help="Names of values, such as cluster_name or master_node")

    def locks(self, config: Config) -> Locks:
        return Locks.none()

    def plan(self, ctx: Context) -> None:
        return None

    def run(self, ctx: Context, plan: None) -> list[Any]:
        return config_values(ctx.config, self.output_fields)
