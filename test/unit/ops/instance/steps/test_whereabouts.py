"""Every combination of what two nodes may say of a guest leads to a verdict that ends nothing that runs."""

from __future__ import annotations

import itertools

import pytest

from ganeti.base.errors import PrereqError
from ganeti.ops.instance.steps.whereabouts import judge
from ganeti.rpc.node.replies import RunState
from support.fakecluster import FakeCluster
from support.instances import created


@pytest.mark.parametrize("sent", [False, True])
@pytest.mark.parametrize(("here", "there"), list(itertools.product(RunState, RunState)))
def test_what_runs_is_kept_and_everything_else_is_ended(here: RunState, there: RunState, sent: bool) -> None:
    cluster = FakeCluster(nodes=2)
    instance = created(cluster)
    primary, other = cluster.uuid("node1"), cluster.uuid("node2")
    states = {primary: here, other: there}
    running = [node for node, state in states.items() if state is RunState.RUNNING]
    lost = here is RunState.PAUSED and sent and there not in (RunState.RUNNING, RunState.PAUSED)
    if len(running) == 2 or lost:
        with pytest.raises(PrereqError, match="but it is on none" if lost else "at the same time"):
            judge(cluster.config, instance, states, sent=sent)
        return
    verdict = judge(cluster.config, instance, states, sent=sent)
    assert not set(verdict.to_end) & set(running)
    if running:
        assert verdict.home == running[0]
    elif here is RunState.PAUSED:
        assert verdict.home == (other if sent else primary)
    else:
        assert verdict.home is None
    present = {node for node, state in states.items() if state is not RunState.ABSENT}
    assert set(verdict.to_end) == present - {verdict.home or primary}
