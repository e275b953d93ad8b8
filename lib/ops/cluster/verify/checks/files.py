"""Whether the cluster's files are where they should be, and the same everywhere."""

from __future__ import annotations

from collections.abc import Iterator

from ganeti.ops.cluster.verify.codes import VerifyCode
from ganeti.ops.cluster.verify.facts import EVERYWHERE, ON_CANDIDATES, GroupFacts
from ganeti.ops.cluster.verify.report import Problem, on_node


def check(facts: GroupFacts) -> Iterator[Problem]:
    """Compare with the master's."""
    if facts.master is None:
        return
    for node, answer in facts.answered():
        for name in (*EVERYWHERE, *ON_CANDIDATES):
            own, theirs = facts.master.files.get(name), answer.files.get(name)
            wanted = name in EVERYWHERE or node.master_candidate
            if own is None:
                continue
            if theirs is None and wanted:
                yield on_node(VerifyCode.ENODEFILECHECK, node, f"file {name} is missing")
            elif theirs is not None and not wanted:
                text = f"file {name} should not be there: the node is no master candidate"
                yield on_node(VerifyCode.ENODEFILECHECK, node, text)
            elif theirs is not None and theirs != own:
                yield on_node(VerifyCode.ENODEFILECHECK, node, f"file {name} differs from the master's")
