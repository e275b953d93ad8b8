"""From submitted opcodes to jobs and, after a restart, back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ganeti.base.errors import PrereqError
from ganeti.master.acceptance import accept, recall
from ganeti.model.enums import JobStatus
from ganeti.model.ids import JobId
from ganeti.model.job import Dependency
from ganeti.ops.base import Op, param

NOW = 3_000_000


class Open(Op[None, None], op_id="OP_OPEN", summary="door"):
    """Has something to hide."""

    door: str = param()
    key: dict[str, str] | None = param(default=None, secret=True)


def find(op_id: str) -> type[Open] | None:
    return Open if op_id == "OP_OPEN" else None


def test_accepted_job_holds_its_secrets_in_memory_only() -> None:
    accepted = accept(JobId(5), [{"OP_ID": "OP_OPEN", "door": "a", "key": {"pin": "1234"}}], NOW, find)
    assert accepted.ops[0]["key"] == {"pin": "1234"}
    assert accepted.job.ops[0].input["key"] == {"pin": "<redacted>"}
    assert (accepted.job.id, accepted.job.received, accepted.job.status) == (5, NOW, JobStatus.QUEUED)


def test_reason_trail_is_continued() -> None:
    accepted = accept(JobId(5), [{"OP_ID": "OP_OPEN", "door": "a", "reason": [["me", "so", 1]]}], NOW, find)
    trail = [["me", "so", 1], ["gnt:opcode:open", "job=5;index=0", NOW * 1000]]
    assert accepted.job.ops[0].input["reason"] == accepted.ops[0]["reason"] == trail


def test_relative_dependencies_become_absolute() -> None:
    op = {"OP_ID": "OP_OPEN", "door": "a", "depends": [[-2, ["success"]], [1, []]]}
    accepted = accept(JobId(5), [op], NOW, find)
    assert accepted.depends == (Dependency(3, (JobStatus.SUCCESS,)), Dependency(1))
    assert accepted.job.ops[0].input["depends"] == [[3, ["success"]], [1, []]]
    assert op["depends"] == [[-2, ["success"]], [1, []]]


def test_error_names_the_opcode() -> None:
    with pytest.raises(PrereqError, match="opcode 1: OP_OPEN: parameter colour"):
        accept(JobId(5), [{"OP_ID": "OP_OPEN", "door": "a"}, {"OP_ID": "OP_OPEN", "door": "b", "colour": 1}], NOW, find)


def test_recalled_job_is_the_one_that_was_accepted() -> None:
    accepted = accept(JobId(5), [{"OP_ID": "OP_OPEN", "door": "a", "depends": [[-1, []]]}], NOW, find)
    assert recall(accepted.job, find) == accepted


def test_job_whose_secrets_were_lost_must_be_submitted_again() -> None:
    job = accept(JobId(5), [{"OP_ID": "OP_OPEN", "door": "a", "key": {"pin": "1234"}}], NOW, find).job
    with pytest.raises(PrereqError, match="secret parameters key were forgotten.*submit the job again"):
        recall(job, find)
    done = replace(job, ops=tuple(replace(op, status=JobStatus.SUCCESS) for op in job.ops))
    assert recall(done, find).job == done
