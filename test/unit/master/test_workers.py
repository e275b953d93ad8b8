"""The pool of workers: how many, which is free, and their deaths. Processes here are real, but sleep."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, cast

import pytest

from ganeti.base import proc
from ganeti.base.errors import ExecError, ProtocolError
from ganeti.base.flock import FileLock
from ganeti.master import workers
from ganeti.master.server import Connection, Peer
from ganeti.master.workers import SpawnEvents, Worker, WorkerPool, describe_status
from ganeti.rpc.jobs import Assignment
from support.masterd import eventually


class Link:
    """As much of a connection as the pool looks at."""

    task = None

    def __init__(self) -> None:
        self.dropped = False

    def drop(self) -> None:
        self.dropped = True


class Spawner:
    def __init__(self) -> None:
        self.names: list[str] = []
        self.broken = False
        self.runs = 0
        self.reopened = False

    async def run(self, events: SpawnEvents) -> None:
        self.runs += 1
        if self.broken:
            raise ExecError("it does not start")
        events.ready()
        await asyncio.Event().wait()

    def spawn(self, name: str) -> bool:
        self.names.append(name)
        return not self.broken

    def reopen_logs(self) -> None:
        self.reopened = True

    async def close(self) -> None:
        self.broken = True


class Owner:
    def __init__(self) -> None:
        self.freed = 0
        self.dead: list[tuple[str, int | None, bool, str]] = []

    def worker_free(self) -> None:
        self.freed += 1

    def worker_died(self, worker: Worker, how: str) -> None:
        self.dead.append((worker.name, worker.job, worker.delivered, how))


class World:
    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.spawner, self.owner = Spawner(), Owner()
        self.now = 0.0
        self.pool = WorkerPool(self.spawner, directory, limit=3, clock=lambda: self.now)
        self.locks: dict[str, FileLock] = {}
        self.processes: dict[str, proc.Process] = {}

    def process(self, name: str) -> int:
        """A process that holds the livelock of this name."""
        self.lock(name)
        argv = ["sleep", "60"]
        process = self.processes[name] = proc.start(argv, pass_fds=[self.locks[name].fileno()])
        self.locks[name].forget()
        return process.pid

    def lock(self, name: str) -> None:
        lock = self.locks[name] = FileLock(os.path.join(self.directory, name), inheritable=True)
        lock.acquire(0)

    async def attach(self, name: str, pid: int = 0) -> tuple[Worker, Connection]:
        link = cast(Connection, Link())
        worker = await self.pool.attach(name, Peer(pid or os.getpid(), 0, 0), link)
        self.pool.attached(worker)
        return worker, link


def run(test: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    async def body(directory: str) -> None:
        world = World(directory)
        world.pool.open(world.owner)
        task = asyncio.create_task(world.pool.run())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        try:
            await test(world)
        finally:
            task.cancel()
            await world.pool.close()
            for process in world.processes.values():
                proc.stop(process, 0)

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(body(directory))


def test_some_workers_are_kept_in_reserve() -> None:
    async def test(world: World) -> None:
        assert len(world.spawner.names) == workers.SPARE
        world.pool.want(1)
        assert len(world.spawner.names) == workers.SPARE + 1
        world.pool.want(10)
        assert len(world.spawner.names) == workers.SPARE + world.pool.limit
        assert len(set(world.spawner.names)) == len(world.spawner.names)

    run(test)


def test_free_worker_is_chosen_and_given_its_job() -> None:
    async def test(world: World) -> None:
        world.lock("w1-1")
        worker, _ = await world.attach("w1-1")
        waiting = asyncio.create_task(world.pool.next_job(worker))
        await asyncio.sleep(0)
        assert world.pool.free == 1 and world.pool.take(7) is worker
        assert world.pool.free == 0 and world.pool.take(8) is None
        world.pool.hand(worker, Assignment(7, [], []))
        answer = await waiting
        assert answer is not None and answer.job == 7 and worker.delivered
        world.pool.give_back(worker)
        assert world.pool.free == 1 and not worker.delivered

    run(test)


def test_assignment_that_is_taken_back_in_time_does_not_end_the_worker() -> None:
    async def test(world: World) -> None:
        world.lock("w1-1")
        worker, _ = await world.attach("w1-1")
        waiting = asyncio.create_task(world.pool.next_job(worker))
        await asyncio.sleep(0)
        world.pool.take(7)
        world.pool.hand(worker, Assignment(7, [], []))
        world.pool.give_back(worker)
        await asyncio.sleep(0)
        world.pool.take(8)
        world.pool.hand(worker, Assignment(8, [], []))
        answer = await waiting
        assert answer is not None and answer.job == 8

    run(test)


def test_death_of_a_process_is_noticed_at_once_with_its_reason() -> None:
    async def test(world: World) -> None:
        name = world.spawner.names[0]
        pid = world.process(name)
        worker, link = await world.attach(name, pid)
        world.pool.take(7)
        worker.delivered = True
        os.kill(pid, signal.SIGKILL)
        world.pool.detached(worker, link)
        world.pool.exited(name, -9)
        await eventually(lambda: world.owner.dead)
        assert world.owner.dead == [(name, 7, True, "killed by SIGKILL")]
        assert os.listdir(world.directory) == []

    run(test)


def test_worker_that_is_disconnected_but_alive_keeps_its_job() -> None:
    async def test(world: World) -> None:
        pid = world.process("w1-1")
        worker, link = await world.attach("w1-1", pid)
        world.pool.take(7)
        world.pool.detached(worker, link)
        await asyncio.sleep(0.02)
        assert world.owner.dead == [] and worker.job == 7
        again, _ = await world.attach("w1-1", pid)
        assert again is worker and not worker.is_free

    run(test)


def test_disconnected_worker_is_not_chosen() -> None:
    async def test(world: World) -> None:
        world.lock("w1-1")
        worker, link = await world.attach("w1-1")
        world.pool.detached(worker, link)
        assert world.pool.take(7) is None

    run(test)


def test_second_connection_replaces_the_first() -> None:
    async def test(world: World) -> None:
        world.lock("w1-1")
        worker, first = await world.attach("w1-1")
        _, second = await world.attach("w1-1")
        assert cast(Link, first).dropped and worker.connection is second
        world.pool.detached(worker, first)
        assert worker.connection is second

    run(test)


def test_signal_reaches_the_process_and_only_while_it_holds_its_livelock() -> None:
    async def test(world: World) -> None:
        pid = world.process("w1-1")
        worker, link = await world.attach("w1-1", pid)
        world.lock("w1-2")
        inside, _ = await world.attach("w1-2")
        assert not world.pool.send_signal(inside, signal.SIGTERM)
        assert world.pool.send_signal(worker, signal.SIGTERM)
        world.pool.detached(worker, link)
        await eventually(lambda: world.owner.dead)
        assert not world.pool.send_signal(worker, signal.SIGTERM)

    run(test)


def test_moved_logs_are_told_to_everybody() -> None:
    async def test(world: World) -> None:
        pid = world.process("w1-1")
        worker, link = await world.attach("w1-1", pid)
        world.pool.reopen_logs()
        assert world.spawner.reopened
        # `sleep` does not handle the signal: it ends.
        assert world.processes["w1-1"].wait(5) == -signal.SIGHUP
        world.pool.detached(worker, link)

    run(test)


def test_expected_worker_that_is_dead_is_known_at_once() -> None:
    async def test(world: World) -> None:
        world.lock("w1-1")
        assert world.pool.expect("w1-1", 7) is not None
        assert world.pool.expect("w1-2", 8) is None
        assert world.pool.expect("../../etc/passwd", 8) is None
        world.locks["w1-1"].release()
        await eventually(lambda: world.owner.dead)
        assert world.owner.dead[0][:3] == ("w1-1", 7, True)

    run(test)


def test_worker_without_livelock_is_refused() -> None:
    async def test(world: World) -> None:
        with pytest.raises(ProtocolError, match="does not hold its livelock"):
            await world.attach("w1-1")

    run(test)


def test_worker_that_dies_before_it_attaches_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "RESPAWN_PAUSE", 0.01)

    async def test(world: World) -> None:
        first = list(world.spawner.names)
        world.pool.exited(first[0], 1)
        await eventually(lambda: len(world.spawner.names) == len(first) + 1)

    run(test)


def test_worker_that_does_not_come_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "ATTACH_TIME", 0.01)

    async def test(world: World) -> None:
        await eventually(lambda: len(world.spawner.names) >= 2 * workers.SPARE)

    run(test)


def test_workers_that_are_idle_for_long_end_except_the_reserve() -> None:
    async def test(world: World) -> None:
        waiting = []
        for number in range(workers.SPARE + 2):
            world.lock(f"w1-{number}")
            worker, _ = await world.attach(f"w1-{number}")
            waiting.append(asyncio.create_task(world.pool.next_job(worker)))
        await asyncio.sleep(0)
        world.pool.trim()
        assert world.pool.free == workers.SPARE + 2
        world.now = workers.IDLE_TIME + 1
        world.pool.trim()
        await asyncio.sleep(0)
        assert world.pool.free == workers.SPARE
        assert sum(task.done() and task.result() is None for task in waiting) == 2
        made = len(world.spawner.names)
        await world.pool.dismiss()
        assert all(task.done() for task in waiting)
        world.pool.want(5)
        assert len(world.spawner.names) == made

    run(test)


def test_parent_that_does_not_start_is_started_again() -> None:
    async def body(directory: str) -> None:
        world = World(directory)
        world.spawner.broken = True
        world.pool.open(world.owner)
        task = asyncio.create_task(world.pool.run())
        await eventually(lambda: world.pool.trouble)
        assert world.pool.trouble == "it does not start"
        world.spawner.broken = False
        await eventually(lambda: world.spawner.names)
        assert world.pool.trouble == "" and world.spawner.runs >= 2
        task.cancel()

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(body(directory))


def test_livelocks_left_behind_long_ago_are_removed(tmp_path: Path) -> None:
    old = time.time() - 3600
    for name in ("w1-1", "w1-1.held", "w1-2", "other"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (old, old))
    (tmp_path / "w1-3").touch()
    held = FileLock(str(tmp_path / "w1-2"))
    with held:
        WorkerPool(Spawner(), str(tmp_path), limit=1).open(Owner())
    assert sorted(os.listdir(tmp_path)) == ["other", "w1-2", "w1-3"]


@pytest.mark.parametrize(
    ("status", "text"),
    [(0, "exit status 0"), (3, "exit status 3"), (-9, "killed by SIGKILL"), (-99, "killed by signal 99")],
)
def test_end_of_a_process_is_described(status: int, text: str) -> None:
    assert describe_status(status) == text
