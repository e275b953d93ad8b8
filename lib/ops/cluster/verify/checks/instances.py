"""Whether instances run where, and only where, they should."""

from __future__ import annotations

from collections.abc import Iterator

from ganeti.model.enums import AdminState
from ganeti.model.ids import NodeUuid
from ganeti.model.objects import Instance, Node
from ganeti.ops.cluster.verify.codes import VerifyCode
from ganeti.ops.cluster.verify.facts import GroupFacts
from ganeti.ops.cluster.verify.report import Problem, on_instance, on_node
from ganeti.rpc.node.replies import InstanceState, RunState


def check(facts: GroupFacts) -> Iterator[Problem]:
    """Instances of the group, then guests that nobody knows."""
    by_name = {instance.name: instance for instance in facts.config.instances}
    states = {(node.uuid, state.name): state for node, state in facts.states()}
    answered = {node.uuid for node, _ in facts.answered()}
    for instance in facts.instances:
        yield from _check_primary(facts, instance, states.get((instance.primary_node, instance.name)), answered)
    for node, state in facts.states():
        known = by_name.get(state.name)
        if state.state is RunState.ABSENT:
            continue
        if known is None:
            text = f"guest {state.name} is {state.state} here, but is no instance of this cluster"
            yield on_node(VerifyCode.ENODEORPHANINSTANCE, node, text)
        elif known.primary_node != node.uuid:
            yield _elsewhere(facts, known, node, state)


def _check_primary(
    facts: GroupFacts, instance: Instance, state: InstanceState | None, answered: set[NodeUuid]
) -> Iterator[Problem]:
    node = facts.config.node(instance.primary_node)
    if instance.forthcoming:
        text = "it has not been made completely; if its creation was interrupted, remove it and create it again"
        yield on_instance(VerifyCode.EINSTANCELAYOUT, instance, text, warning=True)
        return
    if instance.migration_peer is not None:
        text = f"a migration of it was interrupted; settle it with gnt-instance migrate --cleanup {instance.name}"
        yield on_instance(VerifyCode.EINSTANCELAYOUT, instance, text, warning=True)
    wanted = instance.admin_state is AdminState.UP
    if not node.vm_capable:
        yield on_instance(VerifyCode.EINSTANCEBADNODE, instance, f"its primary node {node.name} is not vm_capable")
    if node.offline and wanted:
        text = f"its primary node {node.name} is marked offline; fail it over"
        yield on_instance(VerifyCode.EINSTANCEBADNODE, instance, text)
    if node.uuid not in answered:
        return
    runs = state is not None and state.state in (RunState.RUNNING, RunState.PAUSED)
    if wanted and not runs:
        yield on_instance(VerifyCode.EINSTANCEDOWN, instance, f"it should run on {node.name}, but does not")
    if runs and not wanted:
        text = f"it runs on {node.name}, but is marked {instance.admin_state}"
        yield on_instance(VerifyCode.EINSTANCEWRONGNODE, instance, text, warning=True)


def _elsewhere(facts: GroupFacts, instance: Instance, node: Node, state: InstanceState) -> Problem:
    home = facts.config.node(instance.primary_node).name
    text = f"it is {state.state} on {node.name}, but belongs on {home}; see gnt-instance migrate --cleanup"
    return on_instance(VerifyCode.EINSTANCEWRONGNODE, instance, text)
