from __future__ import annotations

import pytest

from ganeti.base.errors import ExecError, PrereqError
from ganeti.model.locks import Locks
from ganeti.ops.base import from_wire, summary, to_wire
from ganeti.ops.registry import find
from ganeti.ops.test.delay import Delay
from support.fakecluster import FakeCluster, locks_of


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


def test_it_is_found_by_its_id_and_summarised() -> None:
    op = from_wire({"OP_ID": "OP_TEST_DELAY", "duration": 0}, find)
    assert isinstance(op, Delay)
    assert summary(to_wire(op), find) == "TEST_DELAY(0.0)"


def test_it_sleeps_on_the_master_for_the_time_asked(cluster: FakeCluster) -> None:
    before = cluster.clock
    run = cluster.run(Delay(duration=2.5))
    assert cluster.clock - before == 2.5
    assert run.log == []


def test_it_sleeps_on_the_nodes_named_only(cluster: FakeCluster) -> None:
    before = cluster.clock
    cluster.run(Delay(duration=1.0, on_master=False, on_nodes=["node2"], on_node_uuids=[cluster.uuid("node3")]))
    assert cluster.clock == before
    assert [cluster.node(name).slept for name in ("node1", "node2", "node3")] == [0, 1.0, 1.0]


def test_it_is_repeated_and_says_so(cluster: FakeCluster) -> None:
    run = cluster.run(Delay(duration=1.0, repeat=3))
    assert run.log == ["Delay 1 of 3", "Delay 2 of 3", "Delay 3 of 3"]
    assert cluster.clock == 1003.0


def test_a_node_that_does_not_answer_is_named(cluster: FakeCluster) -> None:
    cluster.dead.add(cluster.uuid("node2"))
    with pytest.raises(ExecError, match=r"failed on 1 of 2 nodes: node node2\.example\.com: connection refused"):
        cluster.run(Delay(duration=0, on_nodes=["node2", "node3"]))


def test_no_locks_are_taken_unless_asked_for(cluster: FakeCluster) -> None:
    assert Delay(duration=0, on_nodes=["node1"]).locks(cluster.config) == Locks.none()
    op = Delay(duration=0, on_nodes=["node2"], no_locks=False)
    assert locks_of(op, cluster.config) == {"exclusive node": ["node2"], "shared cluster": ["BGL"]}


@pytest.mark.parametrize("duration", [-1, float("nan"), float("inf"), "soon", None])
def test_a_duration_that_is_none_is_refused(duration: object) -> None:
    with pytest.raises(PrereqError, match="OP_TEST_DELAY: parameter duration"):
        from_wire({"OP_ID": "OP_TEST_DELAY", "duration": duration}, find)


def test_a_socket_to_interrupt_it_is_refused(cluster: FakeCluster) -> None:
    with pytest.raises(PrereqError, match="gnt-job cancel"):
        cluster.run(Delay(duration=0, interruptible=True))


def test_an_unknown_node_is_refused(cluster: FakeCluster) -> None:
    with pytest.raises(PrereqError, match="node 'node9' is not known"):
        cluster.run(Delay(duration=0, on_nodes=["node9"]))
