"""Whether instances fit the policy of their group. Those that do not still work, so these are warnings."""

from __future__ import annotations

from collections.abc import Iterator

from ganeti.model import ipolicy
from ganeti.ops.cluster.verify.codes import VerifyCode
from ganeti.ops.cluster.verify.facts import GroupFacts
from ganeti.ops.cluster.verify.report import Problem, on_instance


def check(facts: GroupFacts) -> Iterator[Problem]:
    """Every bound that is broken."""
    policy = ipolicy.policy_of(facts.config, facts.group)
    for instance in facts.instances:
        spec = ipolicy.spec_of(facts.config, instance, facts.config.disks_of(instance))
        for text in ipolicy.violations(policy, spec):
            yield on_instance(VerifyCode.EINSTANCEPOLICY, instance, text, warning=True)
