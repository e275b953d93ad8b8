"""Whether all nodes that can host instances have the same, valid OS definitions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ganeti.model.objects import Node
from ganeti.ops.cluster.verify.codes import VerifyCode
from ganeti.ops.cluster.verify.facts import GroupFacts
from ganeti.ops.cluster.verify.report import Problem, on_node
from ganeti.rpc.node.replies import OsVariantInfo

Definition = tuple[tuple[int, ...], tuple[str, ...], tuple[tuple[str, str], ...]]


def check(facts: GroupFacts) -> Iterator[Problem]:
    """Invalid ones, missing ones, and those that differ from what most nodes have."""
    found = {node.uuid: _first(answer.oses) for node, answer in facts.answered() if node.vm_capable}
    nodes = [node for node in facts.nodes if node.uuid in found]
    names = sorted({name for oses in found.values() for name in oses})
    for name in names:
        yield from _check_one(name, nodes, [found[node.uuid].get(name) for node in nodes])


def _check_one(name: str, nodes: list[Node], infos: list[OsVariantInfo | None]) -> Iterator[Problem]:
    usual = Counter(_definition(info) for info in infos if info is not None and info.valid).most_common(1)
    for node, info in zip(nodes, infos, strict=True):
        if info is None:
            yield on_node(VerifyCode.ENODEOS, node, f"OS {name} is missing; other nodes have it")
        elif not info.valid:
            yield on_node(VerifyCode.ENODEOS, node, f"OS {name} in {info.path} is not valid: {info.message}")
        elif usual and _definition(info) != usual[0][0]:
            text = f"OS {name} has other API versions, variants or parameters than on most nodes"
            yield on_node(VerifyCode.ENODEOS, node, text)


def _first(oses: list[OsVariantInfo]) -> dict[str, OsVariantInfo]:
    """The definition that counts for each name: the first in search order."""
    found: dict[str, OsVariantInfo] = {}
    for info in oses:
        found.setdefault(info.name, info)
    return found


def _definition(info: OsVariantInfo) -> Definition:
    return tuple(info.api_versions), tuple(info.variants), tuple((name, text) for name, text in info.parameters)
