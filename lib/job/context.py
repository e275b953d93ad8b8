"""The context in which an operation runs: `ops.context.Context` over the doors of a worker."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ganeti.base.undo import Undo
from ganeti.job.cancel import Cancellation
from ganeti.job.feedback import Feedback
from ganeti.job.master import Master
from ganeti.model.config import Config
from ganeti.model.enums import Kind
from ganeti.model.ids import NodeUuid
from ganeti.model.job import PRIORITY_NORMAL
from ganeti.model.locks import BGL, LockName
from ganeti.model.objects import AnyObject, Change, Node
from ganeti.ops.base import Op, to_wire
from ganeti.rpc.call import NodeCaller
from ganeti.rpc.luxi import WireOp
from ganeti.rpc.nodes import NodeTarget


class Snapshots(Protocol):
    """Where the configuration is read (`store.Reader`, `model.memory.MemoryStore`)."""

    def config(self) -> Config:
        """The configuration as of the last commit."""
        ...


class CurrentConfig:
    """The configuration that an operation sees: read when first wanted, the same until it is outdated."""

    def __init__(self, source: Snapshots) -> None:
        self._source = source
        self._config: Config | None = None
        self.introduced: dict[str, Node] = {}
        """Nodes that can be called although they are not in the configuration."""

    @property
    def config(self) -> Config:
        if self._config is None:
            self._config = self._source.config()
        return self._config

    def outdate(self) -> None:
        self._config = None

    def find_target(self, uuid: NodeUuid) -> NodeTarget:
        """Where a node is found; raises `ConfigError` if it is not known."""
        node = self.config.rows.get(Kind.NODE, uuid) or self.introduced.get(uuid) or self.config.node(uuid)
        return NodeTarget(node.name, node.primary_ip, node.offline)


@dataclass(frozen=True)
class Doors:
    """Everything through which jobs act on the world."""

    master: Master
    current: CurrentConfig
    nodes: NodeCaller
    cancellation: Cancellation
    hooks_directory: str
    """Where this node (the master) keeps hooks."""
    data_directory: str
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], bool] | None = None
    """Instead of really sleeping: like `Cancellation.wait`."""


class LockSet:
    """`ops.context.LockHandle`."""

    def __init__(self, master: Master) -> None:
        self._master = master

    def keep(self, names: Iterable[LockName]) -> None:
        self._master.release(self.held() - {BGL, *names})

    def release(self, names: Iterable[LockName]) -> None:
        self._master.release(names)

    def downgrade(self, names: Iterable[LockName]) -> None:
        self._master.downgrade(names)

    def held(self) -> frozenset[LockName]:
        return self._master.held.names


@dataclass
class JobContext:
    """`ops.context.Context`, for one opcode."""

    doors: Doors
    op: Op[Any, Any]
    job_id: int
    feedback: Feedback
    undo: Undo = field(default_factory=Undo)
    commits: int = 0
    """How often the operation changed the configuration."""
    is_undoing: bool = False
    """From now on it is being undone, which is not to be cancelled."""

    def __post_init__(self) -> None:
        self.locks = LockSet(self.doors.master)
        self.doors.current.introduced.clear()

    @property
    def config(self) -> Config:
        return self.doors.current.config

    @property
    def nodes(self) -> NodeCaller:
        return self.doors.nodes

    def introduce(self, node: Node) -> None:
        self.doors.current.introduced[node.uuid] = node

    @property
    def dry_run(self) -> bool:
        return bool(self.op.dry_run)

    def commit(self, changes: Sequence[Change]) -> list[AnyObject]:
        try:
            stored = self.doors.master.commit(changes)
        finally:
            self.doors.current.outdate()  # also after a conflict: the next attempt must see why
        self.commits += 1
        return stored

    def reserve(self, what: str, value: str) -> None:
        self.doors.master.reserve(what, value)

    def generate(self, what: str, hint: str = "") -> str:
        return self.doors.master.generate(what, hint)

    def info(self, message: str) -> None:
        self.feedback.info(message)

    def warn(self, message: str) -> None:
        self.feedback.warn(message)

    def sleep(self, seconds: float) -> None:
        cancellation = self.doors.cancellation
        if self.is_undoing:
            (self.doors.sleep or _sleep)(seconds)
        elif (self.doors.sleep or cancellation.wait)(seconds) or cancellation.is_set():
            cancellation.check()

    def now(self) -> float:
        return self.doors.clock()

    def submit(self, jobs: Sequence[Sequence[Op[Any, Any]]]) -> list[tuple[bool, int | str]]:
        return self.doors.master.submit([[inherit(self.op, op, self.job_id) for op in ops] for ops in jobs])


def inherit(parent: Op[Any, Any], child: Op[Any, Any], job: int) -> WireOp:
    """The wire form of an opcode that another one submits, with what it takes over from that."""
    wire = to_wire(child)
    if child.debug_level is None:
        wire["debug_level"] = parent.debug_level
    if child.priority == PRIORITY_NORMAL:
        wire["priority"] = parent.priority
    if not child.comment:
        wire["comment"] = f"submitted by job {job} ({parent.OP_ID})"
    wire["reason"] = [*(parent.reason or ()), *(child.reason or ())]
    return wire


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False
