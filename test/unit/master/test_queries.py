"""Queries about jobs and locks."""

from __future__ import annotations

import pytest

from ganeti.base.errors import PrereqError
from ganeti.master.queries import job_number
from support.masterd import Master, delay, eventually, run_with_master


def test_jobs_are_found_by_number_and_by_filter() -> None:
    async def test(master: Master) -> None:
        client, worker = await master.client(), await master.worker()
        jobs = [await client.call("SubmitJob", [delay()]) for _ in range(3)]
        ended = (await worker.take())["job"]
        await worker.finish()
        named = ["|", ["==", "id", str(ended)], ["==", "id", 77]]
        answer = await client.call("Query", "job", ["id", "status", "nonsense"], named)
        assert answer["data"] == [[[0, ended], [0, "success"], [1, None]]]
        assert [field["kind"] for field in answer["fields"]] == ["number", "text", "unknown"]
        answer = await client.call("Query", "job", ["id"], ["!", ["==", "status", "success"]])
        assert [row[0][1] for row in answer["data"]] == [job for job in jobs if job != ended]

    run_with_master(test)


def test_locks_show_who_holds_them_and_who_waits() -> None:
    async def test(master: Master) -> None:
        client = await master.client()
        workers = [await master.worker() for _ in range(2)]
        await client.call("SubmitManyJobs", [[delay()]] * 2)
        for worker in workers:
            await worker.take()
        holder, waiter = workers
        await holder.acquire("node/a", shared=("cluster/BGL",))
        await waiter.send("acquire", waiter.job, [], ["node/a", "cluster/BGL"], 0, None)
        await eventually(lambda: master.parts.locks.table.is_waiting(waiter.job))
        answer = await client.call("Query", "lock", ["name", "mode", "owner", "pending"], None)
        rows = [[value for _, value in row] for row in answer["data"]]
        assert rows == [
            ["cluster/[lockset]", None, None, None],
            ["cluster/BGL", "shared", [str(holder.job)], [["shared", [str(waiter.job)]]]],
            ["node/[lockset]", None, None, None],
            ["node/a", "exclusive", [str(holder.job)], [["shared", [str(waiter.job)]]]],
        ]
        one = await client.call("Query", "lock", ["owner"], ["==", "name", "node/a"])
        assert one["data"] == [[[0, [str(holder.job)]]]]

    run_with_master(test)


def test_fields_of_jobs_and_locks_are_described() -> None:
    async def test(master: Master) -> None:
        client = await master.client()
        (known,) = (await client.call("QueryFields", "lock", ["mode"]))["fields"]
        assert (known["name"], known["title"], known["kind"]) == ("mode", "Mode", "other")
        assert len((await client.call("QueryFields", "job", None))["fields"]) == 16
        assert (await client.call("QueryFields", "node", ["name"]))["fields"][0]["title"] == "Node"

    run_with_master(test)


def test_number_of_a_job_may_be_text() -> None:
    assert job_number("17") == job_number(17) == 17
    for wrong in ("", "x", "-1", "1.5", None, True, 1.5, "١٧"):
        with pytest.raises(PrereqError):
            job_number(wrong)
