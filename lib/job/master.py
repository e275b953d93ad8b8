"""What a job needs of the master daemon, as the executor sees it: a door with two sides, `remote` and `immediate`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ganeti.model.locks import LockName
from ganeti.model.objects import AnyObject, Change
from ganeti.rpc.jobs import Held, OpProgress
from ganeti.rpc.luxi import WireOp


@dataclass
class HeldLocks:
    """The locks that a job holds."""

    exclusive: set[LockName] = field(default_factory=set)
    shared: set[LockName] = field(default_factory=set)

    @property
    def names(self) -> frozenset[LockName]:
        return frozenset(self.exclusive | self.shared)

    def add(self, exclusive: Iterable[LockName], shared: Iterable[LockName] = ()) -> None:
        self.exclusive.update(exclusive)
        self.shared.update(set(shared) - self.exclusive)

    def discard(self, names: Iterable[LockName] | None) -> None:
        """Forget these (None: all)."""
        gone = self.names if names is None else frozenset(names)
        self.exclusive -= gone
        self.shared -= gone

    def downgrade(self, names: Iterable[LockName]) -> None:
        moved = self.exclusive & set(names)
        self.exclusive -= moved
        self.shared |= moved

    def wire(self) -> Held:
        return Held(sorted(self.exclusive), sorted(self.shared))


class Master(Protocol):
    """The master daemon's part in the job that runs. Errors are those of `rpc.jobs.JobApi`."""

    @property
    def epoch(self) -> int: ...

    @property
    def held(self) -> HeldLocks:
        """What the job holds now; only the methods here change it."""
        ...

    def acquire(self, exclusive: Iterable[LockName], shared: Iterable[LockName], priority: int) -> None:
        """Wait for all the locks, while holding none; raises `Cancelled` if the job is cancelled meanwhile."""
        ...

    def acquire_free(self, names: Iterable[LockName], minimum: int) -> list[LockName]:
        """Take, exclusively, whichever are free; none if fewer than `minimum` are."""
        ...

    def release(self, names: Iterable[LockName] | None = None) -> None:
        """Give locks back (None: all)."""
        ...

    def downgrade(self, names: Iterable[LockName]) -> None: ...

    def commit(self, changes: Sequence[Change]) -> list[AnyObject]:
        """Store changes; the objects as they were stored, one for each `Put`."""
        ...

    def reserve(self, what: str, value: str) -> None: ...

    def generate(self, what: str, hint: str) -> str: ...

    def submit(self, jobs: list[list[WireOp]]) -> list[tuple[bool, int | str]]: ...

    def progress(self, report: OpProgress) -> None:
        """Tell how far an opcode is. Does not wait."""
        ...

    def log(self, op_index: int, kind: str, message: Any) -> None:
        """Append a line to the job's log. Does not wait."""
        ...


class JobTaken(BaseException):
    """The master daemon has given this job up, or nobody can take its results: stop at once, undo nothing, touch nothing.

    Not an `Exception`, so that no handler in an operation can go on after it.
    """
