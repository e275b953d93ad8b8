"""Cancelling, killing, priorities and the archive."""

from __future__ import annotations

import os
import signal
import time

import pytest

from ganeti.base import proc
from ganeti.base.errors import JobLost, PrereqError
from ganeti.base.flock import FileLock
from ganeti.master import control
from support.masterd import Master, delay, eventually, run_with_master


def test_queued_job_is_cancelled_at_once() -> None:
    async def test(master: Master) -> None:
        client = await master.client()
        job = await client.call("SubmitJob", [delay(), delay()])
        assert await client.call("CancelJob", job) == [True, f"Job {job} was cancelled"]
        ((status, results),) = await client.call("QueryJobs", [job], ["status", "opresult"])
        assert (status, results) == ("canceled", ["Job canceled by request"] * 2)
        worker = await master.worker()
        other = await client.call("SubmitJob", [delay()])
        assert (await worker.take())["job"] == other

    run_with_master(test)


def test_job_that_is_about_to_start_is_cancelled_at_once() -> None:
    async def test(master: Master) -> None:
        client, worker = await master.client(), await master.worker()
        job = await client.call("SubmitJob", [delay()])
        assert await client.status(job) == "waiting"
        assert (await client.call("CancelJob", str(job)))[0] is True
        other = await client.call("SubmitJob", [delay()])
        assert (await worker.take())["job"] == other

    run_with_master(test)


def test_waiting_job_shows_that_it_is_being_cancelled_and_ends_when_its_worker_says_so() -> None:
    async def test(master: Master) -> None:
        client, worker, other = await master.client(), await master.worker(), await master.client()
        job = await client.call("SubmitJob", [delay()])
        await worker.take()
        await client.send("CancelJob", job)
        assert (await other.wait_for(job, "canceling"))[0] == "canceling"
        assert await worker.call("is_cancelled", job) is True
        await worker.finish("Job canceled by request", status="canceled")
        assert await client.receive() == [True, f"Job {job} was cancelled"]

    run_with_master(test)


def test_running_job_is_asked_to_stop_and_the_client_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "RUNNING_WAIT", 0.02)

    async def test(master: Master) -> None:
        client, worker = await master.client(), await master.worker()
        job = await client.call("SubmitJob", [delay()])
        await worker.take()
        assert await worker.call("is_cancelled", job) is False
        await worker.report("running")
        done, text = await client.call("CancelJob", job)
        assert done is False and "is running; it has been asked to stop" in text
        assert await worker.call("is_cancelled", job) is True

    run_with_master(test)


def test_job_that_ends_before_it_could_be_cancelled_is_not_called_cancelled() -> None:
    async def test(master: Master) -> None:
        client, worker = await master.client(), await master.worker()
        job = await client.call("SubmitJob", [delay()])
        await worker.take()
        await client.send("CancelJob", job)
        await eventually(lambda: master.parts.queue.live[job].cancelled)
        await worker.finish()
        done, text = await client.receive()
        assert done is False and "ended with status success" in text
        assert await client.call("CancelJob", job) == [False, f"Job {job} has already ended with status success"]

    run_with_master(test)


def test_killed_job_fails_and_its_process_is_gone() -> None:
    async def test(master: Master) -> None:
        client, worker = await master.client(), await master.worker()
        job = await client.call("SubmitJob", [delay()])
        await worker.take()
        # A process of its own takes the worker's place: this one must live.
        known = master.parts.pool.find(worker.name)
        assert known is not None
        lock = FileLock(worker.lock.path, inheritable=True)
        worker.lock.release()
        lock.acquire(0)
        process = proc.start(["sleep", "60"], pass_fds=[lock.fileno()])
        lock.forget()
        try:
            master.parts.pool._hold_process(known, process.pid)
            await client.send("CancelJob", job, True)
            await eventually(lambda: process.poll() is not None)
            await worker.hang_up()
            done, text = await client.receive()
            assert done is True and "was killed" in text
            assert process.returncode == -signal.SIGKILL
        finally:
            proc.stop(process, 0)
        ((status, results),) = await client.call("QueryJobs", [job], ["status", "opresult"])
        assert status == "error" and "killed on request" in results[0][1][0]
        assert os.listdir(master.paths.livelocks) == []

    run_with_master(test)


def test_unknown_job_cannot_be_cancelled() -> None:
    async def test(master: Master) -> None:
        client = await master.client()
        with pytest.raises(JobLost, match="there is no job 99"):
            await client.call("CancelJob", 99)
        with pytest.raises(PrereqError, match="'x' is not the number of a job"):
            await client.call("CancelJob", "x")

    run_with_master(test)


def test_priority_of_a_queued_job_is_changed_and_counts() -> None:
    async def test(master: Master) -> None:
        client = await master.client()
        jobs = [await client.call("SubmitJob", [delay()]) for _ in range(3)]
        assert (await client.call("ChangeJobPriority", jobs[2], -10))[0] is True
        assert await client.call("QueryJobs", [jobs[2]], ["priority", "oppriority"]) == [[-10, [-10]]]
        worker = await master.worker()
        assert (await worker.take())["job"] == jobs[2]
        await worker.finish()
        assert (await client.call("ChangeJobPriority", jobs[2], 0))[0] is False
        with pytest.raises(PrereqError, match="priority 30 is not between"):
            await client.call("ChangeJobPriority", jobs[0], 30)

    run_with_master(test, max_running_jobs=1)


def test_priority_of_a_job_that_waits_for_locks_is_changed_and_counts() -> None:
    async def test(master: Master) -> None:
        client = await master.client()
        await client.call("SubmitManyJobs", [[delay()]] * 3)
        workers = [await master.worker() for _ in range(3)]
        for worker in workers:
            await worker.take()
        holder, second, third = sorted(workers, key=lambda worker: worker.job)
        await holder.acquire("node/a")
        for number, worker in enumerate((second, third), 1):
            await worker.send("acquire", worker.job, ["node/a"], [], 0, None)
            await eventually(lambda count=number: len(master.parts.locks.table.owners()) == 1 + count)  # type: ignore[misc]
        assert (await client.call("ChangeJobPriority", third.job, -10))[0] is True
        await holder.finish()
        assert await third.receive() is True
        assert master.parts.locks.table.is_waiting(second.job)

    run_with_master(test)


def test_ended_job_is_archived_and_found_by_its_number_only() -> None:
    async def test(master: Master) -> None:
        client, worker = await master.client(), await master.worker()
        job = await client.call("SubmitJob", [delay()])
        assert await client.call("ArchiveJob", job) is False
        await worker.take()
        await worker.finish()
        assert await client.call("ArchiveJob", job) is True
        assert await client.call("ArchiveJob", job) is False
        assert await client.call("QueryJobs", None, ["id"]) == []
        assert await client.call("QueryJobs", [job], ["id", "archived"]) == [[job, True]]

    run_with_master(test)


def test_jobs_are_archived_by_age() -> None:
    async def test(master: Master) -> None:
        client, worker = await master.client(), await master.worker()
        ended = []
        for _ in range(3):
            ended.append(await client.call("SubmitJob", [delay()]))
            await worker.take()
            await worker.finish()
        await client.call("SubmitJob", [delay()])
        assert await client.call("AutoArchiveJobs", 3600, 10) == [0, 0]
        assert await client.call("AutoArchiveJobs", -1, 0) == [0, 3]
        assert await client.call("AutoArchiveJobs", -1, 10) == [3, 0]
        assert len(await client.call("QueryJobs", None, ["id"])) == 1
        assert time.time() > 0

    run_with_master(test)
