"""What an opcode may use while it runs. Built by the executor (`job.executor`), or by a test."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from ganeti.base.undo import Undo
from ganeti.model.config import Config
from ganeti.model.locks import LockName
from ganeti.model.objects import AnyObject, Change, Node
from ganeti.ops.base import Op
from ganeti.rpc.call import NodeCaller


class LockHandle(Protocol):
    """The locks the operation holds."""

    def keep(self, names: Iterable[LockName]) -> None:
        """Give back all but these (and the big lock)."""
        ...

    def release(self, names: Iterable[LockName]) -> None: ...

    def downgrade(self, names: Iterable[LockName]) -> None:
        """Turn exclusive locks into shared ones."""
        ...

    def held(self) -> frozenset[LockName]: ...


class Context(Protocol):
    """The doors through which an operation reads and acts."""

    @property
    def config(self) -> Config:
        """The configuration as of the last lock or commit of this operation."""
        ...

    @property
    def nodes(self) -> NodeCaller: ...

    def introduce(self, node: Node) -> None:
        """Make node calls to a node possible that is not in the configuration (yet). Changes nothing else."""
        ...

    @property
    def locks(self) -> LockHandle: ...

    @property
    def undo(self) -> Undo:
        """Undone in reverse order if the operation fails; committed by the executor when it succeeds."""
        ...

    @property
    def job_id(self) -> int: ...

    @property
    def dry_run(self) -> bool: ...

    def commit(self, changes: Sequence[Change]) -> list[AnyObject]:
        """Store changes in one transaction; returns the objects as stored. `config` is fresh afterwards."""
        ...

    def reserve(self, what: str, value: str) -> None:
        """Keep a value (``mac``, ``instance-name``, ``ip/<network>``) from being used by others until this job ends."""
        ...

    def generate(self, what: str, hint: str = "") -> str:
        """Find and reserve a free value: ``mac`` (hint: prefix), ``port``, ``ip/<network>``."""
        ...

    def info(self, message: str) -> None:
        """A line of the job's log (progress)."""
        ...

    def warn(self, message: str) -> None:
        """A line of the job's log that the operator must not miss."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait; raises `Cancelled` if the job is cancelled meanwhile."""
        ...

    def now(self) -> float:
        """Seconds since 1970."""
        ...

    def submit(self, jobs: Sequence[Sequence[Op[Any, Any]]]) -> list[tuple[bool, int | str]]:
        """Submit further jobs."""
        ...
