"""The executor: order of things, locks, undo, errors. Operations are samples, everything else is real and in memory."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from ganeti.base.errors import Code, ExecError, LockTimeout, PrereqError
from ganeti.job.context import CurrentConfig, Doors, JobContext
from ganeti.job.executor import CANCELLED_RESULT, Executor, check_result, result_type
from ganeti.job.immediate import ImmediateMaster
from ganeti.job.master import JobTaken
from ganeti.model.config import Config
from ganeti.model.enums import Kind
from ganeti.model.ids import GroupUuid, new_uuid
from ganeti.model.locks import BGL, LockName, Locks, lock
from ganeti.model.objects import Group, Put
from ganeti.ops.base import Op, param
from ganeti.ops.context import Context
from ganeti.rpc.jobs import Assignment, OpProgress

Behaviour = Callable[[Context], Any]
STEPS: list[str] = []
"""What sample operations did, in order."""
BEHAVIOUR: dict[str, Behaviour] = {}
WANTED: dict[str, Callable[[Config], Locks]] = {}


class Sample(Op[str, str | None], op_id="OP_SAMPLE"):
    """Does what `BEHAVIOUR` says for its word."""

    word: str = param()

    def locks(self, config: Config) -> Locks:
        return WANTED.get(self.word, lambda config: Locks.none())(config)

    def plan(self, ctx: Context) -> str:
        STEPS.append(f"plan {self.word}")
        BEHAVIOUR.get(f"plan {self.word}", lambda ctx: None)(ctx)
        return f"plan of {self.word}"

    def run(self, ctx: Context, plan: str) -> str | None:
        STEPS.append(f"run {self.word}")
        assert plan == f"plan of {self.word}"
        result: str | None = BEHAVIOUR.get(self.word, lambda ctx: self.word)(ctx)
        return result

    def dry_run_result(self, plan: str) -> Any:
        return {"would": plan}


def find(op_id: str) -> type[Op[Any, Any]] | None:
    return Sample if op_id == "OP_SAMPLE" else None


@pytest.fixture(autouse=True)
def forget() -> None:
    STEPS.clear()
    BEHAVIOUR.clear()
    WANTED.clear()


@pytest.fixture
def execute(world: Any) -> Callable[..., list[OpProgress]]:
    executor = Executor(world.immediate.doors, find)

    def run(*words: str, start_at: int = 0, **more: Any) -> list[OpProgress]:
        ops = [{"OP_ID": "OP_SAMPLE", "word": word, **more} for word in words]
        return executor.execute(Assignment(1, ops, [0] * len(ops), start_at))

    return run


def statuses(reports: Iterable[OpProgress]) -> list[tuple[int, str]]:
    return [(report.index, str(report.status)) for report in reports]


def group(name: str) -> Group:
    return Group(uuid=GroupUuid(new_uuid()), name=name)


# --- results


def test_opcode_runs_and_its_result_is_reported(world: Any, execute: Callable[..., list[OpProgress]]) -> None:
    before = time.time_ns() // 1000
    (report,) = execute("a")
    assert (report.index, report.status, report.result) == (0, "success", "a")
    assert before <= report.timestamp <= time.time_ns() // 1000
    assert STEPS == ["plan a", "run a"]
    assert statuses(world.master.reports) == [(0, "running")]


def test_each_further_opcode_waits_runs_and_ends(world: Any, execute: Callable[..., list[OpProgress]]) -> None:
    reports = execute("a", "b")
    assert [report.result for report in reports] == ["a", "b"]
    assert statuses(world.master.reports) == [(0, "running"), (0, "success"), (1, "waiting"), (1, "running")]


def test_job_goes_on_with_the_first_opcode_that_is_not_final(execute: Callable[..., list[OpProgress]]) -> None:
    assert statuses(execute("a", "b", "c", start_at=1)) == [(1, "success"), (2, "success")]
    assert "run a" not in STEPS


def test_opcodes_after_a_failed_one_are_not_executed(execute: Callable[..., list[OpProgress]]) -> None:
    def fail(ctx: Context) -> None:
        raise PrereqError("no such thing", Code.NOENT)

    BEHAVIOUR["plan b"] = fail
    first, second, third = execute("a", "b", "c")
    assert (first.status, second.status, third.status) == ("success", "error", "error")
    assert second.result == ["OpPrereqError", ["no such thing", "unknown_entity"]]
    assert third.result == ["OpExecError", ["not executed, because opcode 2 of this job (OP_SAMPLE) failed"]]
    assert STEPS == ["plan a", "run a", "plan b"]


def test_malformed_opcode_is_an_error_of_its_own(execute: Callable[..., list[OpProgress]]) -> None:
    (report,) = execute("a", colour="red")
    assert report.result[0] == "OpPrereqError" and "colour" in report.result[1][0]


def test_crash_is_told_with_its_kind_and_where_to_look(execute: Callable[..., list[OpProgress]]) -> None:
    BEHAVIOUR["a"] = lambda ctx: {}["missing"]
    (report,) = execute("a")
    assert report.result == ["OpExecError", ["KeyError: 'missing' (an error in the program; see its log jobs.log)"]]


def test_result_of_another_type_than_declared_is_an_error(execute: Callable[..., list[OpProgress]]) -> None:
    BEHAVIOUR["a"] = lambda ctx: 5
    (report,) = execute("a")
    assert report.status == "error" and "expected text" in report.result[1][0]


def test_result_type_is_found_through_the_declaration() -> None:
    class Derived(Sample, op_id="OP_DERIVED"):
        """Inherits it."""

    assert result_type(Sample) == str | None
    assert result_type(Derived) == str | None
    assert check_result(Sample, None) is None
    with pytest.raises(ExecError, match="OP_SAMPLE was carried out"):
        check_result(Sample, object())


def test_dry_run_plans_and_tells(execute: Callable[..., list[OpProgress]]) -> None:
    (report,) = execute("a", dry_run=True)
    assert (report.status, report.result) == ("success", {"would": "plan of a"})
    assert STEPS == ["plan a"]


# --- undo


def test_failed_operation_is_undone_in_reverse_order(execute: Callable[..., list[OpProgress]]) -> None:
    def half(ctx: Context) -> None:
        ctx.undo.push(STEPS.append, "undo first")
        ctx.undo.push(STEPS.append, "undo second")
        raise ExecError("half way")

    BEHAVIOUR["a"] = half
    (report,) = execute("a")
    assert report.result == ["OpExecError", ["half way"]]
    assert STEPS[-2:] == ["undo second", "undo first"]


def test_what_cannot_be_undone_stands_in_error_and_log(world: Any, execute: Callable[..., list[OpProgress]]) -> None:
    def remove_disk() -> None:
        raise ExecError("disk is busy")

    def half(ctx: Context) -> None:
        ctx.undo.push(remove_disk)
        raise ExecError("half way")

    BEHAVIOUR["a"] = half
    (report,) = execute("a")
    (text,) = report.result[1]
    assert text.startswith("half way; undoing by ") and text.endswith("remove_disk failed: disk is busy")
    assert world.master.messages == [f"WARNING: {text.removeprefix('half way; ')}"]


def test_successful_operation_is_not_undone(execute: Callable[..., list[OpProgress]]) -> None:
    BEHAVIOUR["a"] = lambda ctx: ctx.undo.push(STEPS.append, "undone")
    execute("a")
    assert "undone" not in STEPS


def test_nothing_is_undone_of_a_job_that_was_taken_away(world: Any, execute: Callable[..., list[OpProgress]]) -> None:
    def taken(ctx: Context) -> None:
        ctx.undo.push(STEPS.append, "undone")
        raise JobTaken("given up")

    BEHAVIOUR["a"] = taken
    with pytest.raises(JobTaken):
        execute("a")
    assert "undone" not in STEPS


# --- cancelling


def test_cancelled_while_it_sleeps(world: Any, execute: Callable[..., list[OpProgress]]) -> None:
    def sleep(ctx: Context) -> None:
        ctx.undo.push(ctx.sleep, 5.0)
        ctx.sleep(1.0)
        world.immediate.cancellation.set()
        ctx.sleep(2.0)
        STEPS.append("went on")

    BEHAVIOUR["a"] = sleep
    reports = execute("a", "b")
    assert [(str(report.status), report.result) for report in reports] == [("canceled", CANCELLED_RESULT)] * 2
    assert world.naps == [1.0, 2.0, 5.0], "undoing may sleep although the job is cancelled"
    assert "went on" not in STEPS and "plan b" not in STEPS


def test_cancelled_between_opcodes(world: Any, execute: Callable[..., list[OpProgress]]) -> None:
    def work(ctx: Context) -> str:
        world.immediate.cancellation.set()
        return "done"

    BEHAVIOUR["a"] = work
    assert statuses(execute("a", "b", "c")) == [(0, "success"), (1, "canceled"), (2, "canceled")]
    assert "plan b" not in STEPS


# --- configuration


def test_committed_change_is_seen_at_once(world: Any, execute: Callable[..., list[OpProgress]]) -> None:
    def change(ctx: Context) -> str:
        before = ctx.config
        (stored,) = ctx.commit([Put(group("new"))])
        assert ctx.config is not before and before.rows.by_name(Kind.GROUP, "new") is None
        assert ctx.config.find_group("new") == stored
        return stored.label

    BEHAVIOUR["a"] = change
    (report,) = execute("a")
    assert report.result == "new"


def test_changes_of_others_are_not_seen_before_a_commit(world: Any, execute: Callable[..., list[OpProgress]]) -> None:
    def look(ctx: Context) -> str:
        before = ctx.config
        world.store.commit(None, [Put(group("other"))])
        assert ctx.config is before
        return "ok"

    BEHAVIOUR["a"] = look
    assert execute("a")[0].result == "ok"


def test_conflict_shows_what_the_others_did(world: Any, execute: Callable[..., list[OpProgress]]) -> None:
    def change(ctx: Context) -> str:
        stale = ctx.config.find_group("default")
        world.store.commit(None, [Put(dataclasses.replace(stale, tags=("theirs",)))])
        try:
            ctx.commit([Put(dataclasses.replace(stale, tags=("ours",)))])
        except Exception as err:
            return f"{type(err).__name__} {ctx.config.find_group('default').tags}"
        return "no conflict"

    BEHAVIOUR["a"] = change
    assert execute("a")[0].result == "Conflict ('theirs',)"


# --- locks


def test_locks_are_held_while_it_runs_and_given_back_before_the_next(
    world: Any, execute: Callable[..., list[OpProgress]]
) -> None:
    one = lock("node", "one")
    WANTED["a"] = lambda config: Locks.of([one])
    held: list[frozenset[LockName]] = []
    for word in ("a", "b"):
        BEHAVIOUR[word] = lambda ctx: held.append(ctx.locks.held())
    execute("a", "b")
    assert held == [{one, BGL}, frozenset()]


def test_locks_can_be_narrowed(execute: Callable[..., list[OpProgress]]) -> None:
    one, two, three = (lock("node", name) for name in ("one", "two", "three"))
    WANTED["a"] = lambda config: Locks.of([one, two, three])

    def narrow(ctx: Context) -> str:
        ctx.locks.keep([one, two])
        ctx.locks.downgrade([one])
        ctx.locks.release([two])
        return " ".join(sorted(ctx.locks.held()))

    BEHAVIOUR["a"] = narrow
    assert execute("a")[0].result == "cluster/BGL node/one"


class ChangingMaster(ImmediateMaster):
    """Somebody changes the configuration while this one waits for its locks."""

    def __init__(self, store: Any, change: Callable[[int], None]) -> None:
        super().__init__(store)
        self._change = change
        self.acquired: list[list[LockName]] = []

    def acquire(self, exclusive: Iterable[LockName], shared: Iterable[LockName], priority: int) -> None:
        assert not self.held.names, "whoever waits must hold nothing"
        self._change(len(self.acquired))
        self.acquired.append(sorted({*exclusive, *shared} - {BGL}))
        super().acquire(exclusive, shared, priority)


def executor_with(world: Any, master: ImmediateMaster) -> Executor:
    doors = world.immediate.doors
    return Executor(Doors(master, CurrentConfig(world.store), doors.nodes, doors.cancellation, "/nonexistent", "/d"), find)


def by_name(config: Config) -> Locks:
    return Locks.of([lock("nodegroup", found.uuid) for found in config.groups])


def test_locks_that_turn_out_to_be_too_few_are_taken_anew(world: Any) -> None:
    new = group("new")
    master = ChangingMaster(world.store, lambda count: None if count else world.store.commit(None, [Put(new)]))
    WANTED["a"] = by_name
    old = world.store.config().find_group("default")
    executor_with(world, master).perform(Sample(word="a"), 1)
    assert master.acquired == [[lock("nodegroup", old.uuid)], sorted(lock("nodegroup", found.uuid) for found in (old, new))]


def test_operation_gives_up_if_what_it_needs_changes_for_ever(world: Any) -> None:
    master = ChangingMaster(world.store, lambda count: world.store.commit(None, [Put(group(f"new{count}"))]))
    WANTED["a"] = by_name
    with pytest.raises(LockTimeout, match="calmer"):
        executor_with(world, master).perform(Sample(word="a"), 1)
    assert STEPS == []


# --- opportunistic locks

NAMES = frozenset(lock("node-res", name) for name in ("one", "two", "three"))


def some(minimum: int) -> Callable[[Config], Locks]:
    return lambda config: Locks(frozenset(), frozenset({BGL}), NAMES, minimum)


def test_busy_locks_are_left_out(world: Any, execute: Callable[..., list[OpProgress]]) -> None:
    WANTED["a"] = some(2)
    world.master.busy = {lock("node-res", "two")}
    BEHAVIOUR["a"] = lambda ctx: " ".join(sorted(ctx.locks.held()))
    assert execute("a")[0].result == "cluster/BGL node-res/one node-res/three"


def test_all_are_waited_for_if_too_few_are_free(world: Any, execute: Callable[..., list[OpProgress]]) -> None:
    WANTED["a"] = some(3)
    world.master.busy = {lock("node-res", "two")}
    BEHAVIOUR["a"] = lambda ctx: " ".join(sorted(ctx.locks.held() - {BGL}))
    assert execute("a")[0].result == "node-res/one node-res/three node-res/two"


def test_lack_of_resources_is_tried_again_with_all_locks(world: Any, execute: Callable[..., list[OpProgress]]) -> None:
    WANTED["a"] = some(1)
    world.master.busy = {lock("node-res", "two")}

    def plan(ctx: Context) -> None:
        if len(ctx.locks.held()) < 4:
            raise PrereqError("no room on these", Code.TEMP_NORES)

    BEHAVIOUR["plan a"] = plan
    assert execute("a")[0].status == "success"
    assert STEPS == ["plan a", "plan a", "run a"]
    assert statuses(world.master.reports) == [(0, "running"), (0, "waiting"), (0, "running")]


def test_lack_of_resources_with_all_locks_is_final(world: Any, execute: Callable[..., list[OpProgress]]) -> None:
    WANTED["a"] = some(1)

    def plan(ctx: Context) -> None:
        raise PrereqError("no room at all", Code.TEMP_NORES)

    BEHAVIOUR["plan a"] = plan
    assert execute("a")[0].result == ["OpPrereqError", ["no room at all", "temp_insufficient_resources"]]
    assert STEPS == ["plan a"]


# --- the rest of the context


def test_submitted_opcodes_inherit(world: Any, execute: Callable[..., list[OpProgress]]) -> None:
    def submit(ctx: Context) -> None:
        child = Sample(word="x", reason=[["me", "because", 2]])
        assert ctx.submit([[child], [Sample(word="y", priority=5, comment="own")]]) == [(True, 1), (True, 2)]

    BEHAVIOUR["a"] = submit
    execute("a", priority=-10, debug_level=2, reason=[["gnt:user", "why", 1]])
    (first,), (second,) = world.master.submitted
    assert (first["word"], first["priority"], first["debug_level"]) == ("x", -10, 2)
    assert first["comment"] == "submitted by job 1 (OP_SAMPLE)"
    assert first["reason"] == [["gnt:user", "why", 1], ["me", "because", 2]]
    assert (second["priority"], second["comment"]) == (5, "own")


def test_lines_and_warnings_reach_the_log(world: Any, execute: Callable[..., list[OpProgress]]) -> None:
    def speak(ctx: Context) -> None:
        ctx.info("hello")
        ctx.warn("beware")

    BEHAVIOUR["b"] = speak
    execute("a", "b")
    assert world.master.lines == [(1, "message", "hello"), (1, "message", "WARNING: beware")]


def test_reservations_last_until_the_job_ends(world: Any) -> None:
    def reserve(ctx: Context) -> None:
        ctx.reserve("mac", "aa:00:00:00:00:01")
        assert ctx.generate("mac") == "aa:00:00:00:00:02"
        assert [ctx.generate("port"), ctx.generate("port")] == ["11000", "11001"]
        with pytest.raises(PrereqError, match="already in use"):
            ctx.reserve("port", "11000")

    BEHAVIOUR["a"] = reserve
    for _ in range(2):
        world.immediate.run_op(Sample(word="a"))


def test_node_that_is_not_in_the_configuration_can_be_introduced(world: Any, execute: Callable[..., list[OpProgress]]) -> None:
    known = world.store.config().nodes[1]
    new = dataclasses.replace(known, uuid="new", name="node9", primary_ip="192.0.2.9")
    current = world.immediate.doors.current

    def meet(ctx: Context) -> None:
        assert isinstance(ctx, JobContext)
        ctx.introduce(new)
        assert (current.find_target("new").name, current.find_target("new").ip) == ("node9", "192.0.2.9")
        assert current.find_target(known.uuid).name == known.name

    BEHAVIOUR["a"] = meet
    BEHAVIOUR["b"] = lambda ctx: current.find_target("new").name
    first, second = execute("a", "b")
    assert first.status == "success"
    assert second.result == ["ConfigurationError", ["node new is not in the configuration any more"]]
