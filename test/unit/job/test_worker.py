"""Worker processes: forked by the real zygote, working for a master daemon that is played by the test."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ganeti.base import jsontext
from ganeti.base.flock import is_locked
from ganeti.base.paths import Paths
from ganeti.model.locks import BGL, lock
from ganeti.model.objects import Node
from ganeti.rpc.jobs import Assignment, Held
from support.fakemaster import FakeMaster, wait_until
from support.objects import small_cluster

OBJECTS = [
    replace(obj, primary_ip="127.0.0.1") if isinstance(obj, Node) else obj for obj in small_cluster(1)
]
NODE = next(obj for obj in OBJECTS if isinstance(obj, Node))


class Zygote:
    """The real process, seen from the daemon's side."""

    def __init__(self, paths: Paths) -> None:
        self.control, theirs = socket.socketpair()
        with theirs, open(paths.log_file("jobs"), "ab") as log:
            environment = {**paths.environment(), "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PATH": os.defpath}
            command = [sys.executable, "-m", "ganeti.job.main", "--zygote"]
            self.process = subprocess.Popen(command, stdin=theirs, stdout=log, stderr=log, env=environment)
        self.control.settimeout(20)
        self._lines = self.control.makefile("rb")
        self.count = 0

    def hear(self) -> dict[str, Any]:
        message: dict[str, Any] = jsontext.loads(self._lines.readline())
        return message

    def fork(self) -> tuple[str, int]:
        self.count += 1
        name = f"w{id(self):x}-{self.count}"
        self.control.sendall(jsontext.dumps({"fork": name}).encode() + b"\n")
        message = self.hear()
        assert message["forked"] == name
        return name, message["pid"]

    def hang_up(self) -> None:
        self._lines.close()
        self.control.close()


@pytest.fixture(scope="module")
def paths() -> Iterator[Paths]:
    # Short, because the path of a Unix socket may have 107 characters only.
    folder = tempfile.mkdtemp(prefix="gnt-worker-")
    yield Paths(folder, "node1")
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def zygote(paths: Paths) -> Iterator[Zygote]:
    os.makedirs(paths.log)
    zygote = Zygote(paths)
    assert zygote.hear() == {"ready": True}
    yield zygote
    zygote.hang_up()
    assert zygote.process.wait(5) == 0


@pytest.fixture
def master(paths: Paths) -> Iterator[FakeMaster]:
    for name in ("data", "sockets"):
        shutil.rmtree(getattr(paths, name), ignore_errors=True)
    master = FakeMaster(paths, OBJECTS)
    master.start()
    yield master
    master.close()


@pytest.fixture
def worker(zygote: Zygote, master: FakeMaster) -> Iterator[tuple[str, int]]:
    name, pid = zygote.fork()
    master.wait(lambda: "next_job" in master.seen)
    yield name, pid
    if is_locked(f"{master.paths.livelocks}/{name}"):
        with master.changed:
            master.retire = True
        assert zygote.hear() == {"exited": pid, "status": 0}


def delay(job: int, *durations: float, **more: Any) -> Assignment:
    ops = [{"OP_ID": "OP_TEST_DELAY", "duration": duration, **more} for duration in durations]
    return Assignment(job, ops, [0] * len(ops), epoch=3)


def ends(master: FakeMaster, job: int) -> list[str]:
    return [str(report.status) for report in master.finished[job]]


def test_worker_proves_that_it_lives(master: FakeMaster, worker: tuple[str, int]) -> None:
    name, pid = worker
    assert master.attached == [(name, None, Held())]
    assert master.pids[name] == pid
    assert is_locked(f"{master.paths.livelocks}/{name}")
    assert os.getsid(pid) == pid
    assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"


def test_one_worker_does_one_job_after_the_other(master: FakeMaster, worker: tuple[str, int]) -> None:
    for job in range(1, 6):
        master.give(delay(job, 0))
    master.wait(lambda: len(master.finished) == 5)
    assert [ends(master, job) for job in range(1, 6)] == [["success"]] * 5
    assert len(master.attached) == 1


def test_locks_are_taken_for_an_opcode(master: FakeMaster, worker: tuple[str, int]) -> None:
    master.blocked = {lock("node", NODE.uuid)}
    master.give(delay(1, 0, on_nodes=["node1"], on_master=True, no_locks=False))
    master.wait(lambda: "acquire" in master.seen)
    assert master.progress == []
    master.unblock()
    master.wait(lambda: [str(report.status) for _, report in master.progress] == ["running"])
    assert master.granted == [(1, Held([lock("node", NODE.uuid)], [BGL]))]
    # No agent answers there, so that is how it ends; what counts is that it was asked.
    master.wait(lambda: 1 in master.finished, 10)
    assert "node node1: " in master.finished[1][0].result[1][0]


def test_workers_work_side_by_side(zygote: Zygote, master: FakeMaster, worker: tuple[str, int]) -> None:
    other = zygote.fork()[1]
    master.give(delay(1, 5), delay(2, 5))
    master.wait(lambda: [job for job, _ in master.progress] in ([1, 2], [2, 1]))
    for pid in (other, worker[1]):
        os.kill(pid, signal.SIGTERM)
    master.wait(lambda: len(master.finished) == 2)
    with master.changed:
        master.retire = True
    assert {zygote.hear()["status"], zygote.hear()["status"]} == {0}


def test_cancelled_job_ends_and_the_worker_takes_the_next(master: FakeMaster, worker: tuple[str, int]) -> None:
    master.give(delay(1, 30, 30))
    master.wait(lambda: master.progress)
    os.kill(worker[1], signal.SIGTERM)
    master.wait(lambda: 1 in master.finished)
    assert ends(master, 1) == ["canceled", "canceled"]
    master.run_job(delay(2, 0))
    assert ends(master, 2) == ["success"]
    assert "is_cancelled" in master.seen


def test_signal_meant_for_an_earlier_job_does_not_hit_the_next(master: FakeMaster, worker: tuple[str, int]) -> None:
    os.kill(worker[1], signal.SIGTERM)
    master.run_job(delay(1, 0))
    assert ends(master, 1) == ["success"]
    os.kill(worker[1], signal.SIGTERM)
    master.cancelled.add(2)
    master.run_job(delay(2, 30))
    assert ends(master, 2) == ["canceled"]


def test_job_goes_on_while_the_daemon_is_killed_and_started_again(master: FakeMaster, worker: tuple[str, int]) -> None:
    master.give(delay(1, 0.2, repeat=2))
    master.wait(lambda: master.progress)
    master.kill()
    master.start()
    master.wait(lambda: len(master.attached) == 2)
    assert master.attached[1] == (worker[0], 1, Held())
    master.wait(lambda: 1 in master.finished)
    assert ends(master, 1) == ["success"]
    assert [line[2] for line in master.lines[1]] == ["Delay 1 of 2", "Delay 2 of 2"]


def test_job_ends_while_there_is_no_daemon(master: FakeMaster, worker: tuple[str, int]) -> None:
    master.give(delay(1, 0.05))
    master.wait(lambda: master.progress)
    master.kill()
    wait_until(lambda: "ends" in Path(master.paths.log_file("jobs")).read_text().splitlines()[-1])
    master.start()
    master.wait(lambda: 1 in master.finished)
    assert ends(master, 1) == ["success"]


def test_killed_worker_is_reported(zygote: Zygote, master: FakeMaster, worker: tuple[str, int]) -> None:
    name, pid = worker
    master.give(delay(1, 30))
    master.wait(lambda: master.progress)
    os.kill(pid, signal.SIGKILL)
    assert zygote.hear() == {"exited": pid, "status": -signal.SIGKILL}
    assert not is_locked(f"{master.paths.livelocks}/{name}")


def test_worker_whose_job_was_given_up_ends(zygote: Zygote, master: FakeMaster, worker: tuple[str, int]) -> None:
    master.give(delay(1, 30))
    master.wait(lambda: master.progress)
    master.lost.add(1)
    master.kill()
    master.start()
    assert zygote.hear() == {"exited": worker[1], "status": 75}


def test_opcode_that_is_not_known_is_an_error_of_the_job(master: FakeMaster, worker: tuple[str, int]) -> None:
    (report,) = master.run_job(Assignment(1, [{"OP_ID": "OP_UNHEARD_OF"}], [0]))
    assert report.result == ["OpPrereqError", ["there is no opcode OP_UNHEARD_OF", "wrong_input"]]


def test_workers_live_on_when_their_parent_ends(paths: Paths, master: FakeMaster) -> None:
    zygote = Zygote(paths)
    assert zygote.hear() == {"ready": True}
    name, _ = zygote.fork()
    master.give(delay(1, 0.1))
    master.wait(lambda: master.progress)
    zygote.hang_up()
    assert zygote.process.wait(5) == 0
    master.wait(lambda: 1 in master.finished)
    assert ends(master, 1) == ["success"]
    master.run_job(delay(2, 0))
    with master.changed:
        master.retire = True
    wait_until(lambda: not is_locked(f"{paths.livelocks}/{name}"))


def test_program_refuses_to_be_started_by_hand() -> None:
    done = subprocess.run([sys.executable, "-m", "ganeti.job.main"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "ganeti-masterd" in done.stderr
