"""Commits: stored, replicated, answered, followed by the copies."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from ganeti.base.errors import Conflict, PrereqError
from ganeti.master.commit import Commits, Followers
from ganeti.master.distribute import Distributor
from ganeti.master.exporter import Exporter
from ganeti.master.replicate import Replicator
from ganeti.master.ssconf import SsconfFiles
from ganeti.model.objects import Delete, Put
from ganeti.rpc.memory import MemoryNode, MemoryNodeCaller
from ganeti.rpc.node.node import LogRange, NodeApi
from ganeti.store.reader import Reader
from ganeti.store.replica import Replica
from ganeti.store.writer import Store, Write
from support.objects import make_disk, make_instance, make_job, make_nic, small_cluster

T = TypeVar("T")
PATIENCE = 10.0


class Agent(NodeApi):
    def __init__(self, path: str) -> None:
        self.replica = Replica(path)
        self.ssconf: dict[str, str] = {}
        self.uploads = 0
        self.gate = threading.Event()
        self.gate.set()

    def store_append(self, log: LogRange) -> int:
        self.gate.wait(PATIENCE)
        return self.replica.append(log.rows)

    def write_ssconf(self, values: dict[str, str]) -> None:
        self.ssconf.update(values)

    def upload_file(self, name: str, content: Any) -> None:
        self.uploads += 1


class World:
    """A master daemon's share of commits, with one other candidate."""

    def __init__(self, directory: Path) -> None:
        self.store = Store.open(str(directory / "master.db"), create=True, epoch=1)
        objects = self.store.commit(None, [Put(obj) for obj in small_cluster(nodes=2)]).result().objects
        self.master, self.other = objects[2:]
        self.reader = Reader(self.store.path)
        self.agents = {node.uuid: Agent(str(directory / f"{node.label}.db")) for node in (self.master, self.other)}
        self.memory = {uuid: MemoryNode(uuid, [agent]) for uuid, agent in self.agents.items()}
        caller: Any = MemoryNodeCaller(self.memory)
        self.followers = Followers(
            Replicator(self.store.path, caller),
            Distributor(SsconfFiles(), self.reader.config, caller, delay=0.0),
            Exporter(self.reader.config, caller, str(directory / "config.data"), delay=0.0),
        )
        self.commits = Commits(self.store, self.reader, self.followers)
        self.followers.start(self.reader.config())

    @property
    def replica(self) -> Agent:
        return self.agents[self.other.uuid]

    def flush(self) -> None:
        assert self.followers.distributor is not None and self.followers.exporter is not None
        assert self.followers.distributor.flush(PATIENCE)
        assert self.followers.exporter.flush(PATIENCE)

    def close(self) -> None:
        self.store.close()
        self.followers.close()
        self.reader.close()
        self.replica.replica.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


def run(awaitable: Awaitable[T]) -> T:
    async def main() -> T:
        return await awaitable

    return asyncio.run(main())


def test_answer_comes_when_the_candidate_has_it(world: World) -> None:
    reply = run(world.commits.commit(1, "a", [Put(make_instance(world.master.uuid, name="web"))]))
    assert [(put.obj.label, put.obj.serial_no) for put in reply.objects] == [("web", 1)]
    with Reader(world.replica.replica.path) as reader:
        assert reader.position()[1] == reply.serial
        assert reader.config().find_instance("web").serial_no == 1


def test_token_belongs_to_its_job(world: World) -> None:
    changes = [Put(make_instance(world.master.uuid))]
    first = run(world.commits.commit(1, "a", changes))
    assert run(world.commits.commit(1, "a", changes)) == first
    with pytest.raises(Conflict):
        run(world.commits.commit(2, "a", changes))


def test_commits_of_many_jobs_share_transactions(world: World) -> None:
    groups: list[int] = []
    replicate = world.store.on_commit
    assert replicate is not None

    def count(rows: Any) -> Any:
        groups.append(len(rows))
        return replicate(rows)

    world.store.on_commit = count

    async def main() -> None:
        tasks: list[Callable[[], Awaitable[Any]]] = [
            lambda job=job: world.commits.commit(job, "a", [Put(make_instance(world.master.uuid))])
            for job in range(50)
        ]
        await asyncio.gather(*(task() for task in tasks))

    asyncio.run(main())
    assert sum(groups) == 50
    assert len(groups) < 25


def test_jobs_are_written_through_the_same_door(world: World) -> None:
    serial = run(world.commits.write(Write(new_jobs=[make_job(1)]))).serial
    with Reader(world.replica.replica.path) as reader:
        assert reader.position()[1] == serial
        assert reader.job(1) is not None


def test_copies_follow_the_configuration(world: World) -> None:
    world.flush()
    uploads = world.replica.uploads
    run(world.commits.commit(1, "a", [Put(make_instance(world.master.uuid, name="web"))]))
    world.flush()
    assert world.replica.ssconf["instance_list"] == "web\n"
    assert world.replica.uploads == uploads + 1


def test_disks_do_not_stir_the_nodes(world: World) -> None:
    world.flush()
    calls = world.memory[world.other.uuid].calls
    before = calls.count("write_ssconf"), calls.count("upload_file")
    run(world.commits.commit(1, "a", [Put(make_disk())]))
    world.flush()
    assert (calls.count("write_ssconf"), calls.count("upload_file")) == (before[0], before[1] + 1)


def test_replica_of_a_demoted_node_is_left_alone_from_the_answer_on(world: World) -> None:
    run(world.commits.commit(1, "a", [Put(make_instance(world.master.uuid))]))
    reply = run(world.commits.commit(1, "b", [Put(dataclasses.replace(world.other, master_candidate=False))]))
    world.replica.replica.remove()
    run(world.commits.commit(1, "c", [Put(make_instance(world.master.uuid))]))
    assert world.replica.replica.position() == (0, 0)
    promoted = dataclasses.replace(reply.objects[0].obj, master_candidate=True)
    run(world.commits.commit(1, "d", [Put(promoted)]))
    assert world.followers.replicator is not None and world.followers.replicator.wait_until_current(PATIENCE)
    assert world.replica.replica.position()[1] == world.store.serial


def test_reserved_value_becomes_the_configuration(world: World) -> None:
    commits = world.commits
    mac = run(commits.generate(1, "mac", ""))
    with pytest.raises(PrereqError, match="job 1"):
        run(commits.reserve(2, "mac", mac))
    instance = make_instance(world.master.uuid, name="web", nics=(make_nic(mac=mac),))
    stored = run(commits.commit(1, "a", [Put(instance)])).objects[0].obj
    commits.job_ended(1)
    with pytest.raises(PrereqError, match="instance web"):
        run(commits.reserve(2, "mac", mac))
    run(commits.commit(1, "b", [Delete.of(stored)]))
    run(commits.reserve(2, "mac", mac))


def test_event_loop_goes_on_while_a_candidate_hangs(world: World) -> None:
    world.replica.gate.clear()

    async def main() -> None:
        task = asyncio.ensure_future(world.commits.commit(1, "a", [Put(make_instance(world.master.uuid))]))
        await asyncio.sleep(0.02)
        assert not task.done()
        world.replica.gate.set()
        await asyncio.wait_for(task, PATIENCE)

    asyncio.run(main())
