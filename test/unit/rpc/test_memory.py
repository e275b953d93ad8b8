"""Faults of the nodes in memory. That they behave like real ones is tested in `test/contract`."""

from __future__ import annotations

import pytest

from ganeti.base.errors import NodeError
from ganeti.model.ids import NodeUuid
from ganeti.rpc.call import rpc
from ganeti.rpc.memory import MemoryNode, MemoryNodeCaller

NODE = NodeUuid("uuid-1")


class SampleApi:
    """Two calls."""

    @rpc(timeout=1)
    def first(self) -> int:
        raise NotImplementedError

    @rpc(timeout=1)
    def second(self) -> int:
        raise NotImplementedError


class Sample(SampleApi):
    """Implements one of them."""

    def first(self) -> int:
        return 1


def outcomes(caller: MemoryNodeCaller, count: int) -> list[object]:
    found: list[object] = []
    for _ in range(count):
        try:
            found.append(caller.call(NODE, SampleApi.first))
        except NodeError as err:
            found.append("unknown" if "not known" in err.reason else "failed")
    return found


@pytest.fixture
def node() -> MemoryNode:
    return MemoryNode("node1", [Sample()])


def test_chosen_calls_fail_without_being_carried_out(node: MemoryNode) -> None:
    node.faults.fail["first"] = [2, 3]
    assert outcomes(MemoryNodeCaller({NODE: node}), 5) == [1, "failed", "failed", 1, 1]
    assert node.calls == ["first"] * 3


def test_chosen_calls_are_carried_out_and_their_answers_lost(node: MemoryNode) -> None:
    node.faults.drop["*"] = [2]
    assert outcomes(MemoryNodeCaller({NODE: node}), 3) == [1, "unknown", 1]
    assert node.calls == ["first"] * 3


def test_call_without_implementation_is_an_error(node: MemoryNode) -> None:
    with pytest.raises(NodeError, match="does not know the call second"):
        MemoryNodeCaller({NODE: node}).call(NODE, SampleApi.second)
