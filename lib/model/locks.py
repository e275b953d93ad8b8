"""Lock names and requests.

A lock is ``level/name``; the lock of a whole level is ``level/[lockset]``. Levels have an order and locks are always taken in
it (names in order within a level), so no deadlock is possible. Instance locks use the instance's name, all others the uuid.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NewType

LockName = NewType("LockName", str)

LEVELS = ("cluster", "instance", "nodegroup", "node", "node-res", "network")
_RANK = {level: rank for rank, level in enumerate(LEVELS)}
ALL = "[lockset]"

BGL = LockName("cluster/BGL")
"""The big lock: held shared by every operation on the cluster, exclusively by those that change its membership."""


def lock(level: str, name: str = ALL) -> LockName:
    """The name of one lock, or of a whole level."""
    assert level in _RANK, level
    return LockName(f"{level}/{name}")


def level_of(name: LockName) -> str:
    """The level a lock belongs to."""
    return name.partition("/")[0]


def sort_key(name: LockName) -> tuple[int, int, str]:
    """Order in which locks are taken: by level, the level's own lock first, then by name."""
    level, _, rest = name.partition("/")
    return (_RANK[level], rest != ALL, rest)


@dataclass(frozen=True)
class Locks:
    """The locks an operation wants."""

    exclusive: frozenset[LockName] = field(default_factory=frozenset)
    shared: frozenset[LockName] = field(default_factory=frozenset)
    opportunistic: frozenset[LockName] = field(default_factory=frozenset)
    """Taken (exclusively) as far as they are free; whatever is busy is left out."""
    opportunistic_minimum: int = 0

    @classmethod
    def of(cls, exclusive: Iterable[LockName] = (), shared: Iterable[LockName] = ()) -> Locks:
        """A request; what is asked for both ways is asked for exclusively. The big lock is added, shared."""
        wanted = frozenset(exclusive)
        also = frozenset(shared) - wanted
        if BGL not in wanted:
            also |= {BGL}
        return cls(wanted, also)

    @classmethod
    def none(cls) -> Locks:
        return cls()

    def union(self, other: Locks) -> Locks:
        exclusive = self.exclusive | other.exclusive
        return Locks(
            exclusive,
            (self.shared | other.shared) - exclusive,
            self.opportunistic | other.opportunistic,
            max(self.opportunistic_minimum, other.opportunistic_minimum),
        )

    def covers(self, other: Locks) -> bool:
        """Whether holding these locks is enough for `other`."""
        return all(self._has(name, exclusive=True) for name in other.exclusive) and all(
            self._has(name, exclusive=False) for name in other.shared
        )

    def _has(self, name: LockName, *, exclusive: bool) -> bool:
        whole = lock(level_of(name))
        if name in self.exclusive or whole in self.exclusive:
            return True
        return not exclusive and (name in self.shared or whole in self.shared)
