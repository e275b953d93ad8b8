"""What a new daemon makes of what an earlier one left."""

from __future__ import annotations

import asyncio
from typing import Any

from ganeti.rpc.jobs import Held
from support.masterd import Master, Worker, delay, eventually, run_with_master


async def restart(master: Master) -> None:
    await master.crash()
    await master.start()


async def busy(master: Master, *exclusive: str) -> Worker:
    """A worker with a job that holds these locks."""
    client, worker = await master.client(), await master.worker()
    await client.call("SubmitJob", [delay(), delay()])
    await worker.take()
    if exclusive:
        await worker.acquire(*exclusive)
    await worker.report("running")
    return worker


async def come_back(worker: Worker, *exclusive: str) -> None:
    await worker.hang_up()
    await worker.attach(worker.job, Held(list(exclusive), []))  # type: ignore[arg-type]  # plain text will do


def test_job_goes_on_when_its_worker_comes_back() -> None:
    async def test(master: Master) -> None:
        worker = await busy(master, "node/a")
        await worker.call("log", worker.job, 0, "message", "before", 1)
        await restart(master)
        await come_back(worker, "node/a")
        client = await master.client()
        assert await client.status(worker.job) == "running"
        await worker.call("log", worker.job, 0, "message", "before", 1)
        await worker.call("log", worker.job, 0, "message", "after", 2)
        await worker.finish("yes", "too")
        assert await client.wait_for(worker.job) == ["success", ["yes", "too"]]
        ((logs,),) = await client.call("QueryJobs", [worker.job], ["oplog"])
        assert [line[3] for line in logs[0]] == ["before", "after"]

    run_with_master(test)


def test_locks_of_a_living_job_are_known_before_its_worker_comes_back() -> None:
    async def test(master: Master) -> None:
        worker = await busy(master, "node/a")
        await restart(master)
        client, other = await master.client(), await master.worker()
        await client.call("SubmitJob", [delay()])
        await other.take()
        assert await other.acquire("node/a", patience=0.02) is False
        await come_back(worker, "node/a")
        await worker.finish(None, None)
        assert await other.acquire("node/a", patience=0) is True

    run_with_master(test)


def test_worker_settles_what_it_holds() -> None:
    async def test(master: Master) -> None:
        worker = await busy(master, "node/a", "node/b")
        await restart(master)
        await come_back(worker, "node/b")
        assert master.parts.locks.table.held(worker.job).exclusive == {"node/b"}

    run_with_master(test)


def test_job_whose_worker_is_gone_fails_and_says_so() -> None:
    async def test(master: Master) -> None:
        worker = await busy(master, "node/a")
        await master.crash()
        await worker.die()
        await master.start()
        client = await master.client()
        status, results = await client.wait_for(worker.job)
        assert status == "error"
        assert worker.name in results[0][1][0] and "when the master daemon ended" in results[0][1][0]
        assert master.parts.locks.table.owners() == set()

    run_with_master(test)


def test_worker_that_dies_before_it_comes_back_is_noticed() -> None:
    async def test(master: Master) -> None:
        worker = await busy(master, "node/a")
        await restart(master)
        client = await master.client()
        assert await client.status(worker.job) == "running"
        await worker.die()
        status, results = await client.wait_for(worker.job)
        assert status == "error" and "is gone" in results[0][1][0]
        assert master.parts.locks.table.owners() == set()

    run_with_master(test)


def test_queued_jobs_are_queued_again_with_their_dependencies() -> None:
    async def test(master: Master) -> None:
        worker = await busy(master)
        client = await master.client()
        dependent = await client.call("SubmitJob", [delay(depends=[[worker.job, ["success"]]])])
        plain = await client.call("SubmitJob", [delay(priority=10)])
        await restart(master)
        client, other = await master.client(), await master.worker()
        assert (await other.take())["job"] == plain
        await other.finish()
        await come_back(worker)
        await worker.finish(None, None)
        assert {(await worker.take())["job"]} == {dependent}

    run_with_master(test)


def test_assignment_that_was_never_delivered_is_delivered_after_the_restart() -> None:
    async def test(master: Master) -> None:
        client, worker = await master.client(), await master.worker()
        job = await client.call("SubmitJob", [delay()])
        await restart(master)
        await worker.hang_up()
        await worker.attach()
        assert (await worker.take())["job"] == job
        await worker.finish()
        client = await master.client()
        assert (await client.wait_for(job))[0] == "success"

    run_with_master(test)


def test_end_that_was_recorded_but_not_acknowledged_is_acknowledged_later() -> None:
    async def test(master: Master) -> None:
        worker = await busy(master)
        await worker.send("job_finished", worker.job, [])
        job = worker.job
        await eventually(lambda: job in master.parts.queue.ended)
        await restart(master)
        await come_back(worker)
        await worker.finish(None, None)
        client = await master.client()
        other = await client.call("SubmitJob", [delay()])
        assert (await worker.take())["job"] == other

    run_with_master(test)


def test_job_assigned_together_with_the_end_of_another_is_delivered_after_the_restart() -> None:
    async def test(master: Master) -> None:
        client, worker = await master.client(), await master.worker()
        (_, first), (_, second) = await client.call("SubmitManyJobs", [[delay()], [delay()]])
        assert (await worker.take())["job"] == first
        await worker.send("job_finished", first, [])
        await eventually(lambda: first in master.parts.queue.ended)
        await restart(master)
        await worker.hang_up()
        await worker.attach(first)
        await worker.finish()
        assert (await worker.take())["job"] == second
        await worker.finish()
        client = await master.client()
        assert (await client.wait_for(second))[0] == "success"

    run_with_master(test, max_running_jobs=1)


def test_idle_workers_of_the_earlier_daemon_are_used_again() -> None:
    async def test(master: Master) -> None:
        worker = await master.worker()
        await restart(master)
        await worker.hang_up()
        await worker.attach()
        client = await master.client()
        job = await client.call("SubmitJob", [delay()])
        assert (await worker.take())["job"] == job

    run_with_master(test)


def test_job_with_lost_secrets_asks_to_be_submitted_again() -> None:
    async def test(master: Master) -> None:
        client = await master.client()
        op: dict[str, Any] = {"OP_ID": "OP_INSTANCE_CREATE", "mode": "create", "instance_name": "web1", "disks": [], "nics": []}
        op |= {"disk_template": "diskless", "osparams_secret": {"password": "swordfish"}}
        job = await client.call("SubmitJob", [op])
        await restart(master)
        client = await master.client()
        status, results = await client.wait_for(job)
        assert status == "error" and "submit the job again" in results[0][1][0]

    run_with_master(test)


def test_cancelled_job_is_reminded_when_its_worker_comes_back() -> None:
    async def test(master: Master) -> None:
        worker = await busy(master)
        client = await master.client()
        await client.send("CancelJob", worker.job)
        await eventually(lambda: master.parts.queue.live[worker.job].cancelled)
        await restart(master)
        await come_back(worker)
        client = await master.client()
        await client.send("CancelJob", worker.job)
        await eventually(lambda: master.parts.queue.live[worker.job].cancelled)
        assert await worker.call("is_cancelled", worker.job) is True
        await worker.finish("Job canceled by request", status="canceled")
        assert (await client.receive())[0] is True

    run_with_master(test)


def test_ids_are_never_used_twice() -> None:
    async def test(master: Master) -> None:
        client = await master.client()
        first = await client.call("SubmitJob", [delay()])
        await restart(master)
        client = await master.client()
        assert await client.call("SubmitJob", [delay()]) > first

    run_with_master(test)


def test_many_restarts_lose_nothing() -> None:
    async def test(master: Master) -> None:
        worker = await busy(master, "node/a")
        for _ in range(5):
            await restart(master)
            await come_back(worker, "node/a")
            assert master.parts.locks.table.held(worker.job).exclusive == {"node/a"}
        await asyncio.gather(worker.finish(None, None))
        client = await master.client()
        assert await client.status(worker.job) == "success"

    run_with_master(test)
