"""Immediate mode: operations executed in the calling process, by the same executor, without a master daemon or workers.

The configuration is whatever can be read and committed to (`model.memory.MemoryStore`, for one), nodes are whatever can be
called (`rpc.memory.MemoryNodeCaller`). Used by tests, and where no daemon can run.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from ganeti.base.errors import Code, PrereqError
from ganeti.job.cancel import Cancellation
from ganeti.job.context import CurrentConfig, Doors
from ganeti.job.executor import Executor
from ganeti.job.master import HeldLocks
from ganeti.model.changes import Committed
from ganeti.model.config import Config
from ganeti.model.enums import Kind
from ganeti.model.ids import NetworkUuid, new_uuid
from ganeti.model.index import IndexedRows
from ganeti.model.locks import LockName
from ganeti.model.objects import AnyObject, Change
from ganeti.ops.base import Op
from ganeti.rpc.call import NodeCaller
from ganeti.rpc.jobs import Assignment, OpProgress
from ganeti.rpc.luxi import WireOp

FIRST_PORT, LAST_PORT = 11000, 14999


class Store(Protocol):
    """A configuration to read and to change."""

    def config(self) -> Config: ...

    def snapshot(self) -> IndexedRows: ...

    def commit(self, token: str | None, changes: Sequence[Change]) -> Committed: ...


class ImmediateMaster:
    """A `job.master.Master` for the only job there is: locks are always free, reservations last as long as it does."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._held = HeldLocks()
        self.epoch = 1
        self.busy: set[LockName] = set()
        """Locks that `acquire_free` finds taken."""
        self.reports: list[OpProgress] = []
        self.lines: list[tuple[int, str, Any]] = []
        """Log lines: opcode, type, message."""
        self.submitted: list[list[WireOp]] = []
        self.reserved: set[tuple[str, str]] = set()

    @property
    def held(self) -> HeldLocks:
        return self._held

    def acquire(self, exclusive: Iterable[LockName], shared: Iterable[LockName], priority: int) -> None:  # nobody waits
        self._held.add(exclusive, shared)

    def acquire_free(self, names: Iterable[LockName], minimum: int) -> list[LockName]:
        free = sorted(set(names) - self.busy - self._held.names)
        if len(free) < minimum:
            return []
        self._held.add(free)
        return free

    def release(self, names: Iterable[LockName] | None = None) -> None:
        self._held.discard(names)

    def downgrade(self, names: Iterable[LockName]) -> None:
        self._held.downgrade(names)

    def commit(self, changes: Sequence[Change]) -> list[AnyObject]:
        return list(self._store.commit(new_uuid(), changes).objects)

    def reserve(self, what: str, value: str) -> None:
        rows = self._store.snapshot()
        if what == "instance-name":
            is_used = rows.by_name(Kind.INSTANCE, value) is not None
        else:
            is_used = bool(rows.lookup(what, value))
        if is_used or (what, value) in self.reserved:
            raise PrereqError(f"{what} {value} is already in use", Code.NOTUNIQUE)
        self.reserved.add((what, value))

    def generate(self, what: str, hint: str) -> str:
        for value in self._candidates(what, hint):
            try:
                self.reserve(what, value)
            except PrereqError:
                continue
            return value
        raise PrereqError(f"there is no free {what} left", Code.NORES)

    def _candidates(self, what: str, hint: str) -> Iterable[str]:
        if what == "port":
            return map(str, range(FIRST_PORT, LAST_PORT + 1))
        if what == "mac":
            prefix = hint or self._store.config().cluster.mac_prefix
            return (f"{prefix}:{n >> 16:02x}:{n >> 8 & 255:02x}:{n & 255:02x}" for n in range(1, 1 << 24))
        if what.startswith("ip/"):
            network = self._store.config().network(NetworkUuid(what.removeprefix("ip/")))
            pairs = zip(network.reservations, network.ext_reservations, ipaddress.ip_network(network.network), strict=True)
            return (str(address) for own, others, address in pairs if own == others == "0")
        raise PrereqError(f"values of kind '{what}' cannot be generated", Code.INVAL)

    def submit(self, jobs: list[list[WireOp]]) -> list[tuple[bool, int | str]]:
        self.submitted += jobs
        last = len(self.submitted)
        return [(True, last - len(jobs) + number) for number in range(1, len(jobs) + 1)]

    def progress(self, report: OpProgress) -> None:
        self.reports.append(report)

    def log(self, op_index: int, kind: str, message: Any) -> None:
        self.lines.append((op_index, kind, message))

    @property
    def messages(self) -> list[str]:
        """The texts of the log."""
        return [message for _, _, message in self.lines]


class Immediate:
    """Executes operations at once. `sleep`, if given, is called instead of waiting and says whether the job is cancelled."""

    def __init__(
        self,
        store: Store,
        nodes: NodeCaller,
        *,
        hooks_directory: str = "/nonexistent",
        data_directory: str = "/var/lib/ganeti",
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], bool] | None = None,
    ) -> None:
        self.master = ImmediateMaster(store)
        self.cancellation = Cancellation()
        self.doors = Doors(
            self.master,
            CurrentConfig(store),
            nodes,
            self.cancellation,
            hooks_directory,
            data_directory,
            clock,
            sleep,
        )
        self.executor = Executor(self.doors)
        self._jobs = 0

    def run_op(self, op: Op[Any, Any]) -> Any:
        """Run one opcode; returns its result in wire form or raises its error."""
        self._jobs += 1
        try:
            return self.executor.perform(op, self._jobs)
        finally:
            self._end()

    def run_job(self, ops: Sequence[WireOp]) -> list[OpProgress]:
        """Run a job of opcodes in wire form; returns how each of them ended."""
        self._jobs += 1
        try:
            return self.executor.execute(Assignment(self._jobs, list(ops), [op.get("priority") or 0 for op in ops]))
        finally:
            self._end()

    def close(self) -> None:
        """Free what it has open."""
        self.cancellation.close()

    def _end(self) -> None:
        self.master.release()
        self.master.reserved.clear()


def run_op(op: Op[Any, Any], store: Store, nodes: NodeCaller) -> Any:
    """Run one opcode at once; returns its result in wire form or raises its error."""
    immediate = Immediate(store, nodes)
    try:
        return immediate.run_op(op)
    finally:
        immediate.close()
