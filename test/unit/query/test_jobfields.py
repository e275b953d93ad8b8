"""Fields of jobs."""

from __future__ import annotations

import pytest

from ganeti.base.errors import PrereqError
from ganeti.model.enums import JobStatus
from ganeti.model.ids import JobId
from ganeti.model.job import Job, JobOp, LogEntry
from ganeti.query.field import FieldKind
from ganeti.query.jobfields import FIELDS, JobView, job_row, needs_log

# Name, title and kind as the public contract has them.
CONTRACT = {
    "archived": ("Archived", "bool"),
    "end_ts": ("End", "other"),
    "id": ("ID", "number"),
    "opend": ("OpCode_end", "other"),
    "opexec": ("OpCode_exec", "other"),
    "oplog": ("OpCode_log", "other"),
    "oppriority": ("OpCode_prio", "other"),
    "opresult": ("OpCode_result", "other"),
    "ops": ("OpCodes", "other"),
    "opstart": ("OpCode_start", "other"),
    "opstatus": ("OpCode_status", "other"),
    "priority": ("Priority", "number"),
    "received_ts": ("Received", "other"),
    "start_ts": ("Start", "other"),
    "status": ("Status", "text"),
    "summary": ("Summary", "other"),
}

JOB = Job(
    id=JobId(5),
    ops=(
        JobOp(input={"OP_ID": "OP_A"}, status=JobStatus.SUCCESS, result="r", priority=-10, start=1, execute=2_000_003, end=4),
        JobOp(input={"OP_ID": "OP_B", "x": (1,)}, status=JobStatus.RUNNING, priority=3),
    ),
    received=1_000_000,
    start=2_500_000,
)
LOG = [
    LogEntry(serial=1, op_index=0, timestamp=7, type="message", message="a"),
    LogEntry(serial=2, op_index=1, timestamp=8, type="message", message="b"),
]

VALUES = {
    "id": 5,
    "status": "running",
    "summary": ["A", "B"],
    "priority": 3,
    "archived": False,
    "received_ts": [1, 0],
    "start_ts": [2, 500_000],
    "end_ts": None,
    "ops": [{"OP_ID": "OP_A"}, {"OP_ID": "OP_B", "x": [1]}],
    "opstatus": ["success", "running"],
    "opresult": ["r", None],
    "oplog": [[[1, [0, 7], "message", "a"]], [[2, [0, 8], "message", "b"]]],
    "opstart": [[0, 1], None],
    "opexec": [[2, 3], None],
    "opend": [[0, 4], None],
    "oppriority": [-10, 3],
}


def test_fields_are_those_of_the_contract() -> None:
    assert {name: (field.title, str(field.kind)) for name, field in FIELDS.items()} == CONTRACT
    assert all(field.kind is not FieldKind.UNKNOWN and field.doc for field in FIELDS.values())


@pytest.mark.parametrize("name", sorted(VALUES))
def test_value_is_plain_json(name: str) -> None:
    assert job_row(JobView(JOB, LOG), [name]) == [VALUES[name]]


def test_summaries_come_from_whoever_knows_the_opcodes() -> None:
    assert job_row(JobView(JOB, (), lambda op: f"<{op['OP_ID']}>"), ["summary"]) == [["<OP_A>", "<OP_B>"]]


def test_unknown_field_is_an_error_that_lists_those_there_are() -> None:
    with pytest.raises(PrereqError, match=r"no field nonsense; they have: archived, end_ts"):
        job_row(JobView(JOB), ["id", "nonsense"])


def test_only_one_field_needs_the_log() -> None:
    assert [name for name in FIELDS if needs_log([name])] == ["oplog"]
