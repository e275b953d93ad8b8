"""Daemons, workers and machines that end without a warning while jobs are under way.

What holds afterwards, whatever the moment: an accepted job is not lost and is not done twice, it ends well or with an error that
says what happened, and nothing is left over that cannot be seen and removed. Times are random; a failure prints them.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ganeti.base.retry import wait_until
from ganeti.model.job import Job
from support.qacluster import QaCluster, Traces, running

pytestmark = [pytest.mark.root, pytest.mark.slow]

GUEST = "i0"
OS_SECONDS = 0.7
CREATE, MIGRATE, SHUTDOWN = "OP_INSTANCE_CREATE", "OP_INSTANCE_MIGRATE", "OP_INSTANCE_SHUTDOWN"


@pytest.fixture(scope="module")
def nodes() -> Iterator[QaCluster]:
    with running() as made:
        for node in made.plan.nodes:
            folder = Path(node.root)
            made.add_os("slow", f'echo "$INSTANCE_NAME" >>"{folder.parent}/created"; sleep {OS_SECONDS}')
        yield made


@pytest.fixture
def cluster(nodes: QaCluster) -> Iterator[QaCluster]:
    """The cluster without instances and with quick guests, before and after."""
    nodes.slow_down(start_seconds=0.3, migration_mib_per_second=80)
    clean = nodes.traces()
    yield nodes
    nodes.slow_down()
    nodes.remove_instances()
    assert_clean(nodes, clean)
    nodes.ok("gnt-cluster", "verify")


def assert_clean(cluster: QaCluster, clean: Traces) -> None:
    wait_until(lambda: not cluster.held_locks(), timeout=10, interval=0.1, what="all locks to be free")
    found = cluster.traces()
    assert found == clean


def created(cluster: QaCluster) -> list[str]:
    """Instances for which the OS script has run, once for each time."""
    file = Path(cluster.plan.state) / "nodes" / "created"
    return file.read_text().split() if file.exists() else []


def creation(name: str, node: str = "node1") -> list[str]:
    return ["gnt-instance", "add", "-t", "sharedfile", "-s", "8m", "-o", "slow", "-n", node, name]


def jobs_of(cluster: QaCluster, op_id: str) -> list[Job]:
    return [job for job in cluster.jobs() if job.ops[0].input["OP_ID"] == op_id]


def wait_for_new_job(cluster: QaCluster, op_id: str, earlier: int) -> int:
    """The id of the job that a command submits now."""
    return wait_until(
        lambda: [job.id for job in jobs_of(cluster, op_id)][earlier:], timeout=20, interval=0.005, what=f"{op_id} to be accepted"
    )[0]


def text_of(job: Job) -> str:
    return json.dumps([op.result for op in job.ops])


def guests(cluster: QaCluster, name: str = GUEST) -> dict[str, dict[str, object]]:
    """Nodes that have this guest, with what is known of it there."""
    found = {}
    for node in cluster.plan.nodes:
        file = Path(node.paths.fake_hypervisor) / f"{name}.json"
        if file.exists():
            found[node.short] = json.loads(file.read_text())
    return found


def assert_runs_in_one_place(cluster: QaCluster) -> str:
    """The guest runs, on the node that is its primary one and on no other; returns that node."""
    found = guests(cluster)
    assert len(found) == 1, found
    (node,) = found
    assert found[node]["status"] == "running"
    assert cluster.cell("instance", GUEST, "pnode,status") == f"{node}.{cluster.name}|running"
    return node


def some_time(least: float, most: float) -> float:
    chosen = random.uniform(least, most)
    print(f"after {chosen:.3f} s")
    return chosen


# --- the master daemon


@pytest.mark.parametrize("moment", [(0.0, 0.15), (0.1, 0.3), (0.2, 0.5), (0.4, 0.9), (0.9, 1.2), (1.1, 1.5)])
def test_creation_survives_the_master_daemon(cluster: QaCluster, moment: tuple[float, float]) -> None:
    """The first moments are about the time when the job is accepted: then it may also have failed, leaving nothing."""
    name = "i1"
    clean, earlier, runs = cluster.traces(), len(jobs_of(cluster, CREATE)), created(cluster).count(name)
    command = cluster.start(*creation(name))
    time.sleep(some_time(*moment))
    cluster.restart_master_daemon()
    done = cluster.finish(command)
    accepted = jobs_of(cluster, CREATE)[earlier:]
    if not accepted:
        assert done.status == 1 and "Failure: " in done.err, str(done)
        assert_clean(cluster, clean)
        return
    (job,) = [cluster.wait_for_job(one.id) for one in accepted]
    assert job.status == "success", f"{text_of(job)}\n{done}"
    assert done.status == 0 or "not known" in done.err, str(done)
    assert created(cluster).count(name) == runs + 1
    assert cluster.cell("instance", name, "status") == "running"
    cluster.ok("gnt-instance", "remove", "-f", name)
    assert_clean(cluster, clean)


@pytest.mark.parametrize("moment", [(0.0, 0.05), (0.05, 0.5), (0.5, 1.5), (1.5, 2.2)])
def test_migration_survives_the_master_daemon(cluster: QaCluster, moment: tuple[float, float]) -> None:
    cluster.add_instance(GUEST)
    earlier = len(jobs_of(cluster, MIGRATE))
    command = cluster.start("gnt-instance", "migrate", "-f", "-n", "node2", GUEST)
    job = wait_for_new_job(cluster, MIGRATE, earlier)
    time.sleep(some_time(*moment))
    cluster.restart_master_daemon()
    ended, done = cluster.wait_for_job(job), cluster.finish(command)
    assert ended.status == "success" and done.status == 0, f"{text_of(ended)}\n{done}"
    assert len(jobs_of(cluster, MIGRATE)) == earlier + 1
    assert assert_runs_in_one_place(cluster) == "node2"
    guest = guests(cluster)["node2"]
    assert (guest["boots"], guest["migrations"]) == (1, 1)


def test_migration_survives_a_master_daemon_that_is_killed_again_and_again(cluster: QaCluster) -> None:
    cluster.slow_down(migration_mib_per_second=40)
    cluster.add_instance(GUEST)
    earlier = len(jobs_of(cluster, MIGRATE))
    command = cluster.start("gnt-instance", "migrate", "-f", "-n", "node2", GUEST)
    job = wait_for_new_job(cluster, MIGRATE, earlier)
    for _time in range(4):
        time.sleep(some_time(0.0, 0.5))
        cluster.restart_master_daemon()
    ended, done = cluster.wait_for_job(job), cluster.finish(command)
    assert ended.status == "success" and done.status == 0, f"{text_of(ended)}\n{done}"
    assert assert_runs_in_one_place(cluster) == "node2"


def test_many_jobs_are_neither_lost_nor_done_twice(cluster: QaCluster) -> None:
    names = [f"m{number}" for number in range(8)]
    op = {"OP_ID": CREATE, "mode": "create", "disk_template": "diskless", "disks": [], "nics": [], "os_type": "slow"}
    jobs = [[{**op, "instance_name": name, "pnode": f"node{1 + number % 3}"}] for number, name in enumerate(names)]
    delays = [[{"OP_ID": "OP_TEST_DELAY", "duration": 0.2, "depends": [[-1, []]]}] for _time in range(10)]
    runs = {name: created(cluster).count(name) for name in names}
    answers = cluster.call("SubmitManyJobs", [*jobs, *delays])
    assert all(accepted for accepted, _job in answers), answers
    for _time in range(2):
        time.sleep(some_time(0.0, 0.6))
        cluster.restart_master_daemon()
    ended = [cluster.wait_for_job(job) for _accepted, job in answers]
    assert [job.status for job in ended if job.status != "success"] == [], [text_of(job) for job in ended]
    assert {name: created(cluster).count(name) - runs[name] for name in names} == dict.fromkeys(names, 1)
    assert len(cluster.ok("gnt-instance", "list", "--no-headers").rows) == len(names)


def test_job_that_waits_for_a_lock_gets_it_from_the_next_master_daemon(cluster: QaCluster) -> None:
    cluster.add_instance(GUEST)
    cluster.slow_down(stop_seconds=2)
    first = cluster.start("gnt-instance", "shutdown", GUEST)
    wait_until(cluster.held_locks, timeout=5, interval=0.01, what="the shutdown to hold its lock")
    second = int(cluster.ok("gnt-instance", "startup", "--submit", GUEST).out.partition(":")[0])
    cluster.restart_master_daemon()
    assert cluster.finish(first).status == 0
    assert cluster.wait_for_job(second).status == "success"
    # One after the other, though the daemon that had ordered it so is gone.
    (shutdown,) = [job for job in jobs_of(cluster, SHUTDOWN) if job.id == second - 1]
    startup = cluster.job(second)
    assert startup is not None and shutdown.ops[0].end and startup.ops[0].execute
    assert startup.ops[0].execute >= shutdown.ops[0].end - 50_000
    assert_runs_in_one_place(cluster)


def test_job_is_cancelled_by_a_master_daemon_that_did_not_start_it(cluster: QaCluster) -> None:
    job = cluster.call("SubmitJob", [{"OP_ID": "OP_TEST_DELAY", "duration": 60}])
    wait_until(lambda: (found := cluster.job(job)) and found.start, timeout=5, interval=0.01, what="the delay to begin")
    cluster.restart_master_daemon()
    cluster.ok("gnt-job", "cancel", str(job))
    assert cluster.wait_for_job(job, timeout=10).status == "canceled"


def test_stopped_master_daemon_leaves_running_jobs_alone(cluster: QaCluster) -> None:
    job = cluster.call("SubmitJob", [{"OP_ID": "OP_TEST_DELAY", "duration": 1.5}])
    wait_until(lambda: (found := cluster.job(job)) and found.start, timeout=5, interval=0.01, what="the delay to begin")
    cluster.kill_daemon("masterd", number=signal.SIGTERM)
    cluster.start_daemon("masterd")
    assert cluster.wait_for_job(job).status == "success"


def test_workers_of_a_master_daemon_that_is_gone_do_not_pile_up(cluster: QaCluster) -> None:
    from ganeti.tools.devcluster import machine

    def workers() -> int:
        init = machine.require_init(cluster.plan, cluster.node("node1"))
        return sum("ganeti.job.main" in " ".join(member.argv) for member in machine.find_members(init))

    for _time in range(5):
        cluster.ok("gnt-debug", "delay", "0")
        cluster.restart_master_daemon()
    assert workers() < 60
    wait_until(lambda: workers() < 30, timeout=60, interval=0.5, what="idle workers of former daemons to end")


# --- workers


def kill_worker(cluster: QaCluster, job: int) -> None:
    os.kill(cluster.worker_of(job), signal.SIGKILL)


def assert_failed_clearly(job: Job) -> None:
    assert job.status == "error", job
    assert re.search(r"worker|process", text_of(job)), text_of(job)


def test_creation_whose_worker_is_killed_fails_and_can_be_cleaned_up(cluster: QaCluster) -> None:
    clean, earlier = cluster.traces(), len(jobs_of(cluster, CREATE))
    command = cluster.start(*creation("i1"))
    job = wait_for_new_job(cluster, CREATE, earlier)
    time.sleep(some_time(0.1, 0.9))
    kill_worker(cluster, job)
    assert_failed_clearly(cluster.wait_for_job(job, timeout=20))
    done = cluster.finish(command)
    assert done.status == 1 and "Failure: " in done.err, str(done)
    assert cluster.held_locks() == set()
    # What it was doing on the node ends by itself; then the instance can be removed like any other.
    time.sleep(OS_SECONDS + 0.5)
    if cluster.ok("gnt-instance", "list", "--no-headers").rows:
        cluster.ok("gnt-instance", "remove", "-f", "i1")
    assert_clean(cluster, clean)
    # Name, addresses and ports are free again.
    cluster.ok(*creation("i1"))


@pytest.mark.parametrize("moment", [(0.05, 0.4), (0.5, 1.4)])
def test_migration_whose_worker_is_killed_can_be_cleaned_up(cluster: QaCluster, moment: tuple[float, float]) -> None:
    cluster.add_instance(GUEST)
    earlier = len(jobs_of(cluster, MIGRATE))
    command = cluster.start("gnt-instance", "migrate", "-f", "-n", "node2", GUEST)
    job = wait_for_new_job(cluster, MIGRATE, earlier)
    time.sleep(some_time(*moment))
    kill_worker(cluster, job)
    assert_failed_clearly(cluster.wait_for_job(job, timeout=20))
    assert cluster.finish(command).status == 1
    assert cluster.held_locks() == set()
    cluster.ok("gnt-instance", "migrate", "-f", "--cleanup", GUEST)
    assert_runs_in_one_place(cluster)
    assert guests(cluster).popitem()[1]["boots"] == 1
    cluster.ok("gnt-instance", "migrate", "-f", GUEST)
    assert_runs_in_one_place(cluster)


def test_job_that_is_killed_by_command_fails_and_frees_its_locks(cluster: QaCluster) -> None:
    cluster.add_instance(GUEST)
    cluster.slow_down(stop_seconds=4)
    job = int(cluster.ok("gnt-instance", "shutdown", "--submit", GUEST).out.partition(":")[0])
    wait_until(cluster.held_locks, timeout=5, interval=0.01, what="the shutdown to hold its lock")
    cluster.ok("gnt-job", "cancel", "--kill", "--yes-do-it", str(job))
    assert cluster.wait_for_job(job, timeout=20).status in ("error", "canceled")
    assert cluster.held_locks() == set()


# --- agents


def test_creation_whose_agent_is_killed_fails_and_can_be_cleaned_up(cluster: QaCluster) -> None:
    clean, earlier = cluster.traces(), len(jobs_of(cluster, CREATE))
    command = cluster.start(*creation("i1", "node2"))
    job = wait_for_new_job(cluster, CREATE, earlier)
    wait_until(lambda: cluster.job_log(job)[1:], timeout=10, interval=0.01, what="the OS to be installed")
    time.sleep(some_time(0.0, 0.4))
    cluster.kill_daemon("noded", "node2")
    time.sleep(0.2)
    cluster.start_daemon("noded", "node2")
    ended, done = cluster.wait_for_job(job), cluster.finish(command)
    assert ended.status == "error" and "node2" in text_of(ended), text_of(ended)
    assert done.status == 1 and "node2" in done.err, str(done)
    assert cluster.held_locks() == set()
    if cluster.ok("gnt-instance", "list", "--no-headers").rows:
        cluster.ok("gnt-instance", "remove", "-f", "i1")
    time.sleep(OS_SECONDS)
    assert_clean(cluster, clean)
    cluster.ok(*creation("i1", "node2"))


@pytest.mark.parametrize("victim", ["node1", "node2"])
def test_migration_one_of_whose_agents_is_killed_leaves_one_guest(cluster: QaCluster, victim: str) -> None:
    cluster.add_instance(GUEST)
    earlier = len(jobs_of(cluster, MIGRATE))
    command = cluster.start("gnt-instance", "migrate", "-f", "-n", "node2", GUEST)
    job = wait_for_new_job(cluster, MIGRATE, earlier)
    time.sleep(some_time(0.2, 1.2))
    cluster.kill_daemon("noded", victim)
    time.sleep(0.3)
    cluster.start_daemon("noded", victim)
    ended, done = cluster.wait_for_job(job), cluster.finish(command)
    if ended.status != "success":
        assert done.status == 1 and "Failure: " in done.err, str(done)
    cluster.ok("gnt-instance", "migrate", "-f", "--cleanup", GUEST)
    assert_runs_in_one_place(cluster)
    assert guests(cluster).popitem()[1]["boots"] == 1


# --- the whole machine


def test_jobs_of_a_master_that_lost_power_are_finished_or_failed(cluster: QaCluster) -> None:
    cluster.add_instance(GUEST, node="node2")
    cluster.slow_down(stop_seconds=3)
    running_job = int(cluster.ok("gnt-instance", "shutdown", "--submit", GUEST).out.partition(":")[0])
    wait_until(cluster.held_locks, timeout=5, interval=0.01, what="the shutdown to hold its lock")
    behind = cluster.call("SubmitJob", [{"OP_ID": "OP_TEST_DELAY", "duration": 0, "depends": [[running_job, []]]}])
    cluster.tool("kill-node", "node1")
    cluster.tool("start-node", "node1")
    assert_failed_clearly(cluster.wait_for_job(running_job, timeout=30))
    assert cluster.wait_for_job(behind, timeout=30).status == "success"
    assert cluster.held_locks() == set()
    wait_until(
        lambda: cluster.cell("instance", GUEST, "status") in ("ADMIN_down", "ERROR_down"),
        timeout=10,
        interval=0.2,
        what="the guest to be down",
    )
    cluster.ok("gnt-instance", "startup", GUEST)
    assert assert_runs_in_one_place(cluster) == "node2"
