"""Sending the change log to every master candidate.

Each candidate has a thread that sends it what it lacks, read from the store: rows of the change log, or a snapshot where rows
have been forgotten or the candidate has followed another master. A transaction is acknowledged when every candidate that is
not stale has it. A candidate becomes stale when it cannot be reached, or when it has not taken a transaction within `WAIT`
seconds; it stays so until it has caught up, which goes on in the background.
"""

from __future__ import annotations

import base64
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from time import monotonic

from ganeti.base.errors import ConfigError, GanetiError, StaleEpoch
from ganeti.model.ids import NodeUuid
from ganeti.model.objects import Node
from ganeti.rpc.call import NodeCaller
from ganeti.rpc.node.node import LogRange, NodeApi
from ganeti.store.reader import Reader
from ganeti.store.replica import snapshot
from ganeti.store.schema import LogRow

log = logging.getLogger(__name__)

WAIT = 10.0
"""Seconds that a transaction waits for a candidate that does not answer."""
RETRY_FIRST, RETRY_LONGEST = 0.2, 5.0
"""Seconds between attempts at a candidate that cannot be reached."""
JOIN = 10.0
"""Seconds to wait for the last call to a node that is no candidate any more."""
CLOSE_WAIT = 1.0
"""Seconds to wait for calls under way when the daemon ends."""


@dataclass(frozen=True)
class ReplicaState:
    """How far a candidate is. `serial` is None while that is not known; `problem` says why it is stale."""

    node: NodeUuid
    serial: int | None
    stale: bool
    problem: str = ""


@dataclass(eq=False)
class _Link:
    """What is known of a candidate."""

    node: NodeUuid
    name: str
    stale: bool
    serial: int | None = None
    """The last transaction it has."""
    checked: bool = False
    """Whether its last transaction is known to be the same as ours of that number."""
    failures: int = 0
    problem: str = ""
    dropped: bool = False
    thread: threading.Thread | None = None


@dataclass(frozen=True)
class _Waiter:
    serial: int
    deadline: float
    future: Future[None]


class Replicator:
    """See the text of the module. Thread-safe; `on_commit` is the hook of `store.writer.Store`."""

    def __init__(
        self, path: str, nodes: NodeCaller, *, wait: float = WAIT, on_replaced: Callable[[StaleEpoch], None] | None = None
    ) -> None:
        """`path`: the store file. `on_replaced`: called, in any thread, when a candidate obeys a newer master."""
        self._path = path
        self._nodes = nodes
        self._wait = wait
        self._on_replaced = on_replaced
        self._reader = Reader(path)
        self._state = threading.Condition()
        self._target = self._reader.position()[1]
        self._links: dict[NodeUuid, _Link] = {}
        self._waiters: deque[_Waiter] = deque()
        self._replaced: StaleEpoch | None = None
        self._closing = False
        self._watch = threading.Thread(target=self._watch_deadlines, name="replication", daemon=True)
        self._watch.start()

    # --- from the store and the daemon

    def on_commit(self, rows: list[LogRow]) -> Future[None] | None:
        """New rows are on disk here. The future is done when the candidates have all that is; None: they have already.

        It fails with `StaleEpoch` if one of them obeys a newer master: this one must end.
        """
        with self._state:
            if rows:
                self._target = rows[-1][0]
            future: Future[None] = Future()
            if self._replaced is not None:
                future.set_exception(self._replaced)
                return future
            if self._is_replicated(self._target):
                self._state.notify_all()
                return None
            if self._closing:
                future.set_exception(_ending())
                return future
            self._waiters.append(_Waiter(self._target, monotonic() + self._wait, future))
            self._state.notify_all()
            return future

    def set_candidates(self, candidates: Iterable[Node], *, trusted: bool = False) -> None:
        """Replicate to these nodes (the master itself must not be among them), and to no others.

        Transactions do not wait for a new one until it has caught up, except if it is `trusted`: it was a candidate before this
        daemon started. Returns when nothing is being sent any more to nodes that are none now, or after some seconds.
        """
        wanted = {node.uuid: node for node in candidates}
        with self._state:
            dropped = [link for uuid, link in self._links.items() if uuid not in wanted]
            for link in dropped:
                link.dropped = True
                del self._links[link.node]
            for uuid, node in wanted.items():
                if uuid not in self._links and not self._closing:
                    self._add(_Link(uuid, node.name, stale=not trusted))
            self._settle()
        deadline = monotonic() + JOIN
        for link in dropped:
            if link.thread is not None and link.thread is not threading.current_thread():
                link.thread.join(max(0.0, deadline - monotonic()))

    def status(self) -> list[ReplicaState]:
        """How far the candidates are."""
        with self._state:
            return [ReplicaState(link.node, link.serial, link.stale, link.problem) for link in self._links.values()]

    def wait_until_current(self, timeout: float) -> bool:
        """Wait until no candidate is stale and all have everything; False after `timeout` seconds."""
        with self._state:
            return self._state.wait_for(
                lambda: all(not link.stale and _has(link, self._target) for link in self._links.values()), timeout
            )

    def close(self) -> None:
        """Stop. Transactions that are not everywhere yet fail; they are on disk here."""
        with self._state:
            self._closing = True
            threads = [link.thread for link in self._links.values() if link.thread is not None]
            self._fail_waiters(_ending())
            self._state.notify_all()
        deadline = monotonic() + CLOSE_WAIT
        for thread in (*threads, self._watch):
            thread.join(max(0.0, deadline - monotonic()))
        self._reader.close()

    # --- state; all of this with the condition held

    def _add(self, link: _Link) -> None:
        self._links[link.node] = link
        link.thread = threading.Thread(target=self._serve, args=(link,), name=f"replication to {link.name}", daemon=True)
        link.thread.start()

    def _is_replicated(self, serial: int) -> bool:
        return all(link.stale or _has(link, serial) for link in self._links.values())

    def _settle(self) -> None:
        """Acknowledge what can be, and wake up whoever waits for a change of state."""
        while self._waiters and self._is_replicated(self._waiters[0].serial):
            self._waiters.popleft().future.set_result(None)
        self._state.notify_all()

    def _fail_waiters(self, error: GanetiError) -> None:
        while self._waiters:
            self._waiters.popleft().future.set_exception(error)

    def _mark_stale(self, link: _Link, problem: str) -> None:
        if not link.stale:
            log.warning("candidate %s is stale from now on: %s", link.name, problem)
        link.stale, link.problem = True, problem
        self._settle()

    def _has_work(self, link: _Link) -> bool:
        return self._closing or link.dropped or not link.checked or not _has(link, self._target)

    # --- threads

    def _watch_deadlines(self) -> None:
        with self._state:
            while not self._closing:
                first = self._waiters[0] if self._waiters else None
                left = None if first is None else first.deadline - monotonic()
                if first is None or left is None or left > 0:
                    self._state.wait(left)
                    continue
                for link in list(self._links.values()):
                    if not link.stale and not _has(link, first.serial):
                        self._mark_stale(link, f"it has not taken transaction {first.serial} within {self._wait:g} s")

    def _serve(self, link: _Link) -> None:
        while True:
            with self._state:
                self._state.wait_for(lambda: self._has_work(link))
                if self._closing or link.dropped or self._replaced is not None:
                    return
            try:
                self._advance(link)
            except StaleEpoch as err:
                self._be_replaced(link, err)
                return
            except GanetiError as err:
                self._be_patient(link, err)
            except Exception as err:
                # A defect must not end the thread: the candidate would stay stale for ever.
                log.exception("replication to %s failed", link.name)
                self._be_patient(link, GanetiError(f"{type(err).__name__}: {err}"))

    def _advance(self, link: _Link) -> None:
        """Ask where the candidate is, or send it the next rows, or a snapshot."""
        if link.serial is None:
            serial = self._nodes.call(link.node, NodeApi.store_append, LogRange([]))
            with self._state:
                link.serial, link.checked = serial, False
        known, ours = link.serial, self._reader.position()[1]
        # The first rows sent begin with the one it says it has, so that it can compare.
        rows = self._reader.log_rows(known if link.checked else max(0, known - 1)) if known <= ours else None
        if rows is None:
            serial = self._replace(link)
        elif rows:
            serial = self._nodes.call(link.node, NodeApi.store_append, LogRange(rows))
            if serial < rows[-1][0]:
                serial = self._resume(link, rows[0][0], serial)
        else:
            serial = known
        with self._state:
            link.serial, link.checked, link.failures = serial, True, 0
            if link.stale and _has(link, self._target):
                log.info("candidate %s has caught up at transaction %d", link.name, serial)
                link.stale, link.problem = False, ""
            self._settle()

    def _resume(self, link: _Link, first: int, serial: int) -> int:
        """The candidate did not take rows that begin with `first`, but says it has all up to `serial`."""
        gap = self._reader.log_rows(serial) if 0 < serial < first else None
        if gap:
            answer = self._nodes.call(link.node, NodeApi.store_append, LogRange(gap))
            if answer == gap[-1][0]:
                return answer
        return self._replace(link)

    def _replace(self, link: _Link) -> int:
        packed, serial = snapshot(self._path)
        log.info("candidate %s gets a snapshot at transaction %d (%d bytes)", link.name, serial, len(packed))
        return self._nodes.call(link.node, NodeApi.store_replace, base64.b64encode(packed).decode(), serial)

    def _be_patient(self, link: _Link, error: GanetiError) -> None:
        with self._state:
            link.failures += 1
            # It may have been restarted, and now have less, or nothing.
            link.serial, link.checked = None, False
            if link.failures == 1:
                return  # once more at once: perhaps only a kept connection broke
            self._mark_stale(link, str(error))
            pause = min(RETRY_FIRST * 2 ** min(link.failures - 2, 10), RETRY_LONGEST)
            self._state.wait_for(lambda: self._closing or link.dropped, pause)

    def _be_replaced(self, link: _Link, error: StaleEpoch) -> None:
        log.error("candidate %s obeys a newer master: %s", link.name, error)
        with self._state:
            first = self._replaced is None
            self._replaced = error
            self._fail_waiters(error)
            self._state.notify_all()
        if first and self._on_replaced is not None:
            self._on_replaced(error)


def _ending() -> ConfigError:
    return ConfigError("the master daemon ends; the change is on its disk, but whether the candidates have it is not known")


def _has(link: _Link, serial: int) -> bool:
    return link.checked and link.serial is not None and link.serial >= serial
