"""Turning requests into entries of the change log, each checked against what is stored, inside one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ganeti.base import codec
from ganeti.base.errors import QueueError
from ganeti.model import checks
from ganeti.model.changes import Committed, Step, stamp, target
from ganeti.model.enums import Kind
from ganeti.model.index import entries, name_of
from ganeti.model.job import Job, LogEntry
from ganeti.model.objects import CLASSES, Change, Put
from ganeti.store import schema
from ganeti.store.rows import PRESENT, DecodeCache, TableRows, run
from ganeti.store.schema import Entry, LogRow

PRUNE_EVERY = 1000
KEEP_LOG, KEEP_HISTORY, KEEP_TOKENS = 20_000, 200_000, 200_000
"""Transactions whose traces are kept: for replicas that fell behind, for old snapshots, for repeated requests."""


@dataclass(frozen=True)
class Write:
    """A request: everything in it is written in one transaction, under one serial number."""

    changes: Sequence[Change] = ()
    new_jobs: Sequence[Job] = ()
    """Must not exist yet; ids from `Store.allocate_job_ids`."""
    jobs: Sequence[Job] = ()
    """Must exist."""
    log: Mapping[int, Sequence[LogEntry]] = field(default_factory=dict)
    """Lines by job."""
    archive: Sequence[int] = ()
    remove: Sequence[int] = ()
    token: str | None = None
    """Names the request: if it has been written already, the answer is repeated and nothing is written."""


class Transaction:
    """Several requests, written one after the other; each gets a serial number and a row of the change log."""

    def __init__(self, connection: sqlite3.Connection, cache: DecodeCache, serial: int, epoch: int, now: float) -> None:
        """`connection` is inside a transaction; `serial` and `epoch` are those of the last row written."""
        self.rows: list[LogRow] = []
        self._connection = connection
        self._cache = cache
        self._serial = serial
        self._epoch = epoch
        self._now = now
        self._present = TableRows(lambda sql, arguments: run(connection, sql, arguments), cache, PRESENT)

    def perform(self, what: Write | int) -> Committed:
        """Do one request (a number: begin that epoch). If it is refused, whatever it wrote is undone and the error raised."""
        self._connection.execute("SAVEPOINT request")
        try:
            result = self._append(Entry(self._now), epoch=what) if isinstance(what, int) else self._perform(what)
        except sqlite3.Error:
            raise  # the whole transaction is lost
        except BaseException:
            self._connection.execute("ROLLBACK TO request")
            self._connection.execute("RELEASE request")
            raise
        self._connection.execute("RELEASE request")
        return result

    def finish(self) -> None:
        """Record how far the store is; once, before the transaction is committed."""
        if not self.rows:
            return
        if self._serial // PRUNE_EVERY != (self.rows[0][0] - 1) // PRUNE_EVERY:
            floors = [max(0, self._serial - keep) for keep in (KEEP_LOG, KEEP_HISTORY, KEEP_TOKENS)]
            self._append(Entry(self._now, ops=[["prune", *floors]]))
        schema.finish(self._connection, self._serial, self._epoch)

    def _perform(self, what: Write) -> Committed:
        repeated = self._find_token(what.token) if what.token is not None else None
        if repeated is not None:
            return repeated
        steps = stamp(self._present, what.changes, self._now)
        entry = Entry(self._now, what.token, [*map(self._change_op, steps), *self._job_ops(what)])
        for step in steps:
            if step.before is None and isinstance(step.change, Put) and step.change.obj.KIND is Kind.CLUSTER:
                entry.ops.append(["meta", "cluster", step.change.obj.uuid])
        if not entry.ops:
            return Committed(self._serial)
        return self._append(entry, self._epoch, steps)

    def _append(self, entry: Entry, epoch: int | None = None, steps: Sequence[Step] = ()) -> Committed:
        row = (self._serial + 1, self._epoch if epoch is None else epoch, entry.to_text())
        schema.apply(self._connection, row, entry)
        if steps:
            checks.check_changes(self._present, steps)
        self._serial, self._epoch = row[0], row[1]
        self.rows.append(row)
        return Committed(self._serial, [step.change.obj for step in steps if isinstance(step.change, Put)])

    def _find_token(self, token: str) -> Committed | None:
        found = run(self._connection, "SELECT serial, objects FROM tokens WHERE token = ?", (token,))
        if not found:
            return None
        serial, text = found[0]
        return Committed(serial, [codec.from_json(CLASSES[Kind(kind)], json) for kind, json in codec.loads(text)])

    def _change_op(self, step: Step) -> list[Any]:
        obj = step.after
        if obj is None:
            return ["delete", *target(step.change)]
        kind, text = obj.KIND.value, codec.to_json(obj)
        # The checks look at it soon.
        self._cache.learn((kind, obj.uuid), text, obj)
        return ["put", kind, obj.uuid, name_of(obj), obj.serial_no, text, sorted(entries(obj))]

    def _job_ops(self, what: Write) -> list[list[Any]]:
        ops: list[list[Any]] = []
        for job in what.new_jobs:
            if self._has_job(job.id):
                raise QueueError(f"job {job.id} exists already")
            ops.append(_job_op(job))
        for job in what.jobs:
            if not self._has_job(job.id):
                raise QueueError(f"job {job.id} does not exist (any more)")
            ops.append(_job_op(job))
        ops.extend(["log", job, [_line(line) for line in lines]] for job, lines in what.log.items() if lines)
        if what.archive:
            ops.append(["archive", list(what.archive)])
        if what.remove:
            ops.append(["remove-jobs", list(what.remove)])
        return ops

    def _has_job(self, ident: int) -> bool:
        return bool(run(self._connection, "SELECT 1 FROM jobs WHERE id = ?", (ident,)))


def _job_op(job: Job) -> list[Any]:
    status = job.status
    return ["job", job.id, status.value, job.priority, int(status.is_final), int(job.archived), codec.to_json(job)]


def _line(line: LogEntry) -> list[Any]:
    return [line.serial, line.op_index, line.timestamp, line.type, codec.dumps(line.message)]
