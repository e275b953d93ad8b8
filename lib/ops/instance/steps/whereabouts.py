"""After an interrupted move: finding out where an instance runs, and making everything agree with that.

The rules, of which the first that fits holds:

* It runs on one node: that is where it belongs. (On several: people have to decide which data are good.)
* Its primary node has it stopped, and says that its state was sent completely: it belongs to the node where it arrived. If it
  is nowhere else, it may have run and ended there, and then the memory of the old copy does not fit the disks any more: people
  have to decide.
* Its primary node has it stopped for another reason: it goes on there.
* Otherwise it runs nowhere, and may be started.

Whatever is left of it elsewhere is ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from ganeti.base.errors import Code, ExecError, NodeError, PrereqError
from ganeti.model.config import Config
from ganeti.model.filled import FilledInstance, fill_instance
from ganeti.model.ids import NodeUuid
from ganeti.model.objects import Instance, Node
from ganeti.ops.context import Context
from ganeti.ops.instance.steps import disks, guest
from ganeti.rpc.node.instance import InstanceApi
from ganeti.rpc.node.replies import RunState

SETTLE_SECONDS = 5.0
"""How long a migration that was cancelled may go on."""

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
            raise _unknown(instance, answer)
        states[node] = answer.state
    return states


def judge(config: Config, instance: Instance, states: States, *, sent: bool) -> Verdict:
    """What follows from the states; `sent`: the primary node says that its state was sent completely. Pure.

    `PrereqError` if the guest runs, or has arrived, on several nodes.
    """
    primary = instance.primary_node
    running = [node for node, state in states.items() if state is RunState.RUNNING]
    stopped = states.get(primary) is RunState.PAUSED
    arrived = [node for node, state in states.items() if node != primary and state is RunState.PAUSED]
    candidates = running or (arrived if stopped and sent else [])
    if len(candidates) > 1:
        names = " and ".join(config.node(node).name for node in candidates)
        raise PrereqError(
            f"instance {instance.name} runs on {names} at the same time. Find out which one has the newest data, and end the"
            " other there by hand, then try again",
            Code.STATE,
        )
    if stopped and sent and not candidates:
        raise PrereqError(
            f"instance {instance.name} is stopped on {config.node(primary).name}, which says that its state was sent to another"
            " node; but it is on none. It may have run there and ended, so it must not simply go on: shut it down and start it"
            " (gnt-instance shutdown, startup)",
            Code.STATE,
        )
    home = candidates[0] if candidates else primary if stopped else None
    # A guest that powered itself off at home is left to the command that starts it again.
    spared = primary if home is None else home
    ended = tuple(node for node, state in states.items() if node != spared and state is not RunState.ABSENT)
    return Verdict(home, ended)


def examine(ctx: Context, instance: Instance, nodes: Iterable[Node]) -> Verdict:
    """Ask, and judge. Changes nothing."""
    states = locate(ctx, instance, nodes)
    stopped = states.get(instance.primary_node) is RunState.PAUSED
    return judge(ctx.config, instance, states, sent=stopped and _was_sent(ctx, instance))


def _was_sent(ctx: Context, instance: Instance) -> bool:
    filled = fill_instance(ctx.config, instance)
    try:
        return ctx.nodes.call(instance.primary_node, InstanceApi.migration_status, filled).status == "completed"
    except NodeError as err:
        raise _unknown(instance, err) from err


def _unknown(instance: Instance, err: NodeError) -> PrereqError:
    return PrereqError(
        f"where instance {instance.name} runs cannot be found out: {err}. Nothing was ended. If that node is really dead, mark"
        f" it offline; then use gnt-instance migrate --cleanup {instance.name}",
        Code.ENVIRON,
    )


def repair(ctx: Context, instance: Instance, nodes: Iterable[Node]) -> None:
    """Make configuration, guests and disks agree. The configuration says first where the guest is from then on."""
    asked = list(nodes)
    old = instance.primary_node
    states = locate(ctx, instance, asked)
    elsewhere = [node for node, state in states.items() if node != old and state is not RunState.ABSENT]
    if elsewhere and guest.is_present(states.get(old, RunState.ABSENT)):
        _stop_sending(ctx, instance)
    verdict = _accept_arrival(ctx, instance, examine(ctx, instance, asked), asked)
    if verdict.home is not None and verdict.home != old:
        ctx.warn(f"Instance {instance.name} runs on {ctx.config.node(verdict.home).name}: recording that")
        guest.update(ctx, instance, primary_node=verdict.home, migration_peer=old)
    failures = attempt_all(*_endings(ctx, instance, old, verdict))
    if verdict.home == old and not failures:
        home, name = _filled(ctx, instance, old), ctx.config.node(old).name
        failures = attempt_all(partial(ctx.nodes.call, old, InstanceApi.migration_finish_source, home, False, name))
    for node in asked:
        if node.uuid != (verdict.home or old) and not node.offline:
            failures += disks.try_shut_down(ctx, instance, node.uuid, ctx.config.disks_of(instance))
    if failures:
        raise ExecError(f"instance {instance.name} was not tidied up completely: {'; '.join(failures)}. Try again")
    guest.update(ctx, instance, migration_peer=None)
    if verdict.home is None:
        ctx.warn(f"Instance {instance.name} runs nowhere; start it with gnt-instance startup")


def _stop_sending(ctx: Context, instance: Instance) -> None:
    """Cancel a migration that may be under way, and wait until it is over: from then on the states do not change."""
    call, filled, node = ctx.nodes.call, fill_instance(ctx.config, instance), instance.primary_node
    end = ctx.now() + SETTLE_SECONDS
    try:
        call(node, InstanceApi.migration_cancel, filled)
        while call(node, InstanceApi.migration_status, filled).status == "active" and ctx.now() < end:
            ctx.sleep(0.1)
    except NodeError as err:
        # A hypervisor that knows of no migration may say so by an error; then there is nothing to wait for.
        ctx.info(f"No migration of {instance.name} is under way: {err}")


def _accept_arrival(ctx: Context, instance: Instance, verdict: Verdict, nodes: Iterable[Node]) -> Verdict:
    """Let a guest go on where it arrived. If it turns out that it did not arrive, its old home is its home."""
    home, old = verdict.home, instance.primary_node
    if home is None or home == old:
        return verdict
    try:
        ctx.nodes.call(home, InstanceApi.migration_finish_target, _filled(ctx, instance, home), True)
    except NodeError as err:
        states = locate(ctx, instance, nodes)
        if states.get(home) is RunState.RUNNING:
            return verdict
        ctx.info(f"Instance {instance.name} did not arrive: {err}")
        return judge(ctx.config, instance, states, sent=False)
    return verdict


def _filled(ctx: Context, instance: Instance, node: NodeUuid) -> FilledInstance:
    return fill_instance(ctx.config, replace(instance, primary_node=node))


def _endings(ctx: Context, instance: Instance, old: NodeUuid, verdict: Verdict) -> list[Callable[[], object]]:
    """What ends the guest where it is not at home."""
    call = ctx.nodes.call
    home = ctx.config.node(verdict.home or old)
    actions: list[Callable[[], object]] = []
    for node in verdict.to_end:
        ctx.info(f"Ending what is left of {instance.name} on {ctx.config.node(node).name}")
        filled = _filled(ctx, instance, node)
        if node == old:
            actions.append(partial(call, node, InstanceApi.migration_finish_source, filled, True, home.name))
        else:
            actions.append(partial(call, node, InstanceApi.migration_finish_target, filled, False))
    return actions


def attempt_all(*actions: Callable[[], object]) -> list[str]:
    """Do all of them, whatever fails; returns what failed."""
    failures = []
    for action in actions:
        try:
            action()
        except (NodeError, ExecError) as err:
            failures.append(str(err))
    return failures
