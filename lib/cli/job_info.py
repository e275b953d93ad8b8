"""`gnt-job info`."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import Any

from ganeti.base.errors import Code, PrereqError
from ganeti.cli.command import EXIT_SUCCESS, Environment
from ganeti.cli.job_verbs import job_id
from ganeti.cli.output import Pairs, nested

FIELDS = (
    "id status ops opresult opstatus oplog opstart opexec opend received_ts start_ts end_ts priority archived".split()  # noqa: SIM905  # a table of words reads better so
)


class Info:
    """Times, opcodes with their parameters, results and messages."""

    def configure(self, parser: ArgumentParser) -> None:
        """At least one job."""
        parser.add_argument("jobs", nargs="+", metavar="JOB")

    def run(self, env: Environment, args: Namespace) -> int:
        """Query and print."""
        ids = [job_id(text) for text in args.jobs]
        rows = env.call("QueryJobs", ids, FIELDS)
        shown = []
        for job, row in zip(ids, rows, strict=True):
            if row is None:
                raise PrereqError(f"there is no job {job}", Code.NOENT)
            shown.append(describe(dict(zip(FIELDS, row, strict=True))))
        env.say("\n".join(nested(shown)))
        return EXIT_SUCCESS


def moment(value: Sequence[int] | None) -> str:
    """A time of a job, to the microsecond."""
    if not value:
        return "N/A"
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(value[0]))}.{value[1]:06d}"


def describe(job: dict[str, Any]) -> Pairs:
    """One job as names and values. Pure."""
    ops = [
        _opcode(*parts)
        for parts in zip(
            job["ops"],
            job["opstatus"],
            job["opresult"],
            job["oplog"],
            job["opstart"],
            job["opexec"],
            job["opend"],
            strict=True,
        )
    ]
    return [
        ("Job ID", job["id"]),
        ("Status", job["status"]),
        ("Received", moment(job["received_ts"])),
        ("Processing start", _with_delta(job["start_ts"], job["received_ts"])),
        ("Processing end", _with_delta(job["end_ts"], job["start_ts"])),
        ("Total processing time", _total(job)),
        ("Opcodes", ops),
    ]


def _seconds(value: Sequence[int]) -> float:
    return value[0] + value[1] / 1e6


def _with_delta(value: Sequence[int] | None, before: Sequence[int] | None) -> str:
    if not value or not before:
        return moment(value)
    return f"{moment(value)} (delta {_seconds(value) - _seconds(before):.6f}s)"


def _total(job: dict[str, Any]) -> str:
    if not job["end_ts"] or not job["received_ts"]:
        return "N/A"
    return f"{_seconds(job['end_ts']) - _seconds(job['received_ts']):.6f} seconds"


def _opcode(op: dict[str, Any], status: str, result: Any, log: list[Any], *times: Any) -> Pairs:
    start, execute, end = times
    inputs = {name: value for name, value in op.items() if name not in ("OP_ID", "reason")}
    messages = [f"{moment(when)} {text}" for _, when, _, text in log]
    return [
        (op["OP_ID"], ""),
        ("Status", status),
        ("Processing start", moment(start)),
        ("Execution start", moment(execute)),
        ("Processing end", moment(end)),
        (
            "Input fields",
            {
                name: value if not isinstance(value, (list, dict)) else str(value)
                for name, value in inputs.items()
            },
        ),
        ("Result", result if not isinstance(result, (list, dict)) else str(result)),
        ("Execution log", messages),
    ]


INFO = Info()
