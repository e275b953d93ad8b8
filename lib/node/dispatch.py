"""From a declared call to the method that does it: threads, order and time limits.

Calls run in lanes, each with a bounded number of threads, so that slow work cannot starve quick work. Calls that name the same
object (`handling`) run one after the other, and wait for one another without occupying a thread. A call that is not done within
its limit is answered with an error; its thread and its turn stay taken until it is really done.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import importlib
import inspect
import logging
import pkgutil
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import ganeti.rpc.node
from ganeti.base import codec, errors
from ganeti.model.filled import FilledDisk, FilledInstance
from ganeti.rpc.call import NORMAL, URGENT, Call, declared, implementation

log = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])

LANES = {"cluster": 6, "quick": 10, "normal": 12, "long": 16}
"""Threads of each lane. "cluster" holds the cluster together (replication, ssconf): it never waits for a guest or a disk."""

MAX_WAITING = 256
"""Calls that may wait or run in one lane; more are refused at once."""


class Busy(errors.ExecError):
    """Too many calls wait already."""


@dataclass(frozen=True)
class Handling:
    """How a method wants to be called."""

    lane: str = ""
    order: str = ""
    """Name of the parameter that says which calls exclude one another; with a colon in it: that fixed key."""


def handling(*, lane: str = "", order: str = "") -> Callable[[F], F]:
    """Mark an implementation. Without a mark the lane follows from the time limit and calls run in any order."""

    def mark(function: F) -> F:
        function.__handling__ = Handling(lane, order)  # type: ignore[attr-defined]  # a mark on a function object
        return function

    return mark


@dataclass(frozen=True)
class Entry:
    """One call that this node answers."""

    call: Call
    method: Callable[..., Any]
    lane: str
    order: str
    order_index: int

    def key(self, args: list[Any]) -> str | None:
        """What this call excludes others by, if anything."""
        if not self.order:
            return None
        return self.order if ":" in self.order else _key_of(self.order, args[self.order_index])


def _key_of(parameter: str, value: Any) -> str:
    if isinstance(value, FilledInstance):
        return f"instance:{value.name}"
    if isinstance(value, FilledDisk):
        return f"disk:{value.uuid}"
    return f"instance:{value}" if parameter == "name" else f"{parameter}:{value}"


def build_table(targets: Mapping[type, object]) -> dict[str, Entry]:
    """The calls of all declared APIs, by name. `TypeError` if an API or one of its methods has no implementation."""
    missing = [api.__name__ for api in declared_apis() if api not in targets]
    if missing:
        raise TypeError(f"nothing implements the node calls of {', '.join(missing)}")
    table: dict[str, Entry] = {}
    for api, target in targets.items():
        for name, (call, method) in implementation(api, target).items():
            if name in table:
                raise TypeError(f"node call {name} is declared twice")
            table[name] = _entry(call, method)
    return table


def declared_apis() -> list[type]:
    """Every class below `ganeti.rpc.node` that declares calls."""
    found: dict[str, type] = {}
    for info in pkgutil.iter_modules(ganeti.rpc.node.__path__, "ganeti.rpc.node."):
        module = importlib.import_module(info.name)
        for value in vars(module).values():
            if isinstance(value, type) and value.__module__ == info.name and declared(value):
                found[value.__name__] = value
    return list(found.values())


def _entry(call: Call, method: Callable[..., Any]) -> Entry:
    how: Handling = getattr(method, "__handling__", Handling())
    names = list(inspect.signature(method).parameters)
    index = names.index(how.order) if how.order and ":" not in how.order else -1
    return Entry(call, method, how.lane or _lane_for(call.timeout), how.order, index)


def _lane_for(timeout: float) -> str:
    if timeout <= URGENT:
        return "quick"
    return "normal" if timeout <= NORMAL else "long"


def time_limit(call: Call) -> float:
    """Seconds after which the node answers by itself: early enough for the caller to still hear it."""
    return max(call.timeout - 5.0, call.timeout * 0.9)


@dataclass
class _Progress:
    started: bool = False


@dataclass
class _Turn:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class _Lane:
    def __init__(self, name: str, threads: int) -> None:
        self.name = name
        self.slots = asyncio.Semaphore(threads)
        self.executor = concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix=f"call-{name}")
        self.present = 0


class Dispatcher:
    """Runs calls. All methods belong to the event loop's thread."""

    def __init__(
        self,
        table: Mapping[str, Entry],
        *,
        limit: Callable[[Call], float] = time_limit,
        lanes: Mapping[str, int] = LANES,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._table = dict(table)
        self._limit = limit
        self._max_waiting = max_waiting
        self._lanes = {name: _Lane(name, threads) for name, threads in lanes.items()}
        self._turns: dict[str, _Turn] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closing = False

    def find(self, name: str) -> Entry | None:
        """The call of this name, if it is declared."""
        return self._table.get(name)

    @property
    def running(self) -> int:
        """Calls that are not done, those included whose answer was given up."""
        return len(self._tasks)

    async def call(self, entry: Entry, args: list[Any]) -> Any:
        """Run a call and return its result in wire form. Raises whatever it raises, `Timeout` after its limit, `Busy`."""
        lane = self._lanes[entry.lane]
        if self._closing or lane.present >= self._max_waiting:
            why = "the node agent is stopping" if self._closing else f"{lane.present} calls of this kind wait or run already"
            raise Busy(f"{entry.call.name} was not begun: {why}; try again later")
        progress = _Progress()
        task = asyncio.get_running_loop().create_task(self._run(lane, entry, args, progress))
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        limit = self._limit(entry.call)
        done, _ = await asyncio.wait({task}, timeout=limit)
        if done:
            return codec.encode(task.result())
        if not progress.started:
            task.cancel()
            raise errors.Timeout(f"{entry.call.name} was not begun: it waited {limit:g} s for other calls on this node")
        raise errors.Timeout(f"{entry.call.name} is not done after {limit:g} s; it goes on, but nobody waits for it any more")

    async def _run(self, lane: _Lane, entry: Entry, args: list[Any], progress: _Progress) -> Any:
        lane.present += 1
        try:
            async with self._turn(entry.key(args)):
                if inspect.iscoroutinefunction(entry.method):
                    progress.started = True
                    return await entry.method(*args)
                async with lane.slots:
                    progress.started = True
                    return await asyncio.get_running_loop().run_in_executor(lane.executor, entry.method, *args)
        finally:
            lane.present -= 1

    @contextlib.asynccontextmanager
    async def _turn(self, key: str | None) -> AsyncIterator[None]:
        if key is None:
            yield
            return
        turn = self._turns.setdefault(key, _Turn())
        turn.users += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[key]

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, so that one whose answer was given up is not reported as forgotten

    async def close(self, grace: float) -> bool:
        """Refuse new calls and wait up to `grace` seconds for the running ones; False if some still run."""
        self._closing = True
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=grace)
        idle = not self._tasks
        for lane in self._lanes.values():
            lane.executor.shutdown(wait=False, cancel_futures=True)
        return idle
