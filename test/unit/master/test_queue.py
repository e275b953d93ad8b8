"""The life of jobs in the queue, seen through the real sockets, with workers played by the test."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ganeti.base.errors import ConfigError, JobLost, PrereqError, QueueError
from ganeti.ops.base import params_of
from ganeti.ops.registry import find
from support.masterd import Master, delay, eventually, run_with_master


def test_submitted_job_is_handed_to_a_worker_and_ends() -> None:
    async def test(master: Master) -> None:
        worker, client = await master.worker(), await master.client()
        job = await client.call("SubmitJob", [delay(0), delay(1)])
        assignment = await worker.take()
        assert (assignment["job"], assignment["start_at"], assignment["epoch"]) == (job, 0, 1)
        assert [op["duration"] for op in assignment["ops"]] == [0, 1]
        assert await client.status(job) == "waiting"
        await worker.report("running")
        assert await client.status(job) == "running"
        await worker.finish("one", "two")
        assert await client.wait_for(job) == ["success", ["one", "two"]]

    run_with_master(test)


def test_end_of_a_job_is_on_disk_before_anybody_hears_of_it() -> None:
    async def test(master: Master) -> None:
        worker, client = await master.worker(), await master.client()
        job = await client.call("SubmitJob", [delay()])
        await worker.take()
        await worker.finish()
        stored = master.parts.reader.job(job)
        assert stored is not None and str(stored.status) == "success"
        assert stored.worker == worker.name and stored.start and stored.end

    run_with_master(test)


def test_accepted_job_is_on_every_candidate() -> None:
    async def test(master: Master) -> None:
        client = await master.client()
        job = await client.call("SubmitJob", [delay()])
        for node in master.nodes[1:]:
            replica = master.agents[node.uuid]._replica
            assert replica.position() >= (1, 3)
        assert master.parts.reader.job(job) is not None

    run_with_master(test, nodes=3)


def test_job_waits_until_a_worker_is_there() -> None:
    async def test(master: Master) -> None:
        client = await master.client()
        job = await client.call("SubmitJob", [delay()])
        assert await client.status(job) == "queued"
        worker = await master.worker()
        assert (await worker.take())["job"] == job

    run_with_master(test)


def test_no_more_jobs_run_than_allowed() -> None:
    async def test(master: Master) -> None:
        client = await master.client()
        workers = [await master.worker() for _ in range(2)]
        answers = await client.call("SubmitManyJobs", [[delay()]] * 3)
        jobs = [job for _, job in answers]
        assert [await client.status(job) for job in jobs] == ["waiting", "queued", "queued"]
        first = next(worker for worker in workers if master.parts.pool.find(worker.name).job == jobs[0])  # type: ignore[union-attr]
        await first.take()
        await first.finish()
        assert await client.status(jobs[1]) == "waiting"

    run_with_master(test, max_running_jobs=1)


def test_urgent_job_goes_first() -> None:
    async def test(master: Master) -> None:
        client = await master.client()
        for priority in (10, 0, -10):
            await client.call("SubmitJob", [delay(priority=priority)])
        worker = await master.worker()
        order = []
        for _ in range(3):
            order.append((await worker.take())["priorities"][0])
            await worker.finish()
        assert order == [-10, 0, 10]

    run_with_master(test, max_running_jobs=1)


@pytest.mark.parametrize(
    ("op", "message"),
    [
        ({"OP_ID": "OP_NO_SUCH"}, "opcode 0: there is no opcode OP_NO_SUCH"),
        ({"duration": 1}, "must be an object with an OP_ID"),
        (delay(no_such=1), "no_such"),
        (delay("long"), "duration"),
        (delay(priority=100), "priority 100 is not between"),
        (delay(depends=[[-5, []]]), "no job 5 places before job"),
        (delay(depends=[[1, ["running"]]]), "'running' is no final status"),
    ],
)
def test_opcode_with_a_mistake_is_refused_and_nothing_is_stored(op: dict[str, object], message: str) -> None:
    async def test(master: Master) -> None:
        client = await master.client()
        with pytest.raises(PrereqError, match=message):
            await client.call("SubmitJob", [op])
        assert await client.call("QueryJobs", None, ["id"]) == []
        assert master.parts.queue.live == {}

    run_with_master(test)


def test_job_without_opcodes_is_refused() -> None:
    async def test(master: Master) -> None:
        client = await master.client()
        with pytest.raises(PrereqError, match="at least one opcode"):
            await client.call("SubmitJob", [])

    run_with_master(test)


def test_refused_job_among_many_leaves_the_others_alone() -> None:
    async def test(master: Master) -> None:
        client = await master.client()
        (ok, first), (bad, text), (good, third) = await client.call(
            "SubmitManyJobs", [[delay()], [delay("x")], [delay(depends=[[-2, []]])]]
        )
        assert (ok, bad, good) == (True, False, True)
        assert third == first + 2 and "duration" in text

    run_with_master(test)


def test_drained_queue_takes_no_jobs_but_those_meant_for_it() -> None:
    async def test(master: Master) -> None:
        client = await master.client()
        assert await client.call("SetDrainFlag", True) is True
        with pytest.raises(QueueError, match="drained"):
            await client.call("SubmitJob", [delay()])
        with pytest.raises(QueueError, match="drained"):
            await client.call("SubmitManyJobs", [[delay()]])
        assert await client.call("SubmitJobToDrainedQueue", [delay()]) > 0
        await client.call("SetDrainFlag", False)
        assert await client.call("SubmitJob", [delay()]) > 0

    run_with_master(test)


def test_job_with_a_failed_dependency_fails_and_one_with_a_cancelled_is_cancelled() -> None:
    async def test(master: Master) -> None:
        client = await master.client()
        (_, bad), (_, fails), (_, chained) = await client.call(
            "SubmitManyJobs",
            [[delay()], [delay(depends=[[-1, ["success"]]])], [delay(depends=[[-1, ["success"]]])]],
        )
        gone = await client.call("SubmitJob", [delay()])
        cancelled = await client.call("SubmitJob", [delay(depends=[[gone, ["success"]]])])
        assert await client.status(fails) == "queued"
        worker = await master.worker()
        assert (await worker.take())["job"] == bad
        await worker.finish(["OpExecError", ["no"]], status="error")
        assert (await client.wait_for(fails))[0] == "error"
        status, results = await client.wait_for(chained)
        assert status == "error"
        assert results == [
            ["OpExecError", [f"job {fails}, on which job {chained} depends, ended with status error instead of success"]]
        ]
        await client.call("CancelJob", gone)
        assert (await client.wait_for(cancelled))[0] == "canceled"

    run_with_master(test, max_running_jobs=1)


def test_dependency_on_a_job_of_long_ago_is_looked_up() -> None:
    async def test(master: Master) -> None:
        client, worker = await master.client(), await master.worker()
        old = await client.call("SubmitJob", [delay()])
        await worker.take()
        await worker.finish()
        master.parts.queue.ended.clear()
        job = await client.call("SubmitJob", [delay(depends=[[old, ["success"]]])])
        assert (await worker.take())["job"] == job
        missing = await client.call("SubmitJob", [delay(depends=[[9999, []]])])
        assert await client.wait_for(missing) == [
            "error",
            [["OpExecError", [f"job {missing} depends on job 9999, which does not exist"]]],
        ]

    run_with_master(test)


def test_thousand_chained_jobs_are_cancelled_in_one_go() -> None:
    async def test(master: Master) -> None:
        client = await master.client()
        chain = [[delay(depends=[[-1, ["success"]]])] for _ in range(1000)]
        answers = await client.call("SubmitManyJobs", [[delay()], *chain])
        await client.call("CancelJob", answers[0][1])
        assert (await client.wait_for(answers[-1][1]))[0] == "canceled"
        assert master.parts.queue.live == {} and master.parts.queue.running == 0

    run_with_master(test)


def test_opcodes_after_one_that_failed_are_closed() -> None:
    async def test(master: Master) -> None:
        client, worker = await master.client(), await master.worker()
        job = await client.call("SubmitJob", [delay(), delay()])
        await worker.take()
        await worker.finish(["OpExecError", ["broken"]], status="error")
        status, results = await client.wait_for(job)
        assert status == "error"
        assert results[0] == ["OpExecError", ["broken"]] and "preceding opcode" in results[1][1][0]

    run_with_master(test)


def test_repeated_report_of_the_end_is_harmless() -> None:
    async def test(master: Master) -> None:
        client, worker = await master.client(), await master.worker()
        job = await client.call("SubmitJob", [delay()])
        await worker.take()
        await worker.finish("first")
        await worker.finish("second")
        master.parts.queue.ended.clear()
        await worker.finish("third")
        assert await client.wait_for(job) == ["success", ["first"]]

    run_with_master(test)


def test_worker_cannot_meddle_with_the_job_of_another() -> None:
    async def test(master: Master) -> None:
        client, worker = await master.client(), await master.worker()
        other = await master.worker()
        await client.call("SubmitJob", [delay()])
        await client.call("SubmitJob", [delay()])
        await worker.take()
        await other.take()
        worker.job, other.job = other.job, worker.job
        asked = worker.call("is_cancelled", worker.job)
        for refused in (worker.report("running"), worker.finish(), worker.acquire("node/a"), asked):
            with pytest.raises(JobLost, match="is not executed by worker"):
                await refused

    run_with_master(test)


def test_job_whose_worker_dies_fails_with_an_error_that_names_it_and_frees_its_locks() -> None:
    async def test(master: Master) -> None:
        client, worker = await master.client(), await master.worker()
        other = await master.worker()
        job = await client.call("SubmitJob", [delay()])
        next_job = await client.call("SubmitJob", [delay()])
        for one in (worker, other):
            await one.take()
        dying, waiting = (worker, other) if worker.job == job else (other, worker)
        await dying.acquire("node/a")
        await waiting.send("acquire", next_job, ["node/a"], [], 0, None)
        await dying.die()
        assert await waiting.receive() is True
        status, results = await client.wait_for(job)
        assert status == "error"
        assert dying.name in results[0][1][0] and "neither finished nor undone" in results[0][1][0]
        await eventually(lambda: master.parts.pool.find(dying.name) is None)

    run_with_master(test)


def test_job_that_its_worker_never_saw_is_given_to_another() -> None:
    async def test(master: Master) -> None:
        client, worker = await master.client(), await master.worker()
        job = await client.call("SubmitJob", [delay()])
        assert await client.status(job) == "waiting"
        await worker.die()
        await client.wait_for(job, "queued")
        other = await master.worker()
        assert (await other.take())["job"] == job
        await other.finish()
        assert (await client.wait_for(job))[0] == "success"

    run_with_master(test)


def on_disk(master: Master) -> bytes:
    return b"".join(Path(master.paths.store + suffix).read_bytes() for suffix in ("", "-wal"))


def test_secrets_reach_the_worker_but_not_the_disk_or_a_query() -> None:
    cls = find("OP_INSTANCE_CREATE")
    assert cls is not None and any(info.secret for _, _, info in params_of(cls).values())

    async def test(master: Master) -> None:
        client, worker = await master.client(), await master.worker()
        secret = next(name for name, (_, _, info) in params_of(cls).items() if info.secret)
        op: dict[str, Any] = {"OP_ID": "OP_INSTANCE_CREATE", "mode": "create", "instance_name": "web1", "disks": [], "nics": []}
        op |= {"disk_template": "diskless", secret: {"password": "swordfish"}}
        job = await client.call("SubmitJob", [op])
        assert (await worker.take())["ops"][0][secret] == {"password": "swordfish"}
        ((ops,),) = await client.call("QueryJobs", [job], ["ops"])
        assert ops[0][secret] == {"password": "<redacted>"}
        assert b"swordfish" not in on_disk(master)

    run_with_master(test)


def test_lines_of_a_log_are_numbered_and_stored() -> None:
    async def test(master: Master) -> None:
        client, worker = await master.client(), await master.worker()
        job = await client.call("SubmitJob", [delay(), delay()])
        await worker.take()
        await worker.call("log", job, 0, "message", "one", 1_000_000)
        await worker.call("log", job, 1, "message-list", ["two", "three"], 2_000_001)
        await worker.call("log", job, 1, "message-list", ["two", "three"], 2_000_001)
        ((logs,),) = await client.call("QueryJobs", [job], ["oplog"])
        assert logs == [
            [[1, [1, 0], "message", "one"]],
            [[2, [2, 1], "message", "two"], [3, [2, 1], "message", "three"]],
        ]
        await worker.finish(None, None)
        master.parts.queue.ended.clear()
        ((stored,),) = await client.call("QueryJobs", [job], ["oplog"])
        assert stored == logs

    run_with_master(test)


def test_reason_trail_tells_which_opcode_of_which_job_it_was() -> None:
    async def test(master: Master) -> None:
        client = await master.client()
        job = await client.call("SubmitJob", [delay(reason=[["gnt:user", "why not", 5]])])
        ((ops,),) = await client.call("QueryJobs", [job], ["ops"])
        assert ops[0]["reason"][0] == ["gnt:user", "why not", 5]
        assert ops[0]["reason"][1][:2] == ["gnt:opcode:test_delay", f"job={job};index=0"]

    run_with_master(test)


def test_full_disk_refuses_jobs_and_later_takes_them_again() -> None:
    async def test(master: Master) -> None:
        client, worker = await master.client(), await master.worker()
        write, full = master.parts.queue.writer.write, True

        async def failing(request: object) -> object:
            if full:
                raise ConfigError("the disk is full")
            return await write(request)  # type: ignore[arg-type]  # a `Write`, passed on

        master.parts.queue.writer.write = failing
        with pytest.raises(ConfigError, match="the disk is full"):
            await client.call("SubmitJob", [delay()])
        assert master.parts.queue.live == {} and master.parts.queue.running == 0
        full = False
        job = await client.call("SubmitJob", [delay()])
        assert (await worker.take())["job"] == job

    run_with_master(test)


def test_limit_can_be_changed_while_jobs_wait() -> None:
    async def test(master: Master) -> None:
        client = await master.client()
        workers = [await master.worker() for _ in range(2)]
        answers = await client.call("SubmitManyJobs", [[delay()]] * 2)
        assert [await client.status(job) for _, job in answers] == ["waiting", "queued"]
        master.parts.queue.configure(limit=2, drained=False)
        await asyncio.gather(*(worker.take() for worker in workers))

    run_with_master(test, max_running_jobs=1)
