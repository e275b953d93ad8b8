"""Whether each node has the memory for the instances that it would have to take over."""

from __future__ import annotations

from collections.abc import Iterator

from ganeti.model.enums import AdminState
from ganeti.model.filled import fill_beparams
from ganeti.model.objects import Node
from ganeti.ops.cluster.verify.codes import VerifyCode
from ganeti.ops.cluster.verify.facts import GroupFacts
from ganeti.ops.cluster.verify.report import Problem, on_node
from ganeti.ops.steps.capacity import NodeFacts


def check(facts: GroupFacts) -> Iterator[Problem]:
    """For each node and each other node that could fail: what would come over, against what is available."""
    for node in facts.nodes:
        known = facts.memory.get(node.uuid)
        if not isinstance(known, NodeFacts):
            continue
        for primary, needed in sorted(_needed(facts, node).items()):
            missing = known.memory.missing(needed)
            if missing:
                name = facts.config.node(primary).name
                text = f"if node {name} failed, {needed} MiB would have to start here, {missing} MiB more than there are"
                yield on_node(VerifyCode.ENODEN1, node, text)


def _needed(facts: GroupFacts, node: Node) -> dict[str, int]:
    """Memory of the running instances that have this node as secondary, by their primary node."""
    needed: dict[str, int] = {}
    for instance in facts.config.secondary_instances(node.uuid):
        backend = fill_beparams(facts.cluster, instance)
        if instance.admin_state is AdminState.UP and backend["auto_balance"]:
            needed[instance.primary_node] = needed.get(instance.primary_node, 0) + int(backend["minmem"])
    return needed
