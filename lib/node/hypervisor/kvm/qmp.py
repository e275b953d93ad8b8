"""The connection to a running guest: one per guest, kept for its whole life, on the agent's event loop.

QEMU tells of every change of a guest by events (``qapi/run-state.json``, ``qapi/migration.json``), so its state is known
without asking: that it was stopped, that it powered itself off, that its state has arrived from another node.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from qemu.qmp import EventListener, ExecuteError, Message, QMPClient, QMPError, Runstate

from ganeti.base.errors import HypervisorError
from ganeti.node.hypervisor.kvm.places import connect_socket

log = logging.getLogger(__name__)

COMMAND_SECONDS = 30.0
CONNECT_SECONDS = 10.0
FIRST_DELAY = 0.02
LONGEST_DELAY = 5.0
LOOK_SECONDS = 5.0
"""How often the connection itself is looked at when nothing happens."""

EVENTS_KEPT = 100

POSTCOPY_PASS = 2
"""In the first pass all memory is sent; what is left in the second is what the guest changes all the time."""

HALTED = "shutdown"
"""The run state of a guest that has powered itself off and whose process waits for our attention."""

STATE_EVENTS = frozenset(
    {"STOP", "RESUME", "SHUTDOWN", "RESET", "SUSPEND", "WAKEUP", "MIGRATION", "GUEST_PANICKED", "BLOCK_IO_ERROR", "WATCHDOG"}
)
"""After these the run state may be another one."""


@dataclass(frozen=True)
class Event:
    """An event as it came. `time` is seconds since 1970."""

    time: float
    name: str
    data: dict[str, Any] = field(default_factory=dict)


class Watcher(Protocol):
    """Who is told, on the loop, of what guests do. Must not block."""

    def guest_halted(self, monitor: Monitor, reason: str) -> None:
        """The guest has ended by itself; its process waits. `reason` is QEMU's ``ShutdownCause``, empty if it was not seen."""
        ...

    def guest_ended(self, monitor: Monitor) -> None:
        """The process has ended."""
        ...


class Monitor:
    """A guest's connection. Everything but the attributes that tell its state is for the loop's thread only."""

    def __init__(self, name: str, path: str, is_alive: Callable[[], bool], watcher: Watcher) -> None:
        self.name = name
        self.run_state = ""
        """QEMU's ``RunState``; empty while it is not known."""
        self.memory: int | None = None
        """Bytes that the guest has now (balloon)."""
        self.vcpus: int | None = None
        self.events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self.migration = ""
        """Status of its migration (``MigrationStatus``); empty if none was seen."""
        self.postcopy = False
        """Whether a migration may let the guest run at the target before all its memory is there."""
        self.ended = False
        self._path = path
        self._is_alive = is_alive
        self._watcher = watcher
        self._client: QMPClient | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._waiters: list[asyncio.Future[None]] = []
        self._changes = 0
        self._dirty = asyncio.Event()
        self._reason = ""
        self._told = False
        self._background: set[asyncio.Task[Any]] = set()

    # --- life

    def start(self) -> None:
        """Connect, and connect again whenever the connection is lost, until the process has ended or `close`."""
        self._keeper = asyncio.get_running_loop().create_task(self._keep(), name=f"qmp {self.name}")

    async def close(self) -> None:
        """Let go of the guest, which lives on."""
        for task in self._background:
            task.cancel()
        while self._keeper is not None and not self._keeper.done():
            # Once may not be enough: the library catches cancellations where it ends its own tasks.
            self._keeper.cancel()
            await asyncio.wait([self._keeper], timeout=1.0)
        await self._disconnect()

    @property
    def is_connected(self) -> bool:
        return self._client is not None and self._client.runstate is Runstate.RUNNING

    async def wait_until(self, condition: Callable[[Monitor], bool], seconds: float) -> bool:
        """Wait until the condition holds, the process has ended or the time has passed; whether it holds."""
        deadline = time.monotonic() + seconds
        while not condition(self) and not self.ended:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    await waiter
            except TimeoutError:
                break
            finally:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
        return condition(self)

    async def execute(
        self, command: str, arguments: Mapping[str, Any] | None = None, seconds: float = COMMAND_SECONDS
    ) -> Any:
        """Run a command. Raises `HypervisorError` if QEMU refuses it, does not answer in time, or is gone."""
        started = time.monotonic()
        await self.wait_until(lambda monitor: monitor.is_connected, seconds)
        client = self._client
        if client is None or not self.is_connected:
            why = "its QEMU has ended" if self.ended else f"no connection to its QEMU for {seconds:g} s"
            raise HypervisorError(f"cannot tell instance {self.name} to do '{command}': {why}")
        try:
            left = max(0.1, seconds - (time.monotonic() - started))
            async with asyncio.timeout(left):
                return await client.execute(command, arguments)
        except ExecuteError as err:
            raise HypervisorError(f"QEMU of instance {self.name} refused '{command}': {err.error.error.desc}") from err
        except TimeoutError:
            raise HypervisorError(
                f"QEMU of instance {self.name} did not answer '{command}' within {seconds:g} s; it may be hung"
            ) from None
        except (QMPError, EOFError, OSError) as err:
            raise HypervisorError(f"QEMU of instance {self.name} went away during '{command}'") from err

    async def refresh(self) -> str:
        """Ask for the run state now and return it."""
        while True:
            before = self._changes
            answer = await self.execute("query-status")
            if before == self._changes:  # otherwise the answer may be older than an event that came with it
                break
        self._set_state(str(answer["status"]))
        return self.run_state

    # --- keeping the connection

    async def _keep(self) -> None:
        delay = FIRST_DELAY
        while True:
            try:
                await self._connect()
                delay = FIRST_DELAY
                await self._follow()
            except (QMPError, OSError, EOFError, TimeoutError, HypervisorError) as err:
                log.debug("QMP connection of %s: %s", self.name, err)
            except Exception:
                # A fault of ours or of the library must not leave a guest without its connection for ever.
                log.exception("QMP connection of instance %s broke down; it is made again", self.name)
            await self._disconnect()
            if not self._is_alive():
                break
            await asyncio.sleep(delay)
            delay = min(delay * 1.5, LONGEST_DELAY)
        self.ended = True
        self._notify()
        self._watcher.guest_ended(self)

    async def _connect(self) -> None:
        client = QMPClient(self.name)
        # Its own messages speak of failures that are normal here: a process that is only just starting, or has ended.
        client.logger = _SILENT
        client.events.event_filter = lambda _event: False
        client.register_listener(_Recorder(self._on_event))
        async with asyncio.timeout(CONNECT_SECONDS):
            await client.connect(connect_socket(self._path))
        self._client = client
        await self.refresh()
        self.vcpus = len(await self.execute("query-cpus-fast"))
        try:
            self.memory = int((await self.execute("query-balloon"))["actual"])
        except HypervisorError:
            self.memory = None  # a guest without a balloon device
        self._notify()

    async def _follow(self) -> None:
        """Ask for the run state whenever it may have changed, until the connection ends."""
        client = self._client
        while client is not None and client.runstate is Runstate.RUNNING:
            tasks = [asyncio.ensure_future(self._dirty.wait()), asyncio.ensure_future(client.runstate_changed())]
            try:
                await asyncio.wait(tasks, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
            if self._dirty.is_set() and client.runstate is Runstate.RUNNING:
                self._dirty.clear()
                await self.refresh()

    async def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is None:
            return
        try:
            await client.disconnect()
        except (QMPError, OSError, EOFError, AssertionError) as err:
            log.debug("QMP connection of %s ended: %r", self.name, err)  # asserts: the library, when both sides hang up at once

    # --- what happens

    def _on_event(self, message: Message) -> None:
        stamp = message.get("timestamp")
        when = stamp["seconds"] + stamp["microseconds"] / 1e6 if isinstance(stamp, dict) else time.time()
        data = message.get("data")
        event = Event(when, str(message["event"]), dict(data) if isinstance(data, Mapping) else {})
        self.events.append(event)
        if event.name == "BALLOON_CHANGE":
            self.memory = int(event.data["actual"])
        elif event.name == "MIGRATION":
            self.migration = str(event.data["status"])
        elif event.name == "MIGRATION_PASS" and self.postcopy and int(event.data["pass"]) >= POSTCOPY_PASS:
            self.postcopy = False
            self._switch_to_postcopy()
        elif event.name == "SHUTDOWN":
            self._reason = str(event.data.get("reason", ""))
        elif event.name == "RESUME":
            self._set_state("running")
        if event.name in STATE_EVENTS:
            log.info("instance %s: %s %s", self.name, event.name, event.data or "")
            self._changes += 1
            self._dirty.set()
        self._notify()

    def _switch_to_postcopy(self) -> None:
        task = asyncio.get_running_loop().create_task(self.execute("migrate-start-postcopy"))
        self._background.add(task)
        task.add_done_callback(self._background_done)

    def _background_done(self, task: asyncio.Task[Any]) -> None:
        self._background.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.warning("%s", error)  # without postcopy the migration goes on as it was

    def _set_state(self, state: str) -> None:
        if self._reason and state != "running":
            # A guest may still do something, such as a reset, between its last order and the stop: it is halted all the same.
            state = HALTED
        self.run_state = state
        if state == "running":
            self._reason = ""
            self._told = False
        elif state == HALTED and not self._told:
            self._told = True
            self._watcher.guest_halted(self, self._reason)
        self._notify()

    def _notify(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


class _Recorder(EventListener):
    """Hands events on at once. The library's own listeners keep every event for ever."""

    def __init__(self, receive: Callable[[Message], None]) -> None:
        super().__init__()
        self._receive = receive

    async def put(self, event: Message) -> None:
        self._receive(event)


_SILENT = logging.getLogger(f"{__name__}.silent")
_SILENT.setLevel(logging.CRITICAL + 1)
