"""Submitting jobs and following them: messages with their times as they come, and the result at the end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from ganeti.base import errors
from ganeti.base.jsontext import dumps
from ganeti.cli.command import EXIT_FAILURE, EXIT_SUCCESS, Environment
from ganeti.rpc import following

WireOp = dict[str, Any]


def add_submit_options(parser: Any) -> None:
    """The options of every command that submits a job."""
    parser.add_argument("--submit", dest="submit_only", action="store_true", help="Submit and do not wait")
    parser.add_argument("--print-jobid", action="store_true", help="Print the job's id on standard error")


def with_trail(env: Environment, args: Any, op: WireOp) -> WireOp:
    """An opcode with the reason trail and debug level of this command."""
    trail = list(env.reason)
    if getattr(args, "reason", None):
        trail.append(["gnt:user", args.reason, time.time_ns()])
    extra: WireOp = {"reason": [*(op.get("reason") or []), *trail]}
    if getattr(args, "debug", 0):
        extra["debug_level"] = args.debug
    return {**op, **extra}


def submit(env: Environment, args: Any, ops: Sequence[WireOp]) -> int:
    """Submit one job; returns its id."""
    wired = [with_trail(env, args, op) for op in ops]
    try:
        return int(env.call("SubmitJob", wired))
    except errors.AnswerLost:
        known = find_submitted(env, [wired])
        return known[0] if known[0] is not None else int(env.call("SubmitJob", wired))


def submit_many(env: Environment, args: Any, jobs: Sequence[Sequence[WireOp]]) -> list[tuple[bool, int | str]]:
    """Submit several jobs; for each, whether it was accepted, and its id or why not."""
    wired = [[with_trail(env, args, op) for op in ops] for ops in jobs]
    try:
        return [(accepted, job) for accepted, job in env.call("SubmitManyJobs", wired)]
    except errors.AnswerLost:
        known = find_submitted(env, wired)
        again = iter(env.call("SubmitManyJobs", [ops for ops, job in zip(wired, known, strict=True) if job is None]))
        return [(True, job) if job is not None else tuple(next(again)) for job in known]


def find_submitted(env: Environment, jobs: Sequence[Sequence[WireOp]]) -> list[int | None]:
    """Jobs that the master daemon accepted though its answer was lost, when it was ended in between; None: not accepted.

    What was accepted is on disk, and the trail of reasons, with its nanoseconds, tells whose it is. So nothing has to be
    submitted twice, and nothing is lost.
    """
    rows = env.call("QueryJobs", None, ["id", "ops"])
    by_trail = {dumps(ops[0]["reason"][: len(jobs[0][0]["reason"])]): job for job, ops in filter(None, rows)}
    return [by_trail.get(dumps(ops[0]["reason"])) for ops in jobs]


def run_job(env: Environment, args: Any, ops: Sequence[WireOp]) -> list[Any] | None:
    """Submit a job and, unless ``--submit`` was given, wait for it. Returns its results (None: not waited for).

    Raises the error of the opcode that failed.
    """
    job = submit(env, args, ops)
    if getattr(args, "submit_only", False):
        env.tell(f"JobID: {job}")
        return None
    if getattr(args, "print_jobid", False):
        env.tell(f"JobID: {job}")
    return wait(env, job)


def wait(env: Environment, job: int, *, quiet: bool = False) -> list[Any]:
    """Follow a job to its end; returns the results of its opcodes or raises the error of the one that failed."""
    return following.results(job, follow(env, job, quiet=quiet))


def follow(env: Environment, job: int, *, quiet: bool = False) -> list[Any]:
    """Print the job's messages until it is final; returns its status, opcode states and results."""
    values: list[Any] = []
    told = quiet or not env.stderr.isatty()
    for changed, entries in following.news(env.call, job):
        if not quiet:
            for _, when, kind, message in entries:
                env.say(format_message(when, kind, message))
        values = changed or values
        if not told and values and values[0] == "waiting":
            told = True
            env.tell(f"Job {job} is waiting for its locks (gnt-debug locks shows who has them)")
    return values


def format_message(when: Sequence[int], kind: str, message: Any) -> str:
    """A line of a job's log as people read it."""
    stamp = time.strftime("%a %b %d %H:%M:%S %Y", time.localtime(when[0]))
    return f"{stamp} {message if kind == 'message' else f'[{kind}] {message}'}"


def run_jobs(env: Environment, args: Any, jobs: Sequence[tuple[str, Sequence[WireOp]]]) -> int:
    """Submit several jobs, each with a name to report it by; returns the exit status."""
    answers = submit_many(env, args, [ops for _, ops in jobs])
    failed = 0
    started = []
    for (name, _), (accepted, job) in zip(jobs, answers, strict=True):
        if not accepted:
            env.tell(f"Failure: {name}: {job}")
            failed += 1
        elif getattr(args, "submit_only", False):
            env.say(f"{job}: {name}")
        else:
            started.append((name, int(job)))
            if getattr(args, "print_jobid", False):
                env.tell(f"JobID: {job}")
    for name, job in started:
        env.say(f"Waiting for job {job} for {name} ...")
        try:
            wait(env, job)
        except errors.GanetiError as err:
            env.tell(f"Job {job} for {name} has failed: {err.message}")
            failed += 1
    return EXIT_FAILURE if failed else EXIT_SUCCESS
