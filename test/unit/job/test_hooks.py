"""When hooks run, where, and what their failures do. Their variables are in `test/golden/hooks`."""

from __future__ import annotations

from typing import Any

import pytest

from ganeti.base.errors import ExecError, HooksAbort, to_wire
from ganeti.model.config import Config
from ganeti.model.enums import Kind
from ganeti.model.ids import GroupUuid, new_uuid
from ganeti.model.locks import Locks
from ganeti.model.objects import Delete, Group, Put
from ganeti.ops.base import HookRun, Hooks, Op, param
from ganeti.ops.context import Context
from ganeti.rpc.node.node import HookResult

FAILED = HookResult("group-add-pre.d/10-script", "failed", "no way")


class Add(Op[str, None], op_id="OP_SAMPLE_ADD", hooks=Hooks("group-add", "GROUP")):
    """Adds a group, with hooks on the second node, and afterwards also on the third."""

    name: str = param()
    commit: bool = param(default=True)

    def locks(self, config: Config) -> Locks:
        return Locks.none()

    def plan(self, ctx: Context) -> str:
        return new_uuid()

    def run(self, ctx: Context, plan: str) -> None:
        if self.commit:
            ctx.commit([Put(Group(uuid=GroupUuid(plan), name=self.name))])

    def hook_run(self, config: Config, plan: str) -> HookRun:
        _, second, third = (node.uuid for node in config.nodes)
        found = config.rows.get(Kind.GROUP, plan)
        return HookRun(self.name, {"GROUPS": str(len(config.groups))}, (second,), (second, third) if found else (second,))


class Remove(Add, op_id="OP_SAMPLE_REMOVE", hooks=Hooks("group-remove", "GROUP")):
    """Removes a group, of which nothing can be said afterwards."""

    def plan(self, ctx: Context) -> str:
        return ctx.config.find_group(self.name).uuid

    def run(self, ctx: Context, plan: str) -> None:
        ctx.commit([Delete.of(ctx.config.group(plan))])

    def hook_run(self, config: Config, plan: str) -> HookRun:
        return HookRun(config.group(plan).name, {}, (), tuple(node.uuid for node in config.nodes))


class Bare(Add, op_id="OP_SAMPLE_BARE"):
    """The same without hooks."""


def asked(world: Any) -> list[tuple[str, str, str]]:
    return [(node, path, phase) for node, path, phase, _ in sorted(world.asked, key=lambda entry: entry[0])]


def test_hooks_run_before_and_after_on_the_nodes_of_each_phase(world: Any) -> None:
    world.immediate.run_op(Add(name="new"))
    assert asked(world) == [
        ("node2", "group-add", "pre"),
        ("node2", "group-add", "post"),
        ("node3", "group-add", "post"),
    ]


def test_variables_of_before_and_after_differ(world: Any) -> None:
    world.immediate.run_op(Add(name="new"))
    pre, post = world.asked[0][3], world.asked[1][3]
    assert (pre["GANETI_HOOKS_PHASE"], pre["GANETI_GROUPS"], pre["GANETI_OP_TARGET"]) == ("pre", "1", "new")
    assert (post["GANETI_HOOKS_PHASE"], post["GANETI_GROUPS"], post["GANETI_POST_GROUPS"]) == ("post", "1", "2")
    assert "GANETI_POST_GROUPS" not in pre


def test_master_is_asked_only_if_it_has_scripts(world: Any) -> None:
    world.add_hook("group-add-pre.d")
    world.immediate.run_op(Add(name="new"))
    assert asked(world)[0] == ("node1", "group-add", "pre")
    assert ("node1", "group-add", "post") not in asked(world)


def test_operation_without_hooks_asks_nobody(world: Any) -> None:
    world.immediate.run_op(Bare(name="new"))
    assert world.asked == []


def test_pre_hook_that_fails_stops_the_operation(world: Any) -> None:
    world.agents[1].answers = [HookResult("x", "success", ""), FAILED, HookResult("y", "skipped", "")]
    with pytest.raises(HooksAbort, match="no way") as caught:
        world.immediate.run_op(Add(name="new"))
    assert to_wire(caught.value) == ["HooksAbort", [[["node2", "group-add-pre.d/10-script", "no way"]]]]
    assert len(world.store.config().groups) == 1
    assert asked(world) == [("node2", "group-add", "pre")]


def test_post_hook_that_fails_is_a_warning(world: Any) -> None:
    world.agents[2].answers = [FAILED]
    world.immediate.run_op(Add(name="new"))
    assert world.master.messages == ["WARNING: post hook group-add-pre.d/10-script on node3 failed: no way"]


def test_failed_operation_has_no_post_hooks(world: Any) -> None:
    class Fails(Add, op_id="OP_SAMPLE_FAILS", hooks=Hooks("group-add", "GROUP")):
        """Fails."""

        def run(self, ctx: Context, plan: str) -> None:
            raise ExecError("no")

    with pytest.raises(ExecError):
        world.immediate.run_op(Fails(name="new"))
    assert asked(world) == [("node2", "group-add", "pre")]


def test_dead_node_is_left_out_and_named(world: Any) -> None:
    world.nodes[world.uuids[1]].faults.down = True
    world.immediate.run_op(Add(name="new"))
    assert [line.partition(" (")[0] for line in world.master.messages] == [
        "WARNING: pre hooks were not run: node node2: cannot be reached",
        "WARNING: post hooks were not run: node node2: cannot be reached",
    ]


def test_offline_node_is_left_out_silently(world: Any) -> None:
    world.nodes[world.uuids[1]].faults.offline = True
    world.immediate.run_op(Add(name="new"))
    assert asked(world) == [("node3", "group-add", "post")]
    assert world.master.messages == []


def test_what_is_gone_afterwards_has_no_post_variables(world: Any) -> None:
    world.immediate.run_op(Add(name="new"))
    world.asked.clear()
    world.immediate.run_op(Remove(name="new"))
    assert asked(world) == [("node2", "group-remove", "post"), ("node3", "group-remove", "post")]
    environment = world.asked[0][3]
    assert environment["GANETI_OP_TARGET"] == "new"
    assert [name for name in environment if name.startswith("GANETI_POST_")] == []


def test_changed_configuration_runs_hooks_of_its_own_on_the_master(world: Any) -> None:
    world.add_hook("config-update-post.d")
    world.immediate.run_op(Bare(name="new"))
    assert asked(world) == [("node1", "config-update", "post")]
    environment = world.asked[0][3]
    assert environment["GANETI_OP_CODE"] == "OP_SAMPLE_BARE" and environment["GANETI_HOOKS_PATH"] == "config-update"
    world.asked.clear()
    world.immediate.run_op(Bare(name="other", commit=False))
    assert world.asked == []
