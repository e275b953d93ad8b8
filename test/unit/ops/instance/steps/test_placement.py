from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganeti.base.errors import Code, NodeError, PrereqError
from ganeti.model.capacity import NodeMemory
from ganeti.ops.instance.steps.placement import Choice, Wanted, choose, listed
from ganeti.ops.steps.capacity import NodeFacts
from support.fakecluster import FakeCluster

UNIT = ("file", "/srv")


def decide(frees: list[int | str], wanted: Wanted | None = None, **values: Any) -> tuple[str, Choice]:
    """The short name of the node chosen among nodes with so much free memory (a text: the error of that node)."""
    cluster = FakeCluster(nodes=len(frees))
    facts = {
        node.uuid: NodeError(node.name, free) if isinstance(free, str) else NodeFacts(NodeMemory(9999, free), "", {UNIT: 100})
        for node, free in zip(cluster.config.nodes, frees, strict=True)
    }
    choice = choose(cluster.config, cluster.config.nodes, facts, wanted or Wanted(100, {}), "instance web", **values)
    return cluster.config.node(choice.node).name.partition(".")[0], choice


def test_the_node_with_most_memory_left_is_chosen_the_first_among_equals() -> None:
    assert decide([500, 900, 700])[0] == "node2"
    assert decide([500, 500])[0] == "node1"


def test_the_others_are_rejected_with_their_reasons() -> None:
    name, choice = decide([50, "connection refused", 700])
    assert name == "node3"
    assert list(choice.rejected) == ["node1.example.com", "node2.example.com"]
    assert choice.rejected["node2.example.com"] == "connection refused"
    assert "50 MiB more than the 50 MiB available" in choice.rejected["node1.example.com"]


def test_space_counts_too() -> None:
    with pytest.raises(PrereqError, match="need 101 MiB in file storage /srv, 1 MiB more than the 100 MiB free there") as caught:
        decide([500], Wanted(100, {UNIT: 101}))
    assert caught.value.code == Code.NORES


def test_nothing_to_choose_from_is_said() -> None:
    cluster = FakeCluster()
    with pytest.raises(PrereqError, match="no node can take instance web: there is none to choose from"):
        choose(cluster.config, [], {}, Wanted(1, {}), "instance web")


def test_long_lists_of_reasons_are_cut() -> None:
    assert listed({f"n{number}": "full" for number in range(12)}, limit=2) == "n0: full; n1: full; and 10 more"


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=6), st.integers(0, 1000))
def test_a_node_is_found_if_and_only_if_one_has_room(frees: list[int], memory: int) -> None:
    try:
        name, _ = decide(list(frees), Wanted(memory, {}))
    except PrereqError:
        assert all(free < memory for free in frees)
    else:
        assert frees[int(name.removeprefix("node")) - 1] == max(frees) >= memory
