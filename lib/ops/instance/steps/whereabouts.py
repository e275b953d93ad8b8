"""After an interrupted move: finding out where an instance runs, and making everything agree with that."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from ganeti.base.errors import Code, ExecError, NodeError, PrereqError
from ganeti.model.config import Config
from ganeti.model.filled import fill_instance
from ganeti.model.ids import NodeUuid
from ganeti.model.objects import Instance, Node
from ganeti.ops.context import Context
from ganeti.ops.instance.steps import disks, guest
from ganeti.ops.instance.steps.migration import attempt_all
from ganeti.rpc.node.instance import InstanceApi
from ganeti.rpc.node.replies import RunState

States = Mapping[NodeUuid, RunState]
"""What each node that was asked says of the guest."""


@dataclass(frozen=True)
class Verdict:
    """Where the guest is at home (None: it runs nowhere), and the nodes where something of it has to be ended."""

    home: NodeUuid | None
    to_end: tuple[NodeUuid, ...]


def locate(ctx: Context, instance: Instance, nodes: Iterable[Node]) -> dict[NodeUuid, RunState]:
    """Ask the nodes that are not marked offline; `PrereqError` if one does not answer, for the guest might run there."""
    asked = [node.uuid for node in nodes if not node.offline]
    answers = ctx.nodes.call_all(asked, InstanceApi.instance_state, instance.name, str(instance.hypervisor))
    states = {}
    for node, answer in answers.items():
        if isinstance(answer, NodeError):
            raise PrereqError(
                f"where instance {instance.name} runs cannot be found out: {answer}. If that node is really dead, mark it"
                " offline first",
                Code.ENVIRON,
            )
        states[node] = answer.state
    return states


def judge(config: Config, instance: Instance, states: States) -> Verdict:
    """What follows from the states. Pure; `PrereqError` if the guest runs on several nodes."""
    primary = instance.primary_node
    running = [node for node, state in states.items() if state is RunState.RUNNING]
    if len(running) > 1:
        names = " and ".join(config.node(node).name for node in running)
        raise PrereqError(
            f"instance {instance.name} runs on {names} at the same time. Find out which one has the newest data, and end the"
            " other there by hand, then try again",
            Code.STATE,
        )
    home: NodeUuid | None = None
    if running:
        home = running[0]
    elif states.get(primary) is RunState.PAUSED:
        # It was stopped for sending the rest of its state, which did not arrive: nobody else runs it.
        home = primary
    kept = {home} if home is not None else {primary}
    present = (RunState.RUNNING, RunState.PAUSED, RunState.SHUTDOWN)
    return Verdict(home, tuple(node for node, state in states.items() if node not in kept and state in present))


def repair(ctx: Context, instance: Instance, nodes: Iterable[Node]) -> None:
    """Make configuration, guests and disks agree. The configuration first: it says where data are from then on."""
    asked = list(nodes)
    verdict = judge(ctx.config, instance, locate(ctx, instance, asked))
    if verdict.home == instance.primary_node and verdict.to_end:
        # A migration may still be under way; once it is cancelled it cannot complete any more.
        filled = fill_instance(ctx.config, instance)
        ctx.nodes.call(instance.primary_node, InstanceApi.migration_cancel, filled)
        verdict = judge(ctx.config, instance, locate(ctx, instance, asked))
    old = instance.primary_node
    if verdict.home is not None and verdict.home != old:
        ctx.info(f"Instance {instance.name} runs on {ctx.config.node(verdict.home).name}: recording that")
        guest.update(ctx, instance, primary_node=verdict.home)
    failures = _finish(ctx, instance, old, verdict)
    for node in asked:
        if node.uuid != (verdict.home or old) and not node.offline:
            failures += disks.try_shut_down(ctx, instance, node.uuid, ctx.config.disks_of(instance))
    if failures:
        raise ExecError(f"instance {instance.name} was not tidied up completely: {'; '.join(failures)}. Try again")
    if verdict.home is None:
        ctx.warn(f"Instance {instance.name} runs nowhere; start it with gnt-instance startup")


def _finish(ctx: Context, instance: Instance, old: NodeUuid, verdict: Verdict) -> list[str]:
    """End what is left of the guest elsewhere, and let it go on where it is at home."""
    call = ctx.nodes.call
    home = ctx.config.node(verdict.home or old)
    actions: list[Callable[[], object]] = []
    for node in verdict.to_end:
        ctx.info(f"Ending what is left of {instance.name} on {ctx.config.node(node).name}")
        filled = fill_instance(ctx.config, replace(instance, primary_node=node))
        if node == old:
            actions.append(partial(call, node, InstanceApi.migration_finish_source, filled, True, home.name))
        else:
            actions.append(partial(call, node, InstanceApi.migration_finish_target, filled, False))
    filled = fill_instance(ctx.config, replace(instance, primary_node=home.uuid))
    if verdict.home == old:
        actions.append(partial(call, old, InstanceApi.migration_finish_source, filled, False, home.name))
    elif verdict.home is not None:
        actions.append(partial(call, home.uuid, InstanceApi.migration_finish_target, filled, True))
    return attempt_all(*actions)
