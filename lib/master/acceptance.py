"""From what a client submitted to jobs: opcodes are decoded strictly, secrets blanked out, dependencies made absolute. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ganeti.base.errors import Code, PrereqError
from ganeti.base.secret import REDACTED
from ganeti.master.scheduler import parse_dependencies
from ganeti.model.ids import JobId
from ganeti.model.job import PRIORITY_HIGHEST, PRIORITY_LOWEST, Dependency, Job, JobOp
from ganeti.ops.base import Op, from_wire, params_of, redacted
from ganeti.rpc.luxi import WireOp

FindOp = Callable[[str], type[Op[Any, Any]] | None]


@dataclass(frozen=True)
class Accepted:
    """A job as it is stored, and what only memory holds: its opcodes with their secrets."""

    job: Job
    ops: list[WireOp]
    depends: tuple[Dependency, ...]


def accept(ident: JobId, ops: Sequence[WireOp], now: int, find: FindOp) -> Accepted:
    """A new job of these opcodes, `now` being microseconds since 1970; `PrereqError` says what is wrong with them."""
    if not ops:
        raise PrereqError("a job must have at least one opcode", Code.INVAL)
    decoded = [_decode(value, index, find) for index, value in enumerate(ops)]
    complete = [_complete(value, ident, index, now) for index, value in enumerate(ops)]
    stored = tuple(
        JobOp(input=redacted(value, find), priority=op.priority) for value, op in zip(complete, decoded, strict=True)
    )
    depends = parse_dependencies(ident, (op.depends for op in decoded))
    return Accepted(Job(id=ident, ops=stored, received=now), complete, depends)


def _decode(value: WireOp, index: int, find: FindOp) -> Op[Any, Any]:
    try:
        op = from_wire(value, find)
    except PrereqError as err:
        raise PrereqError(f"opcode {index}: {err}", err.code) from err
    if not PRIORITY_HIGHEST <= op.priority <= PRIORITY_LOWEST:
        text = f"opcode {index}: priority {op.priority} is not between {PRIORITY_HIGHEST} and {PRIORITY_LOWEST}"
        raise PrereqError(text, Code.INVAL)
    return op


def _complete(value: WireOp, ident: int, index: int, now: int) -> WireOp:
    """The opcode with absolute dependencies and its entry in the reason trail: [source, text, nanoseconds]."""
    source = "gnt:opcode:" + str(value["OP_ID"]).removeprefix("OP_").lower()
    trail = [*(value.get("reason") or ()), [source, f"job={ident};index={index}", now * 1000]]
    result = {**value, "reason": trail}
    if value.get("depends"):
        result["depends"] = [[ident + other if other < 0 else other, words] for other, words in value["depends"]]
    return result


def recall(job: Job, find: FindOp) -> Accepted:
    """A job read back from the store; `PrereqError` if it cannot be executed any more."""
    ops = [dict(op.input) for op in job.ops]
    decoded = []
    for index, (value, op) in enumerate(zip(ops, job.ops, strict=True)):
        lost = _lost_secrets(value, find)
        if lost and not op.status.is_final:
            raise PrereqError(
                f"opcode {index}: the secret parameters {', '.join(lost)} were forgotten when the master daemon ended, as"
                " they are never written to disk; please submit the job again",
                Code.INVAL,
            )
        decoded.append(_decode(value, index, find))
    return Accepted(job, ops, parse_dependencies(job.id, (op.depends for op in decoded)))


def _lost_secrets(value: WireOp, find: FindOp) -> list[str]:
    cls = find(str(value.get("OP_ID")))
    names = [name for name, (_, _, info) in params_of(cls).items() if info.secret] if cls else []
    return [name for name in names if _is_redacted(value.get(name))]


def _is_redacted(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_is_redacted(item) for item in value.values())
    return bool(value == REDACTED)
