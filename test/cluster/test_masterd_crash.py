"""A real master daemon, killed without warning while jobs run in real processes: they finish, and nothing is lost."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.daemonprocess import MasterProcess, eventually, master_process


@pytest.fixture
def master() -> Iterator[MasterProcess]:
    with master_process() as process:
        yield process


def delay(duration: float, **fields: Any) -> list[dict[str, Any]]:
    return [{"OP_ID": "OP_TEST_DELAY", "duration": duration, **fields}]


def test_jobs_finish_although_the_daemon_is_killed(master: MasterProcess) -> None:
    running = master.submit(*[delay(1.5)] * 5)
    queued = master.submit(delay(0, depends=[[-1, ["success"]]]))
    for job in running:
        master.wait_for(job, "running")
    workers = {master.worker_of(job) for job in running}
    master.restart()
    assert {master.worker_of(job) for job in running} == workers
    assert [master.wait_for(job) for job in (*running, *queued)] == ["success"] * 6
    started, ended = master.field(running[0], "start_ts"), master.field(running[0], "end_ts")
    assert 1.4 < ended[0] - started[0] + (ended[1] - started[1]) / 1e6 < 15


def test_job_that_ends_while_there_is_no_daemon_is_reported_later(master: MasterProcess) -> None:
    (job,) = master.submit(delay(0.3))
    master.wait_for(job, "running")
    master.kill()
    time.sleep(0.6)
    master.start()
    assert master.wait_for(job) == "success"


def test_accepted_jobs_survive_a_storm_of_crashes(master: MasterProcess) -> None:
    accepted: list[int] = []
    for _ in range(4):
        accepted += master.submit(*[delay(0.05)] * 20)
        master.restart()
    statuses = [master.wait_for(job) for job in accepted]
    assert statuses == ["success"] * 80
    assert accepted == sorted(set(accepted))
    assert master.field(accepted[-1], "id") == accepted[-1]


def test_each_job_is_executed_once(master: MasterProcess) -> None:
    jobs = master.submit(*[delay(0.02, repeat=3)] * 30)
    master.restart()
    for job in jobs:
        assert master.wait_for(job) == "success"
        (lines,) = master.field(job, "oplog")
        assert [line[3] for line in lines] == [f"Delay {number} of 3" for number in (1, 2, 3)]


def test_locks_are_kept_over_a_crash(master: MasterProcess) -> None:
    locked = {"no_locks": False, "on_nodes": ["node1"], "on_master": True}
    (holder,) = master.submit([{"OP_ID": "OP_TEST_DELAY", "duration": 30, **locked}])
    master.wait_for(holder, "running")
    before = locks(master)
    assert any(owner == [str(holder)] and name.startswith("node/") for name, _, owner, _ in before)
    (waiter,) = master.submit([{"OP_ID": "OP_TEST_DELAY", "duration": 0, **locked}])
    eventually(lambda: any(pending for *_, pending in locks(master)))
    master.restart()
    eventually(lambda: any(pending for *_, pending in locks(master)))
    assert master.field(waiter, "status") == "waiting"
    assert [row[:3] for row in locks(master)] == [row[:3] for row in before]
    assert master.client.call("CancelJob", holder)[0] in (True, False)
    assert master.wait_for(holder) == "canceled"
    # Without an agent the delay on the node itself fails; it had its turn.
    assert master.wait_for(waiter) == "error"
    assert locks(master) == []


def process_fact(pid: int, name: str) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.partition(":")[2].strip() for line in lines if line.startswith(name + ":"))


def locks(master: MasterProcess) -> list[list[Any]]:
    answer = master.client.call("Query", "lock", ["name", "mode", "owner", "pending"], None)
    return [[value for _, value in row] for row in answer["data"]]


def test_killed_worker_fails_its_job_and_no_other(master: MasterProcess) -> None:
    first, second = master.submit(delay(20), delay(1))
    for job in (first, second):
        master.wait_for(job, "running")
    os.kill(master.worker_of(first), signal.SIGKILL)
    started = time.monotonic()
    assert master.wait_for(first) == "error"
    assert time.monotonic() - started < 5
    (result,) = master.field(first, "opresult")
    assert "killed by SIGKILL" in result[1][0]
    assert master.wait_for(second) == "success"


def test_worker_that_dies_while_there_is_no_daemon_is_found_dead(master: MasterProcess) -> None:
    (job,) = master.submit(delay(20))
    master.wait_for(job, "running")
    worker = master.worker_of(job)
    master.kill()
    os.kill(worker, signal.SIGKILL)
    master.start()
    assert master.wait_for(job) == "error"
    (result,) = master.field(job, "opresult")
    assert "is gone" in result[1][0]


def test_cancel_reaches_jobs_that_were_started_by_an_earlier_daemon(master: MasterProcess) -> None:
    (job,) = master.submit(delay(20))
    master.wait_for(job, "running")
    master.restart()
    master.client.call("CancelJob", job)
    assert master.wait_for(job) == "canceled"


def test_killed_job_is_gone(master: MasterProcess) -> None:
    (job,) = master.submit(delay(20))
    master.wait_for(job, "running")
    worker = master.worker_of(job)
    done, text = master.client.call("CancelJob", job, True)
    assert done is True and "killed" in text
    assert master.field(job, "status") == "error"
    assert not Path(f"/proc/{worker}").exists() or process_fact(worker, "State").startswith("Z")


def test_orderly_stop_leaves_running_jobs_alone_and_idle_workers_end(master: MasterProcess) -> None:
    (job,) = master.submit(delay(1.5))
    master.wait_for(job, "running")
    worker = master.worker_of(job)
    eventually(lambda: master.idle_workers() >= 2)
    time.sleep(0.3)
    assert master.stop() == 0
    eventually(lambda: master.workers() == [worker], "the end of idle workers and of their parent")
    master.start()
    assert master.wait_for(job) == "success"


def test_parent_of_the_workers_is_replaced_when_it_dies(master: MasterProcess) -> None:
    (job,) = master.submit(delay(1))
    master.wait_for(job, "running")
    os.kill(int(process_fact(master.worker_of(job), "PPid")), signal.SIGKILL)
    others = master.submit(*[delay(0.2)] * 6)
    assert [master.wait_for(other) for other in (job, *others)] == ["success"] * 7


def test_second_daemon_does_not_disturb_the_first(master: MasterProcess) -> None:
    (job,) = master.submit(delay(0))
    master.wait_for(job)
    first = master.process
    master.start()
    assert master.process is not None and master.process.wait(30) == 1
    master.process = first
    (other,) = master.submit(delay(0))
    assert master.wait_for(other) == "success"


def test_moved_logs_are_continued_in_new_files(master: MasterProcess) -> None:
    (job,) = master.submit(delay(1))
    master.wait_for(job, "running")
    for name in ("ganeti-masterd", "jobs"):
        path = master.paths.log_file(name)
        os.rename(path, path + ".1")
    os.kill(master.pid, signal.SIGHUP)
    assert master.wait_for(job) == "success"
    assert "logs reopened" in Path(master.paths.log_file("ganeti-masterd")).read_text()
    assert f"job {job}: OP_TEST_DELAY ends" in Path(master.paths.log_file("jobs")).read_text()
