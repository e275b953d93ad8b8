"""What the master daemon answers about the cluster's objects: the LUXI side of `query`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ganeti.base.errors import Code, PrereqError
from ganeti.master.gather import gather
from ganeti.model.config import Config
from ganeti.query import engine
from ganeti.query.clusterinfo import cluster_info, config_values
from ganeti.query.field import Live
from ganeti.query.filter import names_filter
from ganeti.query.resources import resource
from ganeti.rpc.call import NodeCaller

T = TypeVar("T")
Finish = Callable[[engine.Query, Config, Live], T]

AT_ONCE = 50
"""Objects that are looked at inside the event loop; more of them take long enough for a thread."""


class QueryEngine:
    """Answers queries from a fresh snapshot of the store and, where fields need it, from the nodes."""

    def __init__(self, config: Callable[[], Config], nodes: NodeCaller) -> None:
        self._config = config
        self._nodes = nodes

    async def query(self, what: str, fields: Sequence[str], qfilter: Any) -> dict[str, Any]:
        """Rows of ``[status, value]`` cells."""
        return await self._evaluate(engine.answer, what, fields, qfilter)

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
        return await self._evaluate(engine.classic_rows, what, fields, qfilter)

    async def _evaluate(self, finish: Finish[T], what: str, fields: Sequence[str], qfilter: Any) -> T:
        """Small answers from the configuration are made at once; what asks nodes or is long must not hold up the loop."""
        config = self._config()
        prepared = engine.prepare(config, what, fields, qfilter)
        if not prepared.nodes(config) and len(prepared.candidates) <= AT_ONCE:
            return finish(prepared, config, Live())
        return await asyncio.to_thread(
            lambda: finish(prepared, config, gather(prepared, config, self._nodes))
        )

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
