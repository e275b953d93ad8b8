"""The pool of master candidates: how many there should be, who could be one, and who has to become one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ganeti.model.objects import Cluster, Node


def is_possible(node: Node) -> bool:
    """Whether the node could hold a replica of the store now."""
    return node.master_capable and not node.offline and not node.drained


def wanted(cluster: Cluster, nodes: Iterable[Node]) -> int:
    """How many candidates there should be: the pool's size, or fewer if there are not that many possible nodes."""
    return min(cluster.candidate_pool_size, sum(1 for node in nodes if is_possible(node)))


def has_room(cluster: Cluster, nodes: Iterable[Node]) -> bool:
    """Whether one more possible node would be made a candidate."""
    return sum(1 for node in nodes if is_candidate(node)) < cluster.candidate_pool_size


def is_candidate(node: Node) -> bool:
    """Whether the node is one now. A node that is offline does not count, whatever its flag says."""
    return node.master_candidate and is_possible(node)


def missing(cluster: Cluster, nodes: Sequence[Node]) -> int:
    """How many candidates are lacking."""
    return max(0, wanted(cluster, nodes) - sum(1 for node in nodes if is_candidate(node)))


def to_promote(cluster: Cluster, nodes: Sequence[Node], *, besides: Iterable[str] = ()) -> list[Node]:
    """The nodes that have to become candidates so that none is lacking, in the order of `nodes`; `besides` are left alone.

    May be shorter than `missing` says, if too few nodes may be promoted.
    """
    left_alone = frozenset(besides)
    free = [node for node in nodes if is_possible(node) and not node.master_candidate and node.uuid not in left_alone]
    return free[: missing(cluster, nodes)]
