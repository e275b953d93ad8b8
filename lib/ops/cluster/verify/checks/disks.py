"""Whether the disks of instances are there."""

from __future__ import annotations

from collections.abc import Iterator

from ganeti.ops.cluster.verify.codes import VerifyCode
from ganeti.ops.cluster.verify.facts import GroupFacts
from ganeti.ops.cluster.verify.report import Problem, on_instance


def check(facts: GroupFacts) -> Iterator[Problem]:
    """Every disk on its primary node."""
    for instance in facts.instances:
        for disk in facts.config.disks_of(instance):
            if disk.uuid in facts.paths and facts.paths[disk.uuid] is None:
                node = facts.config.node(instance.primary_node).name
                text = f"{disk.iv_name} ({disk.logical_id[-1]}) is missing on {node}"
                yield on_instance(VerifyCode.EINSTANCEMISSINGDISK, instance, text)
