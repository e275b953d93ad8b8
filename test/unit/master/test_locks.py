"""The lock table against a naive model of what locks mean, and its single facts."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ganeti.base.errors import ConfigError, ExecError
from ganeti.master.locks import Held, LockTable
from ganeti.model.locks import BGL, LockName, level_of, lock

NODES = [lock("node", name) for name in "abc"]
ALL_NODES = lock("node")
INSTANCES = [lock("instance", name) for name in "xy"]
NAMES = [BGL, *NODES, ALL_NODES, *INSTANCES, lock("instance")]


def clash(one: LockName, two: LockName) -> bool:
    """Whether two names stand for a common lock."""
    whole = lock(level_of(one))
    return one == two or (level_of(one) == level_of(two) and whole in (one, two))


@dataclass
class Wish:
    exclusive: frozenset[LockName]
    shared: frozenset[LockName]
    priority: int = 0
    arrival: int = 0

    def conflicts(self, other: Wish) -> bool:
        return (
            any(clash(a, b) for a in self.exclusive for b in other.exclusive | other.shared)
            or any(clash(a, b) for a in self.shared for b in other.exclusive)
        )

    @property
    def order(self) -> tuple[int, int]:
        return self.priority, self.arrival


class Naive:
    """What the table must do, the slow way: every waiter is looked at again after each change."""

    def __init__(self) -> None:
        self.held: dict[int, Wish] = {}
        self.waiting: dict[int, Wish] = {}
        self.arrivals = 0

    def settle(self) -> list[int]:
        granted = []
        for owner, wish in sorted(self.waiting.items(), key=lambda item: item[1].order):
            if not self.is_blocked(owner, wish):
                granted.append(owner)
                del self.waiting[owner]
                self.held[owner] = wish
        return granted

    def is_blocked(self, owner: int, wish: Wish) -> bool:
        held = any(wish.conflicts(other) for holder, other in self.held.items() if holder != owner)
        ahead = any(wish.conflicts(other) for other in self.waiting.values() if other.order < wish.order)
        return held or ahead


names = st.frozensets(st.sampled_from(NAMES), max_size=4)
owners = st.integers(1, 6)


class Locking(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.table = LockTable()
        self.model = Naive()

    @rule(owner=owners, exclusive=names, shared=names, priority=st.sampled_from([-10, 0, 0, 0, 10]))
    def request(self, owner: int, exclusive: frozenset[LockName], shared: frozenset[LockName], priority: int) -> None:
        if owner in self.model.held or owner in self.model.waiting:
            return
        self.model.arrivals += 1
        wish = Wish(exclusive, shared - exclusive, priority, self.model.arrivals)
        self.model.waiting[owner] = wish
        assert self.table.request(owner, exclusive, shared, priority) == (owner in self.model.settle())

    @rule(owner=owners, names=names)
    def release_some(self, owner: int, names: frozenset[LockName]) -> None:
        wish = self.model.held.get(owner)
        if wish:
            self.replace(owner, wish.exclusive - names, wish.shared - names)
        assert sorted(self.table.release(owner, names)) == sorted(self.model.settle())

    @rule(owner=owners)
    def release_all(self, owner: int) -> None:
        self.model.held.pop(owner, None)
        assert sorted(self.table.release(owner)) == sorted(self.model.settle())

    @rule(owner=owners, names=names)
    def downgrade(self, owner: int, names: frozenset[LockName]) -> None:
        wish = self.model.held.get(owner)
        if wish:
            self.replace(owner, wish.exclusive - names, wish.shared | (wish.exclusive & names))
        assert sorted(self.table.downgrade(owner, names)) == sorted(self.model.settle())

    @rule(owner=owners)
    def withdraw(self, owner: int) -> None:
        self.model.waiting.pop(owner, None)
        assert sorted(self.table.withdraw(owner)) == sorted(self.model.settle())

    @rule(owner=owners, priority=st.sampled_from([-10, 0, 10]))
    def set_priority(self, owner: int, priority: int) -> None:
        if owner in self.model.waiting:
            self.model.waiting[owner].priority = priority
        assert sorted(self.table.set_priority(owner, priority)) == sorted(self.model.settle())

    @rule(owner=owners, wanted=names, minimum=st.integers(0, 3))
    def acquire_free(self, owner: int, wanted: frozenset[LockName], minimum: int) -> None:
        if owner in self.model.waiting:
            return
        has = self.model.held.get(owner, Wish(frozenset(), frozenset()))
        free = {
            name
            for name in wanted - has.exclusive - has.shared
            if not self.model.is_blocked(owner, Wish(frozenset({name}), frozenset(), 100, 0))
        }
        expected = free if len(free) >= minimum else set()
        assert set(self.table.acquire_free(owner, wanted, minimum)) == expected
        if expected:
            self.replace(owner, has.exclusive | expected, has.shared)

    @rule(owner=owners, exclusive=names, shared=names)
    def extend(self, owner: int, exclusive: frozenset[LockName], shared: frozenset[LockName]) -> None:
        has = self.model.held.get(owner)
        if has is None or not (has.exclusive or has.shared):
            return
        more = Wish(exclusive, shared - exclusive)
        if any(more.conflicts(other) for holder, other in self.model.held.items() if holder != owner):
            with pytest.raises(ExecError, match="release them first"):
                self.table.request(owner, exclusive, shared)
        else:
            assert self.table.request(owner, exclusive, shared)
            everything = has.exclusive | exclusive
            self.replace(owner, everything, (has.shared | shared) - everything)

    @rule(owner=owners, exclusive=names, shared=names)
    def present(self, owner: int, exclusive: frozenset[LockName], shared: frozenset[LockName]) -> None:
        wish = Wish(exclusive, shared - exclusive)
        if any(wish.conflicts(other) for holder, other in self.model.held.items() if holder != owner):
            with pytest.raises(ConfigError, match="claims locks that others hold"):
                self.table.present(owner, exclusive, shared)
            return
        self.model.waiting.pop(owner, None)
        self.model.held.pop(owner, None)
        self.replace(owner, wish.exclusive, wish.shared)
        assert sorted(self.table.present(owner, exclusive, shared)) == sorted(self.model.settle())

    @precondition(lambda self: self.model.waiting)
    @rule()
    def everybody_is_served_when_holders_give_up(self) -> None:
        for _ in range(len(self.model.waiting) + len(self.model.held) + 1):
            for owner in list(self.table.owners()):
                if not self.table.is_waiting(owner):
                    self.table.release(owner)
        assert self.table.owners() == set()
        assert self.table.rows() == []
        self.model = Naive()

    def replace(self, owner: int, exclusive: frozenset[LockName], shared: frozenset[LockName]) -> None:
        if exclusive or shared:
            self.model.held[owner] = Wish(exclusive, shared)
        else:
            self.model.held.pop(owner, None)

    @invariant()
    def nobody_holds_what_another_holds_exclusively(self) -> None:
        held = {owner: self.table.held(owner) for owner in range(1, 7)}
        for one, a in held.items():
            for two, b in held.items():
                if one < two:
                    assert not Wish(a.exclusive, a.shared).conflicts(Wish(b.exclusive, b.shared))

    @invariant()
    def table_agrees_with_the_model(self) -> None:
        for owner in range(1, 7):
            wish = self.model.held.get(owner)
            expected = Held(wish.exclusive, wish.shared) if wish else Held()
            assert self.table.held(owner) == expected
            assert self.table.is_waiting(owner) == (owner in self.model.waiting)

    @invariant()
    def every_waiter_can_say_why(self) -> None:
        for owner in range(1, 7):
            assert bool(self.table.why(owner)) == (owner in self.model.waiting)


TestLocking = Locking.TestCase
TestLocking.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def table_with(*holders: tuple[int, Iterable[LockName]]) -> LockTable:
    table = LockTable()
    for owner, names in holders:
        assert table.request(owner, names)
    return table


def test_lock_of_a_level_covers_members_unknown_when_it_was_taken() -> None:
    table = table_with((1, [ALL_NODES]))
    assert not table.request(2, [], [lock("node", "new")])
    assert table.release(1) == [2]


def test_queued_request_blocks_later_ones_that_conflict() -> None:
    table = table_with((1, [NODES[0]]))
    assert not table.request(2, [NODES[0], NODES[1]])
    assert not table.request(3, [NODES[1]])
    assert table.request(4, [NODES[2]])
    assert table.release(1) == [2]
    assert table.release(2) == [3]


def test_urgent_request_passes_one_that_came_earlier() -> None:
    table = table_with((1, [NODES[0]]))
    table.request(2, [NODES[0]], priority=0)
    table.request(3, [NODES[0]], priority=-10)
    assert table.release(1) == [3]


def test_raised_priority_does_not_let_those_behind_slip_through() -> None:
    table = table_with((1, [NODES[0]]))
    table.request(2, [NODES[0], NODES[1]])
    table.request(3, [NODES[1]])
    assert table.set_priority(2, -10) == []
    assert table.is_waiting(3)


def test_repeated_request_keeps_its_place() -> None:
    table = table_with((1, [NODES[0]]))
    table.request(2, [NODES[0]])
    table.request(3, [NODES[0]])
    assert not table.request(2, [NODES[0]])
    assert table.release(1) == [2]


def test_other_request_while_one_waits_is_refused() -> None:
    table = table_with((1, [NODES[0]]))
    table.request(2, [NODES[0]])
    with pytest.raises(ExecError, match="job 2 asked for other locks"):
        table.request(2, [NODES[1]])


def test_waiter_learns_who_is_in_its_way() -> None:
    table = table_with((1, [NODES[0]]))
    table.request(2, [NODES[0]])
    table.request(3, [], [NODES[0], BGL])
    assert [str(obstacle) for obstacle in table.why(3)] == ["node/a (shared): held by job 1, wanted earlier by job 2"]
    table.request(4, [ALL_NODES])
    assert [str(obstacle) for obstacle in table.why(4)] == [
        "node/[lockset] (exclusive): held by job 1, wanted earlier by jobs 3, 2"
    ]


def test_rows_show_holders_and_those_who_wait_in_their_order() -> None:
    table = LockTable()
    table.request(1, [NODES[0]], [BGL])
    table.request(2, [NODES[0]], [BGL])
    table.request(3, [], [NODES[0], BGL], priority=-10)
    rows = {row.name: row for row in table.rows()}
    assert rows[BGL].mode == "shared" and rows[BGL].owners == (1,)
    assert rows[NODES[0]].pending == (("shared", 3), ("exclusive", 2))
    assert rows[ALL_NODES].mode is None and rows[ALL_NODES].owners == ()


def test_cost_does_not_depend_on_the_number_of_other_locks() -> None:
    def measure(jobs: int) -> float:
        table = LockTable()
        for job in range(jobs):
            table.request(job, [lock("instance", f"i{job}"), lock("node", f"n{job}")], [BGL])
            table.request(jobs + job, [lock("instance", f"i{job}")], [BGL])
        best = 1.0
        for job in range(50):
            start = time.perf_counter()
            assert table.release(job) == [jobs + job]
            best = min(best, time.perf_counter() - start)
        return best

    assert measure(4000) < 10 * measure(100)
