"""Queries: jobs and locks are answered from memory here, everything else by the engine for the cluster's objects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ganeti.base.errors import Code, PrereqError
from ganeti.master.following import JobViews
from ganeti.master.locks import LockRow, LockTable
from ganeti.model.config import Config
from ganeti.query import engine, jobfields, lockfields
from ganeti.query.field import Data, FieldKind, FieldTable, Status, select
from ganeti.query.filter import compile_filter, plain_names, referenced
from ganeti.query.jobfields import JobView
from ganeti.query.lockfields import LockView

_TABLES: dict[str, FieldTable] = {"job": jobfields.FIELDS, "lock": lockfields.FIELDS}


class ObjectQueries(Protocol):
    """Queries about the objects of the cluster (`master.query`)."""

    async def query(self, what: str, fields: Sequence[str], qfilter: Any) -> dict[str, Any]: ...

    def query_fields(self, what: str, fields: Sequence[str] | None) -> dict[str, Any]: ...

    async def classic(self, what: str, names: Sequence[str] | None, fields: Sequence[str]) -> list[list[Any]]: ...

    def cluster_info(self) -> dict[str, Any]: ...

    def config_values(self, fields: Sequence[str]) -> list[Any]: ...

    def tags(self, kind: str, name: str) -> list[str]: ...


class Queries:
    """LUXI's ``Query`` and ``QueryFields`` for every resource."""

    def __init__(self, objects: ObjectQueries, jobs: JobViews, locks: LockTable, config: Callable[[], Config]) -> None:
        self.objects = objects
        self._jobs = jobs
        self._locks = locks
        self._config = config

    async def query(self, what: str, fields: Sequence[str], qfilter: Any) -> dict[str, Any]:
        """``{"fields": definitions, "data": rows of [status, value]}``; fields that do not exist are marked so."""
        if what == "job":
            items: Sequence[Any] = await self._find_jobs(fields, qfilter)
        elif what == "lock":
            items = [view_lock(row) for row in self._locks.rows()]
        else:
            return await self.objects.query(what, fields, qfilter)
        table = _TABLES[what]
        # Jobs that were asked for by number (which may be text) have been found by it.
        by_number = what == "job" and plain_names(qfilter, "id") is not None
        test = compile_filter(table, None if by_number else qfilter)
        data = Data(self._config())
        chosen = select(table, fields)
        unknown = [int(Status.UNKNOWN), None]
        rows = [
            [unknown if one.kind is FieldKind.UNKNOWN else one.cell(data, item) for one in chosen]
            for item in items
            if test(data, item)
        ]
        return {"fields": [one.describe() for one in chosen], "data": rows}

    def query_fields(self, what: str, fields: Sequence[str] | None) -> dict[str, Any]:
        """Definitions of fields (None: of all)."""
        if what in _TABLES:
            return engine.describe_fields(_TABLES[what], fields)
        return self.objects.query_fields(what, fields)

    async def _find_jobs(self, fields: Sequence[str], qfilter: Any) -> list[JobView]:
        named = plain_names(qfilter, "id")
        log = jobfields.needs_log([*fields, *referenced(qfilter)])
        if named is None:
            return await self._jobs.find(None, log=log)
        return await self._jobs.find([job_number(one) for one in named], log=log)


def view_lock(row: LockRow) -> LockView:
    """One lock as its fields show it: jobs by their numbers, as text; those that wait one by one, in order."""
    pending = tuple((mode, (str(owner),)) for mode, owner in row.pending)
    return LockView(row.name, row.mode, tuple(map(str, row.owners)), pending)


def job_number(value: Any) -> int:
    """A job's id from the wire, where it may be text; `PrereqError` if it is neither."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    raise PrereqError(f"'{value}' is not the number of a job", Code.INVAL)
