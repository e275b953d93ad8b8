"""Following a job over LUXI to its end, and what its end means. For every program that submits jobs."""

from __future__ import annotations

from ganeti.base import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Call = Callable[..., Any]
    """Calls a LUXI method by name."""

FIELDS = ["status", "opstatus", "opresult"]
FINAL = ("success", "error", "canceled")
WAIT = 60.0
"""Seconds of one request for news."""


def news(call: Call, job: int) -> Iterator[tuple[list[Any] | None, list[list[Any]]]]:
    """What becomes of a job, as it comes: ([status, opstatus, opresult] if changed, new log entries). Ends when it is final."""
    previous: Any = None
    serial: int | None = None
    while True:
        answer = call("WaitForJobChange", job, FIELDS, previous, serial, WAIT)
        if not answer:
            raise errors.JobLost(f"job {job} is not in the queue (archived, or never there)")
        if answer == "nochange":
            continue
        values, entries = answer
        entries = entries or []
        for entry in entries:
            serial = max(serial or 0, entry[0])
        previous = values if values is not None else previous
        yield values, entries
        if values is not None and values[0] in FINAL:
            return


def results(job: int, values: list[Any]) -> list[Any]:
    """The results of a job that has ended, or the error of the opcode that failed."""
    status, op_status, op_results = values
    if status == "success":
        return list(op_results)
    if status == "canceled":
        raise errors.Cancelled(f"job {job} was cancelled")
    for index, (state, result) in enumerate(zip(op_status, op_results, strict=True)):
        if state == "error":
            error = errors.from_wire(result)
            raise errors.ExecError(f"job {job}: opcode {index + 1}: {error.message}") if index else error
    raise errors.ExecError(f"job {job} ended as {status}")


def run_quietly(call: Call, ops: list[dict[str, Any]]) -> list[Any]:
    """Submit a job, wait for it without a word, and return its results."""
    job = int(call("SubmitJob", ops))
    values: list[Any] = []
    for changed, _ in news(call, job):
        values = changed or values
    return results(job, values)
