"""Whether the agents answer, with the master's version, and clocks that agree."""

from __future__ import annotations

from collections.abc import Iterator

from ganeti.base.errors import NodeError
from ganeti.ops.cluster.verify.codes import VerifyCode
from ganeti.ops.cluster.verify.facts import GroupFacts
from ganeti.ops.cluster.verify.report import Problem, on_node
from ganeti.ops.steps.versions import clock_difference, version_differences


def check(facts: GroupFacts) -> Iterator[Problem]:
    """Reachability, version, name, time, set-up."""
    for node in facts.nodes:
        reply = facts.replies.get(node.uuid)
        if isinstance(reply, NodeError):
            yield on_node(VerifyCode.ENODERPC, node, f"its agent cannot be asked: {reply.reason}")
    before, after = facts.asked_between
    for node, answer in facts.answered():
        for difference in version_differences(facts.own, answer.version):
            yield on_node(VerifyCode.ENODEVERSION, node, difference)
        if answer.version.hostname != node.name:
            yield on_node(VerifyCode.ENODESETUP, node, f"its agent calls itself {answer.version.hostname}")
        difference = clock_difference(before, answer.time, after)
        if difference:
            yield on_node(VerifyCode.ENODETIME, node, difference)
        for text in answer.setup:
            yield on_node(VerifyCode.ENODESETUP, node, text)
