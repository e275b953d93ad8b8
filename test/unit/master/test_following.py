"""Rows of jobs, and waiting for changes."""

from __future__ import annotations

import asyncio

import pytest

from ganeti.base.errors import JobLost, PrereqError
from support.masterd import Master, delay, eventually, run_with_master


def test_first_question_is_answered_at_once() -> None:
    async def test(master: Master) -> None:
        client = await master.client()
        job = await client.call("SubmitJob", [delay()])
        assert await client.call("WaitForJobChange", job, ["id", "status", "summary"], None, None, 5) == [
            [job, "queued", ["TEST_DELAY(0)"]],
            [],
        ]

    run_with_master(test)


def test_change_wakes_everybody_who_waits() -> None:
    async def test(master: Master) -> None:
        clients = [await master.client() for _ in range(3)]
        worker = await master.worker()
        job = await clients[0].call("SubmitJob", [delay()])
        await worker.take()
        for client in clients:
            await client.send("WaitForJobChange", job, ["status"], ["waiting"], 0, 5)
        await eventually(lambda: len(master.parts.queue.live[job].watchers) == 3)
        await worker.report("running")
        assert [await client.receive() for client in clients] == [[["running"], []]] * 3

    run_with_master(test)


def test_new_lines_of_the_log_are_a_change() -> None:
    async def test(master: Master) -> None:
        client, worker = await master.client(), await master.worker()
        job = await client.call("SubmitJob", [delay()])
        await worker.take()
        await worker.call("log", job, 0, "message", "one", 1)
        await client.send("WaitForJobChange", job, ["status"], ["waiting"], 1, 5)
        await worker.call("log", job, 0, "message", "two", 2)
        assert await client.receive() == [["waiting"], [[2, [0, 2], "message", "two"]]]

    run_with_master(test)


def test_time_out_answers_with_what_is_known() -> None:
    async def test(master: Master) -> None:
        client = await master.client()
        job = await client.call("SubmitJob", [delay()])
        assert await client.call("WaitForJobChange", job, ["status"], ["queued"], 0, 0.02) == [["queued"], []]
        assert master.parts.queue.live[job].watchers == set()

    run_with_master(test)


def test_final_job_is_answered_at_once_even_without_a_change() -> None:
    async def test(master: Master) -> None:
        client, worker = await master.client(), await master.worker()
        job = await client.call("SubmitJob", [delay()])
        await worker.take()
        await worker.call("log", job, 0, "message", "one", 1)
        await worker.finish()
        for forget in (False, True):
            if forget:
                master.parts.queue.ended.clear()
            answer = await client.call("WaitForJobChange", job, ["status"], ["success"], 0, 5)
            assert answer == [["success"], [[1, [0, 1], "message", "one"]]]

    run_with_master(test)


def test_client_that_hangs_up_leaves_nothing_behind() -> None:
    async def test(master: Master) -> None:
        client, other = await master.client(), await master.client()
        job = await client.call("SubmitJob", [delay()])
        await other.send("WaitForJobChange", job, ["status"], ["queued"], 0, 80)
        await eventually(lambda: master.parts.queue.live[job].watchers)
        await other.hang_up()
        await eventually(lambda: not master.parts.queue.live[job].watchers)

    run_with_master(test)


def test_client_that_only_stops_sending_gets_its_answer() -> None:
    async def test(master: Master) -> None:
        client, other = await master.client(), await master.client()
        job = await client.call("SubmitJob", [delay()])
        await other.send("WaitForJobChange", job, ["status"], ["queued"], 0, 80)
        other.writer.write_eof()
        await asyncio.sleep(0.02)
        await client.call("CancelJob", job)
        assert await other.receive() == [["canceled"], []]

    run_with_master(test)


def test_unknown_jobs_and_fields_are_errors() -> None:
    async def test(master: Master) -> None:
        client = await master.client()
        with pytest.raises(JobLost, match="there is no job 99"):
            await client.call("WaitForJobChange", 99, ["status"], None, None, 5)
        with pytest.raises(PrereqError, match="have no field nonsense"):
            await client.call("WaitForJobChange", 99, ["nonsense"], None, None, 5)
        with pytest.raises(PrereqError, match="have no field nonsense"):
            await client.call("QueryJobs", None, ["nonsense"])

    run_with_master(test)


def test_job_that_does_not_exist_is_null_in_its_place() -> None:
    async def test(master: Master) -> None:
        client = await master.client()
        job = await client.call("SubmitJob", [delay()])
        assert await client.call("QueryJobs", [99, str(job), 98], ["id"]) == [None, [job], None]
        assert await client.call("QueryJobs", [], ["id"]) == [[job]]

    run_with_master(test)


def test_jobs_in_memory_and_on_disk_are_one_list() -> None:
    async def test(master: Master) -> None:
        client, worker = await master.client(), await master.worker()
        jobs = [await client.call("SubmitJob", [delay()]) for _ in range(3)]
        first = (await worker.take())["job"]
        await worker.finish()
        master.parts.queue.ended.clear()
        rows = await client.call("QueryJobs", None, ["id", "status"])
        assert [row[0] for row in rows] == jobs
        assert dict(rows)[first] == "success"

    run_with_master(test)
