"""Replication to candidates that come, go, hang, lose answers and follow somebody else."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ganeti.base.errors import ConfigError, StaleEpoch
from ganeti.master import replicate
from ganeti.master.replicate import Replicator
from ganeti.model.ids import NodeUuid
from ganeti.model.objects import Node, Put
from ganeti.rpc.memory import MemoryNode, MemoryNodeCaller
from ganeti.rpc.node.node import LogRange, NodeApi
from ganeti.store import transaction
from ganeti.store.reader import Reader
from ganeti.store.replica import Replica, snapshot
from ganeti.store.writer import Store
from support.objects import make_group, make_job, make_node, small_cluster

PATIENCE = 10.0


class Candidate(NodeApi):
    """A candidate's agent as far as replication needs it, on a real replica."""

    def __init__(self, path: str) -> None:
        self.replica = Replica(path)
        self.gate = threading.Event()
        """Calls wait until it is open."""
        self.gate.set()

    def store_append(self, log: LogRange) -> int:
        self.gate.wait(PATIENCE)
        return self.replica.append(log.rows)

    def store_replace(self, snapshot: str, serial: int) -> int:
        self.gate.wait(PATIENCE)
        return self.replica.replace(base64.b64decode(snapshot), serial)


class World:
    """A master with two candidates."""

    def __init__(self, directory: Path, wait: float = PATIENCE) -> None:
        self.store = Store.open(str(directory / "master.db"), create=True, epoch=2)
        self.store.commit(None, [Put(obj) for obj in small_cluster()]).result()
        self.nodes = [make_node("group", name=name) for name in ("node2", "node3")]
        self.agents = [Candidate(str(directory / f"{node.name}.db")) for node in self.nodes]
        self.memory = [MemoryNode(node.name, [agent]) for node, agent in zip(self.nodes, self.agents, strict=True)]
        by_uuid = {node.uuid: memory for node, memory in zip(self.nodes, self.memory, strict=True)}
        self.replaced: list[StaleEpoch] = []
        self.replicator = Replicator(
            self.store.path,
            MemoryNodeCaller(by_uuid, lambda: self.store.epoch),
            wait=wait,
            on_replaced=self.replaced.append,
        )
        self.store.on_commit = self.replicator.on_commit

    def start(self, *nodes: Node) -> None:
        self.replicator.set_candidates(nodes or self.nodes, trusted=True)

    def change(self) -> int:
        return self.store.commit(None, [Put(make_group())]).result(PATIENCE).serial

    def serials(self) -> list[int]:
        return [agent.replica.position()[1] for agent in self.agents]

    def stale(self) -> list[NodeUuid]:
        return [state.node for state in self.replicator.status() if state.stale]

    def close(self) -> None:
        for agent in self.agents:
            agent.gate.set()
        self.store.close()
        self.replicator.close()
        for agent in self.agents:
            agent.replica.close()


@pytest.fixture(autouse=True, scope="module")
def short_pauses() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replicate, "RETRY_FIRST", 0.01)
        patch.setattr(replicate, "CLOSE_WAIT", 0.05)
        yield


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path, wait=0.05)
    yield world
    world.close()


def test_acknowledged_change_is_on_every_candidate(world: World) -> None:
    world.start()
    for _ in range(5):
        serial = world.change()
        assert world.serials() == [serial, serial]
    assert [(state.serial, state.stale) for state in world.replicator.status()] == [(serial, False)] * 2


def test_jobs_are_replicated_too(world: World) -> None:
    world.start()
    world.store.accept_jobs([make_job(1)]).result(PATIENCE)
    with Reader(world.agents[0].replica.path) as reader:
        assert reader.job(1) is not None


def test_master_without_candidates_answers_at_once(world: World) -> None:
    world.replicator.set_candidates([])
    assert world.change() == world.store.serial


def test_unreachable_candidate_holds_nothing_up_and_catches_up_later(world: World) -> None:
    world.start()
    world.change()
    world.memory[1].faults.down = True
    serial = world.change()
    assert world.serials() == [serial, serial - 1]
    assert world.stale() == [world.nodes[1].uuid]
    assert "cannot be reached" in next(state.problem for state in world.replicator.status() if state.stale)
    world.change()
    world.memory[1].faults.down = False
    assert world.replicator.wait_until_current(PATIENCE)
    assert world.serials() == [world.store.serial] * 2
    assert world.stale() == []


def test_hanging_candidate_is_waited_for_once(impatient: World) -> None:
    impatient.start()
    impatient.change()
    impatient.agents[1].gate.clear()
    impatient.change()
    assert impatient.stale() == [impatient.nodes[1].uuid]
    assert "within 0.05 s" in next(state.problem for state in impatient.replicator.status() if state.stale)
    impatient.change()
    assert impatient.serials()[0] == impatient.store.serial
    impatient.agents[1].gate.set()
    assert impatient.replicator.wait_until_current(PATIENCE)
    assert impatient.serials() == [impatient.store.serial] * 2


def test_new_candidate_holds_nothing_up_until_it_has_everything(world: World) -> None:
    world.start(world.nodes[0])
    world.agents[1].gate.clear()
    world.replicator.set_candidates(world.nodes)
    world.change()
    assert world.stale() == [world.nodes[1].uuid]
    world.agents[1].gate.set()
    assert world.replicator.wait_until_current(PATIENCE)
    serial = world.change()
    assert world.serials() == [serial, serial]


def test_node_that_is_no_candidate_any_more_gets_nothing(world: World) -> None:
    world.start()
    serial = world.change()
    world.replicator.set_candidates(world.nodes[:1])
    world.change()
    assert world.serials() == [serial + 1, serial]


def test_candidate_that_followed_another_master_is_replaced(world: World) -> None:
    packed = snapshot(world.store.path)
    world.agents[0].replica.replace(*packed)
    world.agents[0].replica.close()
    with Store.open(world.agents[0].replica.path) as other:
        for _ in range(3):
            other.commit(None, [Put(make_group(name=f"lost{other.serial}"))]).result()
    world.store.new_epoch()
    world.start()
    world.change()
    assert world.replicator.wait_until_current(PATIENCE)
    assert world.serials() == [world.store.serial] * 2
    with Reader(world.agents[0].replica.path) as reader:
        assert not [group.name for group in reader.config().groups if group.name.startswith("lost")]


def test_candidate_that_fell_far_behind_gets_a_snapshot(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transaction, "PRUNE_EVERY", 10)
    monkeypatch.setattr(transaction, "KEEP_LOG", 5)
    for _ in range(25):
        world.change()
    world.start()
    assert world.replicator.wait_until_current(PATIENCE)
    assert "store_replace" in world.memory[0].calls
    assert world.serials() == [world.store.serial] * 2


def test_candidate_that_lost_its_replica_gets_everything_again(world: World) -> None:
    world.start()
    world.change()
    world.agents[0].replica.remove()
    serial = world.change()
    assert world.serials() == [serial, serial]


def test_master_that_has_been_replaced_learns_it(world: World) -> None:
    world.start()
    world.change()
    world.memory[1].faults.epoch = 3
    with pytest.raises(StaleEpoch, match="epoch 2 is over"):
        world.change()
    with pytest.raises(StaleEpoch):
        world.change()
    assert len(world.replaced) == 1


def test_end_of_the_daemon_answers_what_is_under_way(world: World) -> None:
    world.start()
    for agent in world.agents:
        agent.gate.clear()
    first = world.store.commit(None, [Put(make_group())])
    world.replicator.close()
    second = world.store.commit(None, [Put(make_group())])
    for future in (first, second):
        with pytest.raises(ConfigError, match="the master daemon ends"):
            future.result(PATIENCE)


_faults = st.lists(st.integers(1, 12), max_size=5, unique=True)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fail=_faults, drop=_faults, down=st.integers(0, 8))
def test_lost_requests_and_answers_leave_equal_replicas(
    tmp_path_factory: pytest.TempPathFactory, fail: list[int], drop: list[int], down: int
) -> None:
    world = World(tmp_path_factory.mktemp("faults"))
    try:
        world.memory[0].faults.fail = {"store_append": list(fail)}
        world.memory[1].faults.drop = {"store_append": list(drop)}
        world.start()
        for number in range(8):
            world.memory[1].faults.down = number == down
            serial = world.change()
            current = [state.serial for state in world.replicator.status() if not state.stale]
            assert all(known is not None and known >= serial for known in current)
        world.memory[1].faults.down = False
        assert world.replicator.wait_until_current(PATIENCE)
        assert world.serials() == [world.store.serial] * 2
    finally:
        world.close()
