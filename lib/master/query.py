"""What the master daemon answers about the cluster's objects: the LUXI side of `query`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from ganeti.base.errors import Code, PrereqError
from ganeti.master.gather import gather
from ganeti.model.config import Config
from ganeti.query import engine
from ganeti.query.clusterinfo import cluster_info, config_values
from ganeti.query.field import Live
from ganeti.query.filter import names_filter
from ganeti.query.resources import resource
from ganeti.rpc.call import NodeCaller


class QueryEngine:
    """Answers queries from a fresh snapshot of the store and, where fields need it, from the nodes."""

    def __init__(self, config: Callable[[], Config], nodes: NodeCaller) -> None:
        self._config = config
        self._nodes = nodes

    async def query(self, what: str, fields: Sequence[str], qfilter: Any) -> dict[str, Any]:
        """Rows of ``[status, value]`` cells."""
        prepared, config, live = await self._collect(what, fields, qfilter)
        return engine.answer(prepared, config, live)

    def query_fields(self, what: str, fields: Sequence[str] | None) -> dict[str, Any]:
        """Definitions of fields."""
        return engine.describe_fields(resource(what).fields, fields)

    async def classic(self, what: str, names: Sequence[str] | None, fields: Sequence[str]) -> list[list[Any]]:
        """Rows of plain values; every name must exist."""
        found = resource(what)
        config = self._config()
        for name in names or ():
            found.find(config, name)
        qfilter = names_filter(found.name_field, names or ())
        return engine.classic_rows(*await self._collect(what, fields, qfilter))

    async def _collect(
        self, what: str, fields: Sequence[str], qfilter: Any
    ) -> tuple[engine.Query, Config, Live]:
        config = self._config()
        prepared = engine.prepare(config, what, fields, qfilter)
        live = Live()
        if prepared.nodes(config):
            live = await asyncio.to_thread(gather, prepared, config, self._nodes)
        return prepared, config, live

    def cluster_info(self) -> dict[str, Any]:
        """The answer to ``QueryClusterInfo``."""
        config = self._config()
        return cluster_info(config.cluster, config.master.name)

    def config_values(self, fields: Sequence[str]) -> list[Any]:
        """Single values by name; unknown ones are null."""
        return config_values(self._config(), fields)

    def tags(self, kind: str, name: str) -> list[str]:
        """Tags of one object, sorted."""
        config = self._config()
        if kind == "cluster":
            return sorted(config.cluster.tags)
        finders = {
            "node": config.find_node,
            "instance": config.find_instance,
            "nodegroup": config.find_group,
            "network": config.find_network,
        }
        if kind not in finders:
            raise PrereqError(f"objects of kind '{kind}' have no tags", Code.INVAL)
        return sorted(finders[kind](name).tags)
