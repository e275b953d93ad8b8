"""Jobs submitted by jobs: never twice."""

from __future__ import annotations

from ganeti.rpc.jobs import Held
from support.masterd import Master, Worker, delay, eventually, run_with_master


async def parent(master: Master) -> Worker:
    client, worker = await master.client(), await master.worker()
    await client.call("SubmitJob", [delay()])
    await worker.take()
    return worker


async def come_back(worker: Worker) -> None:
    await worker.hang_up()
    await worker.attach(worker.job, Held())


JOBS = [[delay(1)], [delay("wrong")], [delay(2, depends=[[-2, []]])]]


def test_answer_tells_what_became_of_each_job() -> None:
    async def test(master: Master) -> None:
        worker = await parent(master)
        (one, two, three) = await worker.call("submit", worker.job, JOBS, "t1")
        assert one == [True, worker.job + 1] and three == [True, worker.job + 3]
        assert two[0] is False and "duration" in two[1]

    run_with_master(test)


def test_same_token_gives_the_same_answer() -> None:
    async def test(master: Master) -> None:
        worker = await parent(master)
        first = await worker.call("submit", worker.job, JOBS, "t1")
        await come_back(worker)
        assert await worker.call("submit", worker.job, JOBS, "t1") == first
        assert await worker.call("submit", worker.job, JOBS, "t2") != first

    run_with_master(test)


def test_same_token_gives_the_same_answer_after_a_restart() -> None:
    async def test(master: Master) -> None:
        worker = await parent(master)
        first = await worker.call("submit", worker.job, JOBS, "t1")
        await master.crash()
        await master.start()
        await come_back(worker)
        again = await worker.call("submit", worker.job, JOBS, "t1")
        assert [ok for ok, _ in again] == [True, False, True]
        assert [answer for ok, answer in again if ok] == [answer for ok, answer in first if ok]
        third = await worker.call("submit", worker.job, JOBS, "t3")
        assert third[0][1] > first[-1][1]

    run_with_master(test)


def test_without_a_token_nothing_is_remembered() -> None:
    async def test(master: Master) -> None:
        worker = await parent(master)
        assert await worker.call("submit", worker.job, JOBS) != await worker.call("submit", worker.job, JOBS)

    run_with_master(test)


def test_memory_of_answers_ends_with_the_parent() -> None:
    async def test(master: Master) -> None:
        worker = await parent(master)
        await worker.call("submit", worker.job, JOBS, "t1")
        children = master.parts.children
        assert children.remembered == 1
        await worker.finish()
        await eventually(lambda: children.remembered == 0)

    run_with_master(test)
