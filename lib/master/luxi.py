"""The public socket of the master daemon: every method of LUXI."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ganeti.base.errors import Code, GanetiError, PrereqError
from ganeti.master.control import JobControl
from ganeti.master.following import JobViews
from ganeti.master.queries import Queries, job_number
from ganeti.master.queue import JobQueue
from ganeti.master.server import Connection, Dispatcher, Peer
from ganeti.model.objects import Cluster
from ganeti.rpc.luxi import WAIT_FOR_CHANGE_MAX, LuxiApi, Row, WireOp

ABANDONED = frozenset({"WaitForJobChange", "Query", "QueryJobs", "QueryInstances", "QueryNodes", "QueryGroups"})
"""Calls that are interrupted when their client hangs up; what changes something is completed."""

ChangeCluster = Callable[[Callable[[Cluster], Cluster]], Awaitable[None]]
"""Commits what a function makes of the cluster's settings."""


@dataclass(frozen=True)
class LuxiDoors:
    """The parts of the daemon that clients are let in to."""

    queue: JobQueue
    views: JobViews
    control: JobControl
    queries: Queries
    change_cluster: ChangeCluster


class LuxiService:
    """The methods of `LuxiApi`, as coroutines. One object serves all connections."""

    def __init__(self, doors: LuxiDoors) -> None:
        self._queue = doors.queue
        self._views = doors.views
        self._control = doors.control
        self._queries = doors.queries
        self._change_cluster = doors.change_cluster

    # --- jobs

    async def submit_job(self, ops: list[WireOp]) -> int:
        return await self._submit_one(ops, even_if_drained=False)

    async def submit_job_to_drained_queue(self, ops: list[WireOp]) -> int:
        return await self._submit_one(ops, even_if_drained=True)

    async def _submit_one(self, ops: list[WireOp], *, even_if_drained: bool) -> int:
        (answer,) = await self._queue.submit([ops], even_if_drained=even_if_drained)
        if isinstance(answer, GanetiError):
            raise answer
        return answer

    async def submit_many_jobs(self, jobs: list[list[WireOp]]) -> list[tuple[bool, int | str]]:
        answers = await self._queue.submit(jobs)
        return [(False, str(one)) if isinstance(one, GanetiError) else (True, one) for one in answers]

    async def wait_for_job_change(
        self,
        job: int | str,
        fields: list[str],
        previous: Any = None,
        serial: int | None = None,
        timeout: float = WAIT_FOR_CHANGE_MAX,  # noqa: ASYNC109  # the contract's name
    ) -> Any:
        return await self._views.wait_for_change(job_number(job), fields, previous, serial or 0, timeout)

    async def cancel_job(self, job: int | str, kill: bool = False) -> tuple[bool, str]:
        return await self._control.cancel(job_number(job), kill)

    async def archive_job(self, job: int | str) -> bool:
        return await self._control.archive(job_number(job))

    async def auto_archive_jobs(self, age: float, timeout: float) -> tuple[int, int]:  # noqa: ASYNC109
        return await self._control.auto_archive(age, timeout)

    async def change_job_priority(self, job: int | str, priority: int) -> tuple[bool, str]:
        return await self._control.change_priority(job_number(job), priority)

    async def query_jobs(self, ids: list[int | str] | None, fields: list[str]) -> list[Row | None]:
        return await self._views.rows([job_number(one) for one in ids] if ids else None, fields)

    # --- settings of the cluster that have methods of their own

    async def set_drain_flag(self, flag: bool) -> bool:
        await self._change_cluster(lambda cluster: replace(cluster, queue_drained=flag))
        return True

    async def set_watcher_pause(self, until: float | None) -> float | None:
        await self._change_cluster(lambda cluster: replace(cluster, watcher_pause=until))
        return until

    # --- queries

    async def query(self, what: str, fields: list[str], qfilter: Any = None) -> dict[str, Any]:
        return await self._queries.query(what, fields, qfilter)

    async def query_fields(self, what: str, fields: list[str] | None = None) -> dict[str, Any]:
        return self._queries.query_fields(what, fields)

    async def query_instances(self, names: list[str] | None, fields: list[str], lock: bool = False) -> list[Row]:
        return await self._classic("instance", names, fields, lock=lock)

    async def query_nodes(self, names: list[str] | None, fields: list[str], lock: bool = False) -> list[Row]:
        return await self._classic("node", names, fields, lock=lock)

    async def query_groups(self, names: list[str] | None, fields: list[str], lock: bool = False) -> list[Row]:
        return await self._classic("group", names, fields, lock=lock)

    async def _classic(self, what: str, names: Sequence[str] | None, fields: Sequence[str], *, lock: bool) -> list[Row]:
        if lock:
            raise PrereqError("queries cannot take locks", Code.INVAL)
        return await self._queries.objects.classic(what, names, fields)

    async def query_cluster_info(self) -> dict[str, Any]:
        return self._queries.objects.cluster_info()

    async def query_config_values(self, fields: list[str]) -> list[Any]:
        return self._queries.objects.config_values(fields)

    async def query_tags(self, kind: str, name: str = "") -> list[str]:
        return self._queries.objects.tags(kind, name)


class LuxiSession:
    """One connection of a client."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    async def call(self, method: str, args: list[Any]) -> Any:
        return await self._dispatcher.call(method, args)

    def may_abandon(self, method: str) -> bool:
        return method in ABANDONED

    def closed(self) -> None:
        """Nothing is kept for a client."""


def luxi_sessions(service: LuxiService) -> Callable[[Peer, Connection], LuxiSession]:
    """Makes the session of each new connection; who may connect is decided by the mode of the socket."""
    dispatcher = Dispatcher(LuxiApi, service)
    return lambda _peer, _connection: LuxiSession(dispatcher)
