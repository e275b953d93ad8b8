"""Submitting jobs to a master daemon that is ended in the middle."""

from __future__ import annotations

from typing import Any

from unit.cli.test_app import Terminal

from ganeti.base import errors
from ganeti.base.paths import Paths
from ganeti.cli import app

LOST = errors.AnswerLost("the master daemon closed the connection")


class Master:
    """A daemon whose first answers to submissions get lost; `accepts` says whether it had accepted what it was sent."""

    def __init__(self, *, accepts: bool) -> None:
        self.accepts = accepts
        self.jobs: list[list[dict[str, Any]]] = []
        self.lost = 0

    def accept(self, ops: list[dict[str, Any]]) -> int:
        # The daemon adds to the trail of reasons.
        self.jobs.append([{**op, "reason": [*op["reason"], ["gnt:opcode", "job", 1]]} for op in ops])
        return len(self.jobs)

    def submit(self, ops: list[dict[str, Any]]) -> int:
        self.lost += 1
        if self.lost > 1:
            return self.accept(ops)
        if self.accepts:
            self.accept(ops)
        raise LOST

    def submit_many(self, jobs: list[list[dict[str, Any]]]) -> list[tuple[bool, int]]:
        self.lost += 1
        if self.lost > 1:
            return [(True, self.accept(ops)) for ops in jobs]
        self.accept(jobs[0])
        raise LOST

    def terminal(self) -> Terminal:
        answers = {
            "SubmitJob": self.submit,
            "SubmitManyJobs": self.submit_many,
            "QueryJobs": lambda ids, fields: [[number, ops] for number, ops in enumerate(self.jobs, 1)],
            "WaitForJobChange": lambda *_: [["success", ["success"], [None]], []],
        }
        return Terminal(answers, paths=Paths("/nowhere/node1.example.com"))


def test_a_job_whose_answer_was_lost_is_found_and_followed() -> None:
    master = Master(accepts=True)
    master.accept([{"OP_ID": "OP_TEST_DELAY", "reason": [["gnt:client:gnt-debug", "delay", 1]]}])
    terminal = master.terminal()
    assert app.main(["gnt-debug", "delay", "--print-jobid", "0"], terminal) == 0
    assert len(master.jobs) == 2 and "JobID: 2" in terminal.err


def test_a_job_that_was_not_accepted_is_submitted_again() -> None:
    master = Master(accepts=False)
    assert app.main(["gnt-debug", "delay", "0"], master.terminal()) == 0
    assert len(master.jobs) == 1


def test_of_many_jobs_only_those_that_were_not_accepted_are_submitted_again() -> None:
    master = Master(accepts=True)
    assert app.main(["gnt-instance", "startup", "web1", "web2", "web3"], master.terminal()) == 0
    assert sorted(ops[0]["instance_name"] for ops in master.jobs) == ["web1", "web2", "web3"]
