"""What every `NodeCaller` keeps to: the one over HTTPS and the one in memory, with the same nodes behind them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from ganeti.base.errors import ConfigError, HypervisorError, NodeError, NodeOffline, StaleEpoch
from ganeti.base.secret import Secret
from ganeti.model.enums import DiskTemplate
from ganeti.model.filled import FilledDisk
from ganeti.model.ids import NodeUuid
from ganeti.rpc.call import NodeCaller, rpc
from ganeti.rpc.http import HttpsNodeCaller
from ganeti.rpc.memory import MemoryNode, MemoryNodeCaller
from ganeti.rpc.nodes import NodeTarget
from support.callserver import Authority, CallServer

NAMES = {NodeUuid(f"uuid-{number}"): f"node{number}.example.com" for number in (1, 2, 3)}
ONE, TWO, THREE = NAMES


class SampleApi:
    """Calls of every shape."""

    @rpc(timeout=5)
    def add(self, a: int, b: int = 40) -> int:
        raise NotImplementedError

    @rpc(timeout=5)
    def grown(self, disk: FilledDisk, amount: int) -> FilledDisk:
        raise NotImplementedError

    @rpc(timeout=5)
    def keep(self, secret: Secret) -> None:
        raise NotImplementedError

    @rpc(timeout=5)
    def fail(self, text: str) -> None:
        raise NotImplementedError

    @rpc(timeout=5)
    def crash(self) -> None:
        raise NotImplementedError

    @rpc(timeout=5, offline=True)
    def version(self) -> str:
        raise NotImplementedError

    @rpc(timeout=5)
    def wait(self, seconds: float) -> None:
        raise NotImplementedError

    @rpc(timeout=5)
    def lie(self) -> int:
        raise NotImplementedError

    @rpc(timeout=60)
    def measure(self, text: str) -> int:
        raise NotImplementedError


class Sample(SampleApi):
    """A node."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.kept: list[Secret] = []
        self.added = 0

    def add(self, a: int, b: int = 40) -> int:
        self.added += 1
        return a + b

    def grown(self, disk: FilledDisk, amount: int) -> FilledDisk:
        assert isinstance(disk, FilledDisk) and isinstance(disk.children[0].logical_id, tuple)
        return FilledDisk(uuid=disk.uuid, dev_type=disk.dev_type, logical_id=disk.logical_id, size=disk.size + amount)

    def keep(self, secret: Secret) -> None:
        self.kept.append(secret)

    def fail(self, text: str) -> None:
        raise HypervisorError(text)

    def crash(self) -> None:
        raise KeyError("something unforeseen")

    def version(self) -> str:
        return f"1 on {self.name}"

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)

    def lie(self) -> int:
        return "not a number"  # type: ignore[return-value]  # that is the point

    def measure(self, text: str) -> int:
        return len(text)


class World(Protocol):
    """Three nodes, a caller, and a hand that breaks things."""

    caller: NodeCaller
    samples: dict[NodeUuid, Sample]
    epoch: int

    def take_down(self, node: NodeUuid) -> None: ...
    def mark_offline(self, node: NodeUuid) -> None: ...
    def show_epoch(self, node: NodeUuid, epoch: int) -> None: ...
    def drop_answer(self, node: NodeUuid) -> None: ...


class MemoryWorld:
    def __init__(self) -> None:
        self.epoch = 1
        self.samples = {uuid: Sample(name) for uuid, name in NAMES.items()}
        self.nodes = {uuid: MemoryNode(sample.name, [sample]) for uuid, sample in self.samples.items()}
        self.caller = MemoryNodeCaller(self.nodes, lambda: self.epoch)

    def take_down(self, node: NodeUuid) -> None:
        self.nodes[node].faults.down = True

    def mark_offline(self, node: NodeUuid) -> None:
        self.nodes[node].faults.offline = True

    def show_epoch(self, node: NodeUuid, epoch: int) -> None:
        self.nodes[node].faults.epoch = epoch

    def drop_answer(self, node: NodeUuid) -> None:
        self.nodes[node].faults.drop["*"] = [1]

    def close(self) -> None:
        pass


class HttpsWorld:
    """Nodes are addresses 127.0.0.x, all with the port that the kernel gave to the first."""

    def __init__(self, folder: Path) -> None:
        self.epoch = 1
        authority = Authority(folder)
        self.samples = {uuid: Sample(name) for uuid, name in NAMES.items()}
        self.servers: dict[NodeUuid, CallServer] = {}
        self._stack = ExitStack()
        self._stacks: dict[NodeUuid, ExitStack] = {}
        self.offline: set[NodeUuid] = set()
        port = 0
        for number, (uuid, sample) in enumerate(self.samples.items(), 1):
            server = CallServer(sample, authority.credentials(sample.name), f"127.0.0.{number}", port)
            self._stacks[uuid] = ExitStack()
            self.servers[uuid] = self._stacks[uuid].enter_context(server)
            port = server.port
        self.caller = HttpsNodeCaller(self._resolve, authority.credentials("master"), lambda: self.epoch, port)

    def _resolve(self, uuid: NodeUuid) -> NodeTarget:
        if uuid not in NAMES:
            raise ConfigError(f"node {uuid} is not in the configuration any more")
        return NodeTarget(NAMES[uuid], self.servers[uuid].host, uuid in self.offline)

    def take_down(self, node: NodeUuid) -> None:
        self._stacks[node].close()

    def mark_offline(self, node: NodeUuid) -> None:
        self.offline.add(node)

    def show_epoch(self, node: NodeUuid, epoch: int) -> None:
        self.servers[node].epoch = epoch

    def drop_answer(self, node: NodeUuid) -> None:
        self.servers[node].drop_next = 1

    def close(self) -> None:
        self.caller.close()
        for stack in self._stacks.values():
            stack.close()


@pytest.fixture(params=["memory", "https"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    world = MemoryWorld() if request.param == "memory" else HttpsWorld(tmp_path)
    yield world
    world.close()


def test_result_comes_back_and_defaults_are_filled_in(world: World) -> None:
    assert world.caller.call(ONE, SampleApi.add, 2) == 42
    assert world.caller.call(ONE, SampleApi.add, 2, b=3) == 5


def test_objects_arrive_as_objects(world: World) -> None:
    child = FilledDisk(uuid="c", dev_type=DiskTemplate.PLAIN, logical_id=("vg", "lv"), size=1)
    disk = FilledDisk(uuid="d", dev_type=DiskTemplate.DRBD, logical_id=("a", 1), size=10, children=(child,))
    grown = world.caller.call(ONE, SampleApi.grown, disk, 5)
    assert grown == FilledDisk(uuid="d", dev_type=DiskTemplate.DRBD, logical_id=("a", 1), size=15)


def test_secret_arrives_as_a_secret(world: World) -> None:
    world.caller.call(ONE, SampleApi.keep, Secret("hush"))
    assert [secret.reveal() for secret in world.samples[ONE].kept] == ["hush"]


def test_error_names_node_and_cause(world: World) -> None:
    with pytest.raises(NodeError, match=r"^node node1\.example\.com: no KVM here$") as caught:
        world.caller.call(ONE, SampleApi.fail, "no KVM here")
    assert isinstance(caught.value.__cause__, HypervisorError)


def test_unforeseen_error_is_told(world: World) -> None:
    with pytest.raises(NodeError, match="something unforeseen"):
        world.caller.call(ONE, SampleApi.crash)


def test_answer_of_the_wrong_type_is_an_error(world: World) -> None:
    with pytest.raises(NodeError, match="cannot be understood"):
        world.caller.call(ONE, SampleApi.lie)


def test_dead_node_is_an_error_with_a_remedy(world: World) -> None:
    world.take_down(TWO)
    with pytest.raises(NodeError, match=r"node2\.example\.com: cannot be reached"):
        world.caller.call(TWO, SampleApi.version)


def test_unknown_node_is_an_error(world: World) -> None:
    with pytest.raises((NodeError, ConfigError), match="not in the configuration"):
        world.caller.call(NodeUuid("nobody"), SampleApi.version)


def test_offline_node_is_not_asked(world: World) -> None:
    world.mark_offline(ONE)
    with pytest.raises(NodeOffline, match=r"node1\.example\.com"):
        world.caller.call(ONE, SampleApi.add, 1)
    assert world.samples[ONE].added == 0


def test_offline_node_is_asked_by_a_call_that_wants_it(world: World) -> None:
    world.mark_offline(ONE)
    assert world.caller.call(ONE, SampleApi.version) == "1 on node1.example.com"


def test_lost_answer_says_that_the_outcome_is_unknown(world: World) -> None:
    world.caller.call(ONE, SampleApi.add, 1)
    world.drop_answer(ONE)
    with pytest.raises(NodeError, match=r"add.*not known"):
        world.caller.call(ONE, SampleApi.add, 1)
    assert world.samples[ONE].added == 2, "a call is never repeated"
    assert world.caller.call(ONE, SampleApi.add, 1) == 41


def test_fan_out_answers_for_each_node_in_order(world: World) -> None:
    found = world.caller.call_all([THREE, ONE, TWO], SampleApi.version)
    assert list(found.items()) == [(uuid, f"1 on {NAMES[uuid]}") for uuid in (THREE, ONE, TWO)]
    assert world.caller.call_all([], SampleApi.version) == {}


def test_failures_in_a_fan_out_are_values(world: World) -> None:
    world.take_down(ONE)
    world.mark_offline(TWO)
    found = world.caller.call_all([ONE, TWO, THREE, NodeUuid("nobody")], SampleApi.add, 1, 1)
    assert found.pop(THREE) == 2
    assert isinstance(found[TWO], NodeOffline)
    assert all(isinstance(error, NodeError) for error in found.values())
    assert "node1.example.com" in str(found[ONE]) and "nobody" in str(found[NodeUuid("nobody")])


def test_error_of_one_node_in_a_fan_out_is_a_value(world: World) -> None:
    found = world.caller.call_all(NAMES, SampleApi.fail, "no")
    assert [str(error) for error in found.values()] == [f"node {name}: no" for name in NAMES.values()]


def test_fan_out_asks_all_nodes_at_the_same_time(world: World) -> None:
    start = time.monotonic()
    assert set(world.caller.call_all(NAMES, SampleApi.wait, 0.2).values()) == {None}
    assert time.monotonic() - start < 0.5


def test_replaced_master_is_told(world: World) -> None:
    world.show_epoch(TWO, 5)
    with pytest.raises(StaleEpoch):
        world.caller.call(TWO, SampleApi.add, 1)
    with pytest.raises(StaleEpoch):
        world.caller.call_all(NAMES, SampleApi.add, 1)
    assert world.samples[TWO].added == 0
    world.epoch = 5
    assert world.caller.call(TWO, SampleApi.add, 1) == 41


def test_large_values_pass(world: World) -> None:
    assert world.caller.call(ONE, SampleApi.measure, "x" * 5_000_000) == 5_000_000


def test_threads_may_call_at_the_same_time(world: World) -> None:
    wrong: list[object] = []

    def work(number: int) -> None:
        for turn in range(10):
            found = world.caller.call_all(NAMES, SampleApi.add, number, turn)
            if set(found.values()) != {number + turn}:
                wrong.append(found)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
