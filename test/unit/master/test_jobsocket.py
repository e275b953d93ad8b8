"""The job socket: attaching and re-attaching, locks, and what survives a broken connection."""

from __future__ import annotations

import asyncio
import os

import pytest

from ganeti.base.errors import ExecError, JobLost, LockTimeout, PrereqError, ProtocolError
from ganeti.model.objects import Put
from ganeti.rpc.jobs import Held
from support.masterd import Client, Master, Worker, delay, eventually, run_with_master
from support.objects import make_instance


async def two_jobs(master: Master) -> tuple[Worker, Worker]:
    """Two workers, each with a job; the first has the older one."""
    client = await master.client()
    one, two = await master.worker(), await master.worker()
    await client.call("SubmitManyJobs", [[delay()]] * 2)
    await one.take()
    await two.take()
    return (one, two) if one.job < two.job else (two, one)


async def reattach(worker: Worker, *exclusive: str, shared: tuple[str, ...] = ()) -> None:
    await worker.hang_up()
    await worker.attach(worker.job, Held(list(exclusive), list(shared)))  # type: ignore[arg-type]  # plain text will do


def test_nothing_is_answered_before_attach() -> None:
    async def test(master: Master) -> None:
        stranger = Client(master.paths.job_socket)
        await stranger.connect()
        with pytest.raises(ProtocolError, match="next_job before attach"):
            await stranger.call("next_job")
        await stranger.hang_up()

    run_with_master(test)


@pytest.mark.parametrize(
    ("name", "pid", "message"),
    [
        ("../escape", None, "is not the name of a worker"),
        ("w123-1", 1, "says that it is process 1"),
        ("w123-1", None, "does not hold its livelock"),
    ],
)
def test_impostor_is_refused(name: str, pid: int | None, message: str) -> None:
    async def test(master: Master) -> None:
        stranger = Client(master.paths.job_socket)
        await stranger.connect()
        with pytest.raises(ProtocolError, match=message):
            await stranger.call("attach", name, pid or os.getpid(), None, Held())
        await stranger.hang_up()

    run_with_master(test)


def test_socket_is_for_its_owner_only() -> None:
    async def test(master: Master) -> None:
        assert os.stat(master.paths.job_socket).st_mode & 0o777 == 0o600
        assert os.stat(master.paths.luxi_socket).st_mode & 0o777 == 0o660
        assert os.stat(master.paths.sockets).st_mode & 0o777 == 0o750

    run_with_master(test)


def test_locks_are_taken_in_turn() -> None:
    async def test(master: Master) -> None:
        one, two = await two_jobs(master)
        assert await one.acquire("node/a", "node/b", shared=("cluster/BGL",))
        await two.send("acquire", two.job, ["node/b"], ["cluster/BGL"], 0, None)
        await asyncio.sleep(0.02)
        await one.call("release", one.job, ["node/a"])
        assert master.parts.locks.table.is_waiting(two.job)
        await one.call("downgrade", one.job, ["node/b"])
        assert master.parts.locks.table.is_waiting(two.job)
        await one.call("release", one.job, None)
        assert await two.receive() is True

    run_with_master(test)


def test_impatient_request_is_given_up() -> None:
    async def test(master: Master) -> None:
        one, two = await two_jobs(master)
        await one.acquire("node/a")
        assert await two.acquire("node/a", patience=0.02) is False
        assert not master.parts.locks.table.is_waiting(two.job)
        assert await two.acquire("node/a", patience=0) is False
        await one.finish()
        assert await two.acquire("node/a", patience=0) is True

    run_with_master(test)


def test_holder_must_not_wait_for_more() -> None:
    async def test(master: Master) -> None:
        one, two = await two_jobs(master)
        await one.acquire("node/a")
        await two.acquire("node/b")
        with pytest.raises(ExecError, match="release them first"):
            await two.acquire("node/a")
        assert await two.acquire("node/c")

    run_with_master(test)


def test_free_locks_are_taken_as_far_as_there_are_enough() -> None:
    async def test(master: Master) -> None:
        one, two = await two_jobs(master)
        await one.acquire("node/a")
        assert await two.call("acquire_free", two.job, ["node/a", "node/b", "node/c"], 3) == []
        assert await two.call("acquire_free", two.job, ["node/a", "node/b", "node/c"], 2) == ["node/b", "node/c"]

    run_with_master(test)


def test_request_is_forgotten_when_its_worker_hangs_up_but_locks_stay() -> None:
    async def test(master: Master) -> None:
        one, two = await two_jobs(master)
        await one.acquire("node/a")
        await two.send("acquire", two.job, ["node/a"], [], 0, None)
        await eventually(lambda: master.parts.locks.table.is_waiting(two.job))
        await two.hang_up()
        await eventually(lambda: not master.parts.locks.table.is_waiting(two.job))
        await one.hang_up()
        await reattach(two)
        await two.send("acquire", two.job, ["node/a"], [], 0, None)
        await asyncio.sleep(0.02)
        assert master.parts.locks.table.is_waiting(two.job)

    run_with_master(test)


def test_connection_that_is_replaced_loses_its_request() -> None:
    async def test(master: Master) -> None:
        one, two = await two_jobs(master)
        await one.acquire("node/a")
        await two.send("acquire", two.job, ["node/a"], [], 0, None)
        await eventually(lambda: master.parts.locks.table.is_waiting(two.job))
        old = two.writer
        await two.attach(two.job)
        assert not master.parts.locks.table.is_waiting(two.job)
        assert await two.acquire("node/b")
        old.close()

    run_with_master(test)


def test_worker_that_missed_its_grant_does_not_keep_the_locks() -> None:
    async def test(master: Master) -> None:
        one, two = await two_jobs(master)
        await one.send("acquire", one.job, ["node/a"], [], 0, None)
        await eventually(lambda: master.parts.locks.table.held(one.job).exclusive)
        await reattach(one)
        assert await two.acquire("node/a", patience=0)

    run_with_master(test)


def test_assignment_whose_answer_was_lost_is_given_again() -> None:
    async def test(master: Master) -> None:
        client, worker = await master.client(), await master.worker()
        job = await client.call("SubmitJob", [delay()])
        await worker.send("next_job")
        await eventually(lambda: master.parts.pool.find(worker.name).delivered)  # type: ignore[union-attr]  # it is there
        await worker.hang_up()
        await worker.attach()
        assert (await worker.take())["job"] == job

    run_with_master(test)


def test_next_job_waits_while_the_worker_hears_of_the_end_of_the_last() -> None:
    async def test(master: Master) -> None:
        client, worker = await master.client(), await master.worker()
        await client.call("SubmitManyJobs", [[delay()]] * 2)
        first = (await worker.take())["job"]
        await worker.send("job_finished", first, [])
        await client.wait_for(first)
        await reattach(worker)
        await worker.finish()
        assert (await worker.take())["job"] == first + 1

    run_with_master(test, max_running_jobs=1)


def test_worker_with_a_job_that_is_not_its_own_is_sent_away() -> None:
    async def test(master: Master) -> None:
        one, two = await two_jobs(master)
        one.job, two.job = two.job, one.job
        with pytest.raises(JobLost):
            await reattach(one)
        one.job = 999
        with pytest.raises(JobLost):
            await reattach(one)

    run_with_master(test)


def test_worker_that_claims_what_another_holds_loses_its_job() -> None:
    async def test(master: Master) -> None:
        one, two = await two_jobs(master)
        client = await master.client()
        await one.acquire("node/a")
        with pytest.raises(JobLost, match="node/a is held by job"):
            await reattach(two, "node/a")
        status, results = await client.wait_for(two.job)
        assert status == "error" and "claims locks that others hold" in results[0][1][0]
        assert master.parts.locks.table.held(one.job).exclusive == {"node/a"}

    run_with_master(test)


def test_several_requests_sent_ahead_are_answered_in_order() -> None:
    async def test(master: Master) -> None:
        client, worker = await master.client(), await master.worker()
        job = await client.call("SubmitJob", [delay()])
        await worker.take()
        for number in range(10):
            await worker.send("log", job, 0, "message", str(number), number + 1)
        await worker.send("acquire", job, ["node/a"], [], 0, None)
        assert [await worker.receive() for _ in range(11)] == [None] * 10 + [True]
        ((logs,),) = await client.call("QueryJobs", [job], ["oplog"])
        assert [line[3] for line in logs[0]] == [str(number) for number in range(10)]

    run_with_master(test)


def test_lines_that_a_worker_sent_before_it_died_are_kept() -> None:
    async def test(master: Master) -> None:
        client, worker = await master.client(), await master.worker()
        job = await client.call("SubmitJob", [delay()])
        await worker.take()
        for number in range(5):
            await worker.send("log", job, 0, "message", str(number), number + 1)
        await worker.die()
        await client.wait_for(job)
        ((logs,),) = await client.call("QueryJobs", [job], ["oplog"])
        assert len(logs[0]) == 5

    run_with_master(test)


def test_commit_is_stored_once_however_often_it_is_sent() -> None:
    async def test(master: Master) -> None:
        client, worker = await master.client(), await master.worker()
        await client.call("SubmitJob", [delay()])
        await worker.take()
        instance = make_instance(master.nodes[0].uuid, name="web1.example.com")
        first = await worker.call("commit", worker.job, "t1", [Put(instance)])
        await reattach(worker)
        assert await worker.call("commit", worker.job, "t1", [Put(instance)]) == first
        assert first["objects"][0]["obj"]["serial_no"] == 1
        assert [one.name for one in master.parts.reader.config().instances] == ["web1.example.com"]

    run_with_master(test)


def test_reservations_end_with_their_job() -> None:
    async def test(master: Master) -> None:
        one, two = await two_jobs(master)
        await one.call("reserve", one.job, "instance-name", "web1")
        with pytest.raises(PrereqError, match=f"by job {one.job}"):
            await two.call("reserve", two.job, "instance-name", "web1")
        mac = await one.call("generate", one.job, "mac", "aa:bb:cc")
        assert mac.startswith("aa:bb:cc:")
        await one.finish()
        await two.call("reserve", two.job, "instance-name", "web1")

    run_with_master(test)


def test_errors_keep_their_class() -> None:
    async def test(master: Master) -> None:
        one, _two = await two_jobs(master)
        with pytest.raises(PrereqError) as caught:
            await one.call("generate", one.job, "nonsense", "")
        assert caught.value.code == "wrong_input"
        assert not isinstance(caught.value, LockTimeout)

    run_with_master(test)
