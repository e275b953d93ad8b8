"""Executing the opcodes of a job one after the other: locks, plan, hooks, run, undo, result."""

from __future__ import annotations

import logging
import typing
from collections.abc import Callable, Mapping
from typing import Any

from ganeti.base import codec
from ganeti.base.errors import (
    Cancelled,
    Code,
    DecodeError,
    ExecError,
    GanetiError,
    LockTimeout,
    PrereqError,
    to_wire,
)
from ganeti.job.context import Doors, JobContext
from ganeti.job.feedback import Feedback
from ganeti.job.hooks import HookPhases
from ganeti.model.enums import JobStatus
from ganeti.model.locks import Locks
from ganeti.ops import registry
from ganeti.ops.base import Op, from_wire
from ganeti.rpc.jobs import Assignment, OpProgress

log = logging.getLogger(__name__)

Find = Callable[[str], type[Op[Any, Any]] | None]

CANCELLED_RESULT = "Job canceled by request"
MAX_LOCK_ROUNDS = 20
"""How often an operation may find, once it has its locks, that by now it needs others."""


class Executor:
    """Executes jobs through the doors of one worker."""

    def __init__(self, doors: Doors, find: Find = registry.find) -> None:
        self._doors = doors
        self._find = find

    def execute(self, assignment: Assignment) -> list[OpProgress]:
        """Run the job; returns how each of its opcodes ended that was not final before. Raises only `JobTaken`."""
        reports: list[OpProgress] = []
        for index in range(assignment.start_at, len(assignment.ops)):
            if reports:
                self._doors.master.release()
                self._doors.master.progress(reports[-1])
                self._report(index, JobStatus.WAITING)
            reports.append(self._execute_op(assignment, index))
            if reports[-1].status != JobStatus.SUCCESS:
                break
        return reports + self._not_executed(assignment, reports)

    def perform(self, op: Op[Any, Any], job: int, index: int = 0, priority: int = 0) -> Any:
        """Run one opcode; returns its result in wire form, raises its error. Locks stay until they are released."""
        ctx = JobContext(self._doors, op, job, Feedback(self._doors.master, job, index))
        if self._lock(op, priority, opportunistic=True):
            try:
                return self._perform_locked(ctx, index)
            except PrereqError as err:
                if err.code != Code.TEMP_NORES or ctx.commits:
                    raise
                log.info("job %d: %s; trying again with all the locks", job, err)
            self._doors.master.release()
            ctx = JobContext(self._doors, op, job, ctx.feedback)
            self._report(index, JobStatus.WAITING)
            self._lock(op, priority, opportunistic=False)
        return self._perform_locked(ctx, index)

    # --- one opcode

    def _execute_op(self, assignment: Assignment, index: int) -> OpProgress:
        job, wire = assignment.job, assignment.ops[index]
        log.info("job %d: %s begins", job, wire.get("OP_ID"))
        try:
            self._doors.cancellation.check()
            op = from_wire(wire, self._find)
            result = self.perform(op, job, index, assignment.priorities[index])
        except Cancelled as err:
            log.info("job %d: %s was cancelled: %s", job, wire.get("OP_ID"), _with_notes(err))
            return self._final(index, JobStatus.CANCELED, CANCELLED_RESULT)
        except Exception as err:
            return self._final(index, JobStatus.ERROR, self._failed(job, wire, err))
        log.info("job %d: %s ends", job, wire.get("OP_ID"))
        return self._final(index, JobStatus.SUCCESS, result)

    def _perform_locked(self, ctx: JobContext, index: int) -> Any:
        self._doors.cancellation.check()
        self._report(index, JobStatus.RUNNING)
        plan = ctx.op.plan(ctx)
        if ctx.op.dry_run:
            return codec.encode(ctx.op.dry_run_result(plan))
        hooks = HookPhases(ctx, plan)
        hooks.pre()
        try:
            result = ctx.op.run(ctx, plan)
        except Exception as err:
            self._undo(ctx, err)
            raise
        ctx.undo.commit()
        hooks.post()
        return check_result(type(ctx.op), result)

    @staticmethod
    def _undo(ctx: JobContext, error: Exception) -> None:
        ctx.is_undoing = True
        for line in ctx.undo.revert():
            ctx.warn(line)
            error.add_note(line)

    def _failed(self, job: int, wire: Mapping[str, Any], error: Exception) -> list[Any]:
        """The wire form of an error, whatever it was."""
        if isinstance(error, GanetiError):
            log.error("job %d: %s failed: %s", job, wire.get("OP_ID"), _with_notes(error))
            name, args = to_wire(error)
        else:
            log.error("job %d: %s crashed", job, wire.get("OP_ID"), exc_info=error)
            name, args = to_wire(ExecError(f"{type(error).__name__}: {error} (an error in the program; see its log jobs.log)"))
        if args and isinstance(args[0], str):
            args[0] = "; ".join([args[0], *getattr(error, "__notes__", ())])
        return [name, args]

    def _not_executed(self, assignment: Assignment, reports: list[OpProgress]) -> list[OpProgress]:
        if not reports or reports[-1].status == JobStatus.SUCCESS:
            return []
        failed = reports[-1]
        rest = range(failed.index + 1, len(assignment.ops))
        if failed.status == JobStatus.CANCELED:
            return [self._final(index, JobStatus.CANCELED, CANCELLED_RESULT) for index in rest]
        op_id = assignment.ops[failed.index].get("OP_ID")
        error = to_wire(ExecError(f"not executed, because opcode {failed.index + 1} of this job ({op_id}) failed"))
        return [self._final(index, JobStatus.ERROR, error) for index in rest]

    # --- locks

    def _lock(self, op: Op[Any, Any], priority: int, *, opportunistic: bool) -> bool:
        """Hold what the operation wants of the configuration as it is then. Returns whether some locks may be missing."""
        self._doors.current.outdate()
        wanted = _plain(op.locks(self._doors.current.config), opportunistic)
        for _ in range(MAX_LOCK_ROUNDS):
            missing = self._take(wanted, priority)
            self._doors.current.outdate()
            needed = _plain(op.locks(self._doors.current.config), opportunistic)
            if wanted.covers(needed) and needed.opportunistic <= wanted.opportunistic:
                return missing
            self._doors.master.release()
            wanted = wanted.union(needed)
        raise LockTimeout("the configuration changed whenever the operation had its locks; try again when the cluster is calmer")

    def _take(self, wanted: Locks, priority: int) -> bool:
        master = self._doors.master
        while True:
            if wanted.exclusive or wanted.shared:
                master.acquire(wanted.exclusive, wanted.shared, priority)
            if not wanted.opportunistic:
                return False
            free = master.acquire_free(wanted.opportunistic, wanted.opportunistic_minimum)
            if len(free) >= wanted.opportunistic_minimum:
                return len(free) < len(wanted.opportunistic)
            # Not enough of them are free: then wait for all of them.
            master.release()
            wanted = _plain(wanted, opportunistic=False)

    # --- reports

    def _report(self, index: int, status: JobStatus) -> None:
        self._doors.master.progress(OpProgress(index, status, None, self._now()))

    def _final(self, index: int, status: JobStatus, result: Any) -> OpProgress:
        return OpProgress(index, status, result, self._now())

    def _now(self) -> int:
        return int(self._doors.clock() * 1_000_000)


def _plain(wanted: Locks, opportunistic: bool) -> Locks:
    """The same request; unless `opportunistic`, what would be taken as far as it is free is taken like the rest."""
    if opportunistic or not wanted.opportunistic:
        return wanted
    exclusive = wanted.exclusive | wanted.opportunistic
    return Locks(exclusive, wanted.shared - exclusive)


def _with_notes(error: BaseException) -> str:
    return "; ".join([str(error), *getattr(error, "__notes__", ())])


def result_type(cls: type[Op[Any, Any]]) -> Any:
    """The declared type of an operation's result: the second argument of its `Op` base."""
    for base in cls.__mro__:
        for origin in getattr(base, "__orig_bases__", ()):
            if typing.get_origin(origin) is Op:
                declared = typing.get_args(origin)[1]
                return Any if isinstance(declared, typing.TypeVar) else declared
    return Any


def check_result(cls: type[Op[Any, Any]], result: Any) -> Any:
    """The wire form of a result; `ExecError` if it is not of the declared type."""
    try:
        wire = codec.encode(result)
        codec.decode(result_type(cls), wire, "result")
    except (DecodeError, TypeError) as err:
        raise ExecError(f"{cls.OP_ID} was carried out, but what it returned is not what it declares: {err}") from err
    return wire
