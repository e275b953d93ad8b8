"""The link to the master daemon, while the daemon comes and goes."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ganeti.base.errors import Cancelled, Conflict, GanetiError, PrereqError
from ganeti.base.flock import FileLock
from ganeti.base.paths import Paths
from ganeti.job.cancel import Cancellation
from ganeti.job.master import JobTaken
from ganeti.job.remote import MasterLink
from ganeti.model.ids import GroupUuid, new_uuid
from ganeti.model.locks import BGL, lock
from ganeti.model.objects import Group, Put
from ganeti.rpc.jobs import Assignment, Held, OpProgress
from support.fakemaster import FakeMaster, wait_until

A, B, C = lock("node", "a"), lock("node", "b"), lock("node", "c")
JOB = Assignment(7, [{"OP_ID": "OP_TEST_DELAY"}], [0], epoch=3)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(str(tmp_path), "node1")


@pytest.fixture
def master(paths: Paths) -> Iterator[FakeMaster]:
    master = FakeMaster(paths)
    master.start()
    yield master
    master.close()


@pytest.fixture
def cancellation() -> Iterator[Cancellation]:
    cancellation = Cancellation()
    yield cancellation
    cancellation.close()


@pytest.fixture
def link(paths: Paths, master: FakeMaster, cancellation: Cancellation) -> Iterator[MasterLink]:
    with FileLock(f"{paths.livelocks}/w1-1"):
        link = MasterLink(paths.job_socket, "w1-1", cancellation, idle_patience=0.05)
        link.open()
        yield link
        link.close()


@pytest.fixture
def job(link: MasterLink, master: FakeMaster) -> MasterLink:
    """The link of a worker that has a job."""
    master.give(JOB)
    assert link.next_job() == JOB
    return link


def group(name: str) -> Group:
    return Group(uuid=GroupUuid(new_uuid()), name=name)


def during(action: Callable[[], object], what_else: Callable[[], object]) -> None:
    """Do the second thing while the first is under way in another thread (or has failed there, which is raised here)."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            action()
        except BaseException as err:
            errors.append(err)

    thread = threading.Thread(target=run)
    thread.start()
    what_else()
    thread.join()
    if errors:
        raise errors[0]


# --- an undisturbed job


def test_worker_attaches_before_anything_else(master: FakeMaster, job: MasterLink) -> None:
    assert master.seen == ["attach", "next_job"]
    assert master.attached == [("w1-1", None, Held())]
    assert job.epoch == 3


def test_locks_are_remembered(job: MasterLink, master: FakeMaster) -> None:
    job.acquire([B, A], [BGL], 0)
    assert master.locks[7] == Held([A, B], [BGL])
    assert job.acquire_free([B, C], 0) == [B, C]
    job.downgrade([A])
    job.release([B])
    assert (job.held.exclusive, job.held.shared) == ({C}, {A, BGL})
    assert master.locks[7] == Held([C], [BGL, A])
    job.release()
    assert job.held.names == frozenset()
    assert master.locks == {}


def test_locks_that_are_not_held_are_not_given_back(job: MasterLink, master: FakeMaster) -> None:
    job.release([A])
    job.downgrade([A])
    job.release()
    assert master.seen == ["attach", "next_job"]


def test_committed_objects_come_back_as_stored(job: MasterLink) -> None:
    (stored,) = job.commit([Put(group("g1"))])
    assert isinstance(stored, Group) and stored.serial_no == 1 and stored.ctime > 0


def test_errors_keep_their_class(job: MasterLink) -> None:
    with pytest.raises(PrereqError, match="in use"):
        job.reserve("mac", "taken")
    first = group("g1")
    job.commit([Put(first)])
    with pytest.raises(Conflict):
        job.commit([Put(first)])


def test_reports_are_not_waited_for_and_arrive_in_order(job: MasterLink, master: FakeMaster) -> None:
    for number in range(40):
        job.log(0, "message", f"line {number}")
        job.progress(OpProgress(0, "running", None, number))
    job.reserve("mac", "x")
    assert [line[2] for line in master.lines[7]] == [f"line {number}" for number in range(40)]
    times = [line[3] for line in master.lines[7]]
    assert times == sorted(set(times))
    assert [report.timestamp for _, report in master.progress] == list(range(40))


def test_job_ends_with_its_reports(job: MasterLink, master: FakeMaster) -> None:
    job.acquire([A], [], 0)
    job.finish([OpProgress(0, "success", 1, 2)])
    assert master.finished == {7: [OpProgress(0, "success", 1, 2)]}
    assert job.held.names == frozenset() and job.job is None


def test_no_more_jobs_means_the_end(link: MasterLink, master: FakeMaster) -> None:
    master.retire = True
    assert link.next_job() is None


# --- a daemon that comes and goes


@pytest.mark.parametrize("times", [1, 3])
def test_commit_whose_answer_is_lost_is_done_once(job: MasterLink, master: FakeMaster, times: int) -> None:
    master.drop["commit"] = times
    before = master.store.serial
    (stored,) = job.commit([Put(group("g1"))])
    assert isinstance(stored, Group) and stored.serial_no == 1
    assert master.store.serial == before + 1
    assert master.seen.count("commit") == times + 1


def test_log_line_whose_answer_is_lost_stands_there_once(job: MasterLink, master: FakeMaster) -> None:
    master.drop["log"] = 2
    for number in range(5):
        job.log(0, "message", number)
    job.reserve("mac", "x")
    assert [line[2] for line in master.lines[7]] == [0, 1, 2, 3, 4]
    assert master.seen.count("log") > 5


def test_submission_whose_answer_is_lost_is_done_once(job: MasterLink, master: FakeMaster) -> None:
    master.drop["submit"] = 1
    assert job.submit([[{"OP_ID": "OP_X"}]]) == [(True, 100)]
    assert list(master.submitted.values()) == [[[{"OP_ID": "OP_X"}]]]
    assert master.seen.count("submit") == 2


def test_assignment_whose_answer_is_lost_is_given_again(link: MasterLink, master: FakeMaster) -> None:
    master.drop["next_job"] = 1
    master.give(JOB)
    assert link.next_job() == JOB


def test_end_of_a_job_whose_answer_is_lost_is_reported_again(job: MasterLink, master: FakeMaster) -> None:
    master.drop["job_finished"] = 1
    job.progress(OpProgress(0, "running"))
    job.finish([OpProgress(0, "success")])
    assert master.seen[-4:] == ["job_finished", "attach", "op_progress", "job_finished"]
    master.give(dataclasses.replace(JOB, job=8))
    assert job.next_job() == dataclasses.replace(JOB, job=8)


def test_locks_are_presented_to_the_next_daemon(job: MasterLink, master: FakeMaster) -> None:
    job.acquire([A, B], [BGL], 0)
    job.downgrade([B])
    master.kill()
    master.start()
    job.commit([Put(group("g1"))])
    assert master.attached[-1] == ("w1-1", 7, Held([A], [BGL, B]))


@pytest.mark.parametrize("method", ["release", "downgrade"])
def test_locks_given_back_are_not_presented_although_the_answer_was_lost(
    job: MasterLink, master: FakeMaster, method: str
) -> None:
    job.acquire([A, B], [], 0)
    master.drop[method] = 1
    getattr(job, method)([A])
    assert master.attached[-1][2].exclusive == [B]


def test_waiting_for_locks_goes_on_at_the_next_daemon(job: MasterLink, master: FakeMaster) -> None:
    master.blocked = {A}

    def restart() -> None:
        master.wait(lambda: "acquire" in master.seen)
        master.kill()
        master.start()
        master.wait(lambda: master.seen.count("acquire") == 2)
        master.unblock()

    during(lambda: job.acquire([A], [], 0), restart)
    assert job.held.exclusive == {A}
    assert master.attached[-1] == ("w1-1", 7, Held())


def test_busy_worker_attaches_to_the_next_daemon_by_itself(job: MasterLink, master: FakeMaster) -> None:
    job.acquire([A], [], 0)
    for count in (2, 3):
        master.kill()
        master.start()
        master.wait(lambda count=count: len(master.attached) == count)
        assert master.attached[-1] == ("w1-1", 7, Held([A]))


def test_what_is_said_while_there_is_no_daemon_is_told_to_the_next(job: MasterLink, master: FakeMaster) -> None:
    master.kill()
    for number in range(10):
        job.log(0, "message", number)
    master.start()
    master.wait(lambda: len(master.lines[7]) == 10)
    job.reserve("mac", "x")
    assert [line[2] for line in master.lines[7]] == list(range(10))


def test_lines_that_the_dead_daemon_had_not_written_down_are_told_again(job: MasterLink, master: FakeMaster) -> None:
    for number in range(30):
        job.log(0, "message", number)
    job.progress(OpProgress(0, "running"))
    job.reserve("mac", "x")
    master.kill()
    del master.lines[7][20:]
    master.progress.clear()
    master.start()
    master.wait(lambda: len(master.lines[7]) == 30 and master.progress)
    assert [line[2] for line in master.lines[7]] == list(range(30))


def test_next_daemon_hears_nothing_of_earlier_jobs(job: MasterLink, master: FakeMaster) -> None:
    job.log(0, "message", "old")
    job.finish([OpProgress(0, "success")])
    master.give(dataclasses.replace(JOB, job=8))
    job.next_job()
    job.log(0, "message", "new")
    job.reserve("mac", "x")
    master.kill()
    master.start()
    master.wait(lambda: len(master.attached) == 2)
    job.reserve("mac", "x")
    after = master.seen[master.seen.index("attach", 1) :]
    assert after == ["attach", "log", "reserve"]


# --- cancelling


def test_waiting_for_locks_is_cancelled(job: MasterLink, master: FakeMaster, cancellation: Cancellation) -> None:
    master.blocked = {A}

    def cancel() -> None:
        master.wait(lambda: "acquire" in master.seen)
        cancellation.set()

    with pytest.raises(Cancelled):
        during(lambda: job.acquire([A], [], 0), cancel)
    assert job.held.names == frozenset()
    assert master.attached[-1] == ("w1-1", 7, Held())
    job.finish([OpProgress(0, "canceled")])
    assert 7 in master.finished


def test_cancelled_job_does_not_begin_to_wait(job: MasterLink, master: FakeMaster, cancellation: Cancellation) -> None:
    cancellation.set()
    with pytest.raises(Cancelled):
        job.acquire([A], [], 0)
    assert "acquire" not in master.seen


# --- the end


def test_job_that_was_given_up_stops_at_once(job: MasterLink, master: FakeMaster) -> None:
    master.lost.add(7)
    master.kill()
    master.start()
    with pytest.raises(JobTaken, match="given up"):
        job.commit([Put(group("g1"))])
    with pytest.raises(JobTaken):
        job.acquire([A], [], 0)
    assert "commit" not in master.seen[2:]


def test_job_that_is_given_up_while_it_asks_stops_at_once(job: MasterLink, master: FakeMaster) -> None:
    with pytest.raises(JobTaken, match="meanwhile"):
        job.reserve("mac", "lost")
    with pytest.raises(JobTaken):
        job.commit([Put(group("g1"))])
    assert "commit" not in master.seen


def test_worker_hears_that_its_job_was_given_up_while_it_is_busy(
    paths: Paths, master: FakeMaster, cancellation: Cancellation
) -> None:
    heard: list[GanetiError] = []
    with FileLock(f"{paths.livelocks}/w1-1"):
        link = MasterLink(paths.job_socket, "w1-1", cancellation, heard.append)
        link.open()
        master.give(JOB)
        link.next_job()
        master.lost.add(7)
        master.kill()
        master.start()
        wait_until(lambda: heard)
        link.close()
    assert "given up" in str(heard[0])


def test_idle_worker_does_not_wait_for_ever(link: MasterLink, master: FakeMaster) -> None:
    before = time.monotonic()
    with pytest.raises(JobTaken, match="no master daemon"):
        during(link.next_job, lambda: (master.wait(lambda: "next_job" in master.seen), master.kill()))
    assert time.monotonic() - before < 1


def test_job_waits_longer_than_an_idle_worker(job: MasterLink, master: FakeMaster) -> None:
    master.kill()
    threading.Timer(0.1, master.start).start()
    job.reserve("mac", "x")


def test_message_that_is_too_long_spoils_nothing(job: MasterLink) -> None:
    with pytest.raises(GanetiError, match="longer than"):
        job.log(0, "message", "x" * (65 << 20))
    job.reserve("mac", "x")


