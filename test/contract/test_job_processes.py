"""Jobs in real worker processes under a real master daemon, which is killed and started again."""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ganeti.base.flock import is_locked
from ganeti.rpc.luxi_client import LuxiClient
from support.fakemaster import wait_until
from support.masterd_process import MasterProcess

LOCKED = {"on_nodes": ["node2"], "no_locks": False}


class World:
    """A daemon and a client of it."""

    def __init__(self, root: str) -> None:
        self.daemon = MasterProcess(root)
        self.daemon.start()
        self.client = LuxiClient(self.daemon.paths)

    def submit(self, *durations: float, **fields: Any) -> int:
        ops = [{"OP_ID": "OP_TEST_DELAY", "duration": duration, "reason": [], **fields} for duration in durations]
        return self.client.submit_job(ops)

    def status(self, job: int) -> str:
        (row,) = self.client.query_jobs([job], ["status"])
        assert row is not None
        return str(row[0])

    def wait_for(self, job: int, *statuses: str) -> list[Any]:
        """[status, results, log] once the job has one of these statuses."""
        wait_until(lambda: self.status(job) in statuses, 10)
        (row,) = self.client.query_jobs([job], ["status", "opresult", "oplog"])
        assert row is not None
        return row

    def result(self, job: int) -> list[Any]:
        return self.wait_for(job, "success", "error", "canceled")

    def restart(self) -> None:
        self.daemon.kill()
        self.daemon.start()


@pytest.fixture
def world() -> Iterator[World]:
    root = tempfile.mkdtemp(prefix="gnt-jobs-")  # short: it becomes part of a socket's path
    world = World(root)
    yield world
    world.client.close()
    world.daemon.stop()
    shutil.rmtree(root)


def test_many_jobs_succeed(world: World) -> None:
    jobs = world.client.submit_many_jobs([[{"OP_ID": "OP_TEST_DELAY", "duration": 0, "reason": []}]] * 50)
    assert [world.result(int(job))[0] for _, job in jobs] == ["success"] * 50


def test_running_job_survives_a_killed_daemon(world: World) -> None:
    job = world.submit(0.5, 0.1, repeat=2)
    world.wait_for(job, "running")
    world.restart()
    status, results, log = world.result(job)
    assert (status, results) == ("success", [None, None])
    assert [[line[3] for line in lines] for lines in log] == [["Delay 1 of 2", "Delay 2 of 2"]] * 2


def test_locks_are_kept_over_a_killed_daemon(world: World) -> None:
    holder = world.submit(1.0, on_master=True, **LOCKED)
    world.wait_for(holder, "running")
    waiter = world.submit(0, on_master=True, **LOCKED)
    world.wait_for(waiter, "waiting")
    world.restart()
    assert (world.status(holder), world.status(waiter)) == ("running", "waiting")
    # No agent answers at the node's address, so both end with an error; what counts is when.
    assert (world.result(holder)[0], world.result(waiter)[0]) == ("error", "error")
    held, waited = world.client.query_jobs([holder, waiter], ["end_ts", "opexec"])
    assert held is not None and waited is not None
    assert held[0] <= waited[1][0], "the second began before the first had ended"


def test_running_job_is_cancelled_after_a_restart(world: World) -> None:
    job = world.submit(60)
    world.wait_for(job, "running")
    world.restart()
    wait_until(lambda: world.client.cancel_job(job)[0], 10)
    assert world.result(job)[0] == "canceled"


def test_waiting_job_is_cancelled(world: World) -> None:
    holder = world.submit(60, on_master=True, **LOCKED)
    world.wait_for(holder, "running")
    waiter = world.submit(0, **LOCKED)
    world.wait_for(waiter, "waiting")
    assert world.client.cancel_job(waiter)[0]
    assert world.result(waiter)[0] == "canceled"
    assert world.client.cancel_job(holder)[0]
    assert world.result(holder)[0] == "canceled"


def test_killed_job_fails_and_its_locks_are_free(world: World) -> None:
    job = world.submit(60, on_master=True, **LOCKED)
    world.wait_for(job, "running")
    done, _ = world.client.cancel_job(job, True)
    assert done
    status, results, _ = world.result(job)
    assert status == "error" and "is gone" in results[0][1][0]
    again = world.submit(60, on_master=True, **LOCKED)
    world.wait_for(again, "running")
    world.client.cancel_job(again)


def test_workers_of_a_killed_daemon_are_used_or_end(world: World) -> None:
    job = world.submit(0.3)
    world.wait_for(job, "running")
    world.restart()
    assert world.result(job)[0] == "success"
    livelocks = Path(world.daemon.paths.livelocks)
    before = time.monotonic()
    jobs = [world.submit(0) for _ in range(5)]
    assert [world.result(job)[0] for job in jobs] == ["success"] * 5
    assert time.monotonic() - before < 5
    assert any(is_locked(str(path)) for path in livelocks.glob("w*") if "." not in path.name)


def test_daemons_that_are_killed_at_random_moments_lose_nothing(world: World) -> None:
    moments = random.Random(5)
    jobs: list[int | str] = []
    for _ in range(4):
        duration = moments.choice([0, 0.01, 0.1])
        op = {"OP_ID": "OP_TEST_DELAY", "duration": duration, "repeat": 3, "reason": []}
        jobs += [job for _, job in world.client.submit_many_jobs([[op, op]] * 15)]
        time.sleep(moments.random() * 0.5)
        world.restart()
    found = [world.result(int(job)) for job in jobs]
    said = [[[line[3] for line in lines] for lines in log] for _, _, log in found]
    assert {status for status, _, _ in found} == {"success"}
    assert said == [[["Delay 1 of 3", "Delay 2 of 3", "Delay 3 of 3"]] * 2] * len(jobs)
