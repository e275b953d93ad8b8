"""Fields of jobs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ganeti.base import codec
from ganeti.base.errors import Code, PrereqError
from ganeti.model.job import Job, JobOp, LogEntry, split_time
from ganeti.query.field import Data, Field, FieldKind, FieldTable, fields

DEFAULT_FIELDS = ("id", "status", "summary")


def plain_summary(op: Mapping[str, Any]) -> str:
    """An opcode's summary as far as its wire form alone tells; whoever knows the classes has a better one."""
    return str(op.get("OP_ID", "OP_?")).removeprefix("OP_")


@dataclass(frozen=True)
class JobView:
    """A job with what its fields are made of. `log` may be left out where no field shows it."""

    job: Job
    log: Sequence[LogEntry] = ()
    summarize: Callable[[Mapping[str, Any]], str] = plain_summary

    @property
    def summaries(self) -> list[str]:
        """The summary of each opcode."""
        return [self.summarize(op.input) for op in self.job.ops]


def log_line(entry: LogEntry) -> list[Any]:
    """A log entry on the wire: ``[serial, [seconds, microseconds], type, message]``."""
    return [entry.serial, split_time(entry.timestamp), entry.type, entry.message]


def _logs(view: JobView) -> list[list[list[Any]]]:
    lines: list[list[list[Any]]] = [[] for _ in view.job.ops]
    for entry in view.log:
        lines[entry.op_index].append(log_line(entry))
    return lines


def _per_op(get: Callable[[JobOp], Any]) -> Callable[[Data | None, JobView], list[Any]]:
    return lambda _data, view: [get(op) for op in view.job.ops]


_N, _O, _T, _B = FieldKind.NUMBER, FieldKind.OTHER, FieldKind.TEXT, FieldKind.BOOL

FIELDS: FieldTable = fields(
    Field("id", "ID", _N, lambda _, view: int(view.job.id), "Number of the job"),
    Field("status", "Status", _T, lambda _, view: str(view.job.status), "Status of the job"),
    Field("summary", "Summary", _O, lambda _, view: view.summaries, "Short text for each opcode"),
    Field("priority", "Priority", _N, lambda _, view: view.job.priority, "The most urgent of its opcodes"),
    Field("archived", "Archived", _B, lambda _, view: view.job.archived, "Whether the job is archived"),
    Field("received_ts", "Received", _O, lambda _, view: split_time(view.job.received), "When it was submitted"),
    Field("start_ts", "Start", _O, lambda _, view: split_time(view.job.start), "When it was started"),
    Field("end_ts", "End", _O, lambda _, view: split_time(view.job.end), "When it ended"),
    Field("ops", "OpCodes", _O, _per_op(lambda op: op.input), "Opcodes with their parameters"),
    Field("opstatus", "OpCode_status", _O, _per_op(lambda op: str(op.status)), "Status of each opcode"),
    Field("opresult", "OpCode_result", _O, _per_op(lambda op: op.result), "Result or error of each opcode"),
    Field("oplog", "OpCode_log", _O, lambda _, view: _logs(view), "Log lines of each opcode"),
    Field("opstart", "OpCode_start", _O, _per_op(lambda op: split_time(op.start)), "When each opcode began to wait"),
    Field("opexec", "OpCode_exec", _O, _per_op(lambda op: split_time(op.execute)), "When each opcode began to act"),
    Field("opend", "OpCode_end", _O, _per_op(lambda op: split_time(op.end)), "When each opcode ended"),
    Field("oppriority", "OpCode_prio", _O, _per_op(lambda op: op.priority), "Priority of each opcode"),
)


def needs_log(names: Iterable[str]) -> bool:
    """Whether these fields show log lines."""
    return "oplog" in names


def check_fields(names: Iterable[str]) -> None:
    """`PrereqError` if one of the fields does not exist."""
    wrong = [name for name in names if name not in FIELDS]
    if wrong:
        raise PrereqError(f"jobs have no field {', '.join(wrong)}; they have: {', '.join(sorted(FIELDS))}", Code.INVAL)


def job_row(view: JobView, names: Sequence[str]) -> list[Any]:
    """The values of fields, as plain JSON; `PrereqError` if one does not exist."""
    check_fields(names)
    return [codec.encode(FIELDS[name].get(_NO_DATA, view)) for name in names]


# The fields of a job are made of the job alone.
_NO_DATA: Any = None
