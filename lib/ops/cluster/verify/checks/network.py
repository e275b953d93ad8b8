"""Whether the nodes reach one another, have their bridges, and only the master has the cluster's address."""

from __future__ import annotations

from collections.abc import Iterator

from ganeti.ops.cluster.verify.codes import VerifyCode
from ganeti.ops.cluster.verify.facts import GroupFacts, bridges_needed
from ganeti.ops.cluster.verify.report import Problem, on_node


def check(facts: GroupFacts) -> Iterator[Problem]:
    """TCP between agents, bridges, master address."""
    silent = {node.name for node in facts.config.nodes if node.offline}
    for node, answer in facts.answered():
        for name, problem in sorted(answer.unreachable.items()):
            if problem and name not in silent:
                yield on_node(VerifyCode.ENODENET, node, f"it cannot reach node {name}: {problem}")
        missing = sorted(set(answer.missing_bridges) & set(bridges_needed(facts.config, node)))
        if missing:
            yield on_node(VerifyCode.ENODENET, node, f"bridges are missing: {', '.join(missing)}")
        is_master = node.uuid == facts.cluster.master_node
        if answer.has_master_ip is False and is_master:
            yield on_node(VerifyCode.ENODENET, node, f"it is the master, but lacks the address {facts.cluster.master_ip}")
        if answer.has_master_ip and not is_master:
            text = f"it has the cluster's address {facts.cluster.master_ip}, but is not the master"
            yield on_node(VerifyCode.ENODENET, node, text)
