from __future__ import annotations

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from ganeti.model import candidates
from ganeti.model.objects import Cluster, Node
from ganeti.model.roles import Role, with_role
from support.fakecluster import FakeCluster

CLUSTER = FakeCluster(nodes=1).config.cluster


def row(number: int, role: Role, capable: bool = True) -> Node:
    node = FakeCluster(nodes=1).node_row(number, uuid=f"u{number}", master_capable=capable)
    return with_role(node, role)


def pool(size: int) -> Cluster:
    return dataclasses.replace(CLUSTER, candidate_pool_size=size)


nodes_strategy = st.lists(st.tuples(st.sampled_from(list(Role)), st.booleans()), max_size=8)


def build(kinds: list[tuple[Role, bool]]) -> list[Node]:
    return [
        row(number, role if capable or role is not Role.CANDIDATE else Role.REGULAR, capable)
        for number, (role, capable) in enumerate(kinds, start=1)
    ]


@given(kinds=nodes_strategy, size=st.integers(1, 6))
def test_after_promoting_nobody_is_lacking(kinds: list[tuple[Role, bool]], size: int) -> None:
    nodes, cluster = build(kinds), pool(size)
    promoted = {node.uuid for node in candidates.to_promote(cluster, nodes)}
    after = [with_role(node, Role.CANDIDATE) if node.uuid in promoted else node for node in nodes]
    assert candidates.missing(cluster, after) == 0
    assert len(promoted) == candidates.missing(cluster, nodes)


@given(kinds=nodes_strategy, size=st.integers(1, 6))
def test_only_possible_nodes_are_promoted_in_the_order_given(kinds: list[tuple[Role, bool]], size: int) -> None:
    nodes = build(kinds)
    promoted = candidates.to_promote(pool(size), nodes)
    assert all(candidates.is_possible(node) and not node.master_candidate for node in promoted)
    assert promoted == [node for node in nodes if node in promoted]


def test_some_nodes_may_be_left_alone() -> None:
    nodes = [row(1, Role.CANDIDATE), row(2, Role.REGULAR), row(3, Role.REGULAR)]
    assert candidates.to_promote(pool(2), nodes, besides=["u2"]) == [nodes[2]]


def test_a_pool_has_room_until_it_is_full() -> None:
    nodes = [row(1, Role.CANDIDATE), row(2, Role.OFFLINE)]
    assert candidates.has_room(pool(2), nodes)
    assert not candidates.has_room(pool(1), nodes)
    assert candidates.wanted(pool(5), nodes) == 1
