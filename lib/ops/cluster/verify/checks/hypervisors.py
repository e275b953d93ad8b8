"""Whether the enabled hypervisors work on the nodes, and with the parameters of the instances there."""

from __future__ import annotations

from collections.abc import Iterator

from ganeti.ops.cluster.verify.codes import VerifyCode
from ganeti.ops.cluster.verify.facts import GroupFacts
from ganeti.ops.cluster.verify.report import Problem, on_node
from ganeti.rpc.node.replies import NOTE


def check(facts: GroupFacts) -> Iterator[Problem]:
    """The hypervisor itself, then parameters."""
    for node, answer in facts.answered():
        if not node.vm_capable:
            continue
        for name, problem in sorted(answer.hypervisors.items()):
            if problem:
                remark = problem.startswith(NOTE)
                text = f"hypervisor {name}: {problem.removeprefix(NOTE)}"
                yield on_node(VerifyCode.ENODEHV, node, text, warning=remark)
        for users, problem in facts.hvparams.get(node.uuid, []):
            yield on_node(VerifyCode.ENODEHV, node, f"hypervisor parameters of {users}: {problem}")
