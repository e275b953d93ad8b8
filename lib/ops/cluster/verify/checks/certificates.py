"""Whether the nodes' certificates are the ones that the cluster knows, and do not expire soon."""

from __future__ import annotations

from collections.abc import Iterator

from ganeti.ops.cluster.verify.codes import VerifyCode
from ganeti.ops.cluster.verify.facts import GroupFacts
from ganeti.ops.cluster.verify.report import Problem, on_node

DAY = 86400
WARN_DAYS = 30
ERROR_DAYS = 7


def check(facts: GroupFacts) -> Iterator[Problem]:
    """Digest and expiry."""
    now = facts.asked_between[1]
    digests: dict[str, str] = {}
    for node, answer in facts.answered():
        digest = answer.certificate_digest
        if digest and digest != node.certificate_digest:
            text = "it has another certificate than the configuration says; re-add the node"
            yield on_node(VerifyCode.ECLUSTERCLIENTCERT, node, text)
        if digest and digest in digests:
            yield on_node(VerifyCode.ECLUSTERCLIENTCERT, node, f"it has the same certificate as node {digests[digest]}")
        digests[digest] = node.name
        if not answer.certificate_expiry:
            continue
        days = (answer.certificate_expiry - now) / DAY
        if days < 0:
            yield on_node(VerifyCode.ECLUSTERCERT, node, "its certificate has expired; re-add the node")
        elif days < WARN_DAYS:
            text = f"its certificate expires in {days:.0f} days"
            yield on_node(VerifyCode.ECLUSTERCERT, node, text, warning=days >= ERROR_DAYS)
