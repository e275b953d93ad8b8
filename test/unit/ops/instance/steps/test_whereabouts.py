"""Every combination of what two nodes may say of a guest leads to a verdict that ends nothing that runs."""

from __future__ import annotations

import itertools

import pytest

from ganeti.base.errors import PrereqError
from ganeti.ops.instance.steps.whereabouts import judge
from ganeti.rpc.node.replies import RunState
from support.fakecluster import FakeCluster
from support.instances import created


@pytest.mark.parametrize(("here", "there"), list(itertools.product(RunState, RunState)))
def test_what_runs_is_kept_and_everything_else_is_ended(here: RunState, there: RunState) -> None:
    cluster = FakeCluster(nodes=2)
    instance = created(cluster)
    primary, other = cluster.uuid("node1"), cluster.uuid("node2")
    states = {primary: here, other: there}
    running = [node for node, state in states.items() if state is RunState.RUNNING]
    if len(running) == 2:
        with pytest.raises(PrereqError, match="at the same time"):
            judge(cluster.config, instance, states)
        return
    verdict = judge(cluster.config, instance, states)
    assert not set(verdict.to_end) & set(running)
    if running:
        assert verdict.home == running[0]
    else:
        assert verdict.home == (primary if here is RunState.PAUSED else None)
    leftover = {node for node, state in states.items() if state is not RunState.ABSENT} - set(running)
    kept = {verdict.home or primary}
    assert set(verdict.to_end) == leftover - kept
