"""An event loop for HTTP transfers in a blocking program: libcurl's socket interface over epoll, without polling.

(`CurlMulti.select` would do for few descriptors; it fails in a process that has more than 1,024 open.)
"""

from __future__ import annotations

import io
import os
import select
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import pycurl

from ganeti.rpc.transfer_errors import Outcome

Prepare = Callable[[pycurl.Curl], None]
"""Sets the options of one transfer on a fresh handle; where the answer goes is not its business."""
Transfer = tuple[str, Prepare]
"""Whom it is with (transfers with the same text share connections), and what it is."""

PARALLEL = 64
"""Transfers that one loop has under way at the same time."""
KEPT_CONNECTIONS = 256
"""Connections that one loop keeps open."""
KEPT_LOOPS = 8
"""Idle loops that a pool keeps, with their connections."""

_TO_EPOLL = {
    pycurl.POLL_IN: select.EPOLLIN,
    pycurl.POLL_OUT: select.EPOLLOUT,
    pycurl.POLL_INOUT: select.EPOLLIN | select.EPOLLOUT,
}
_BROKEN = select.EPOLLERR | select.EPOLLHUP
_HUNG_UP = select.POLLRDHUP | select.POLLHUP | select.POLLERR | select.POLLNVAL
_CHECK_AGE = 2.0
"""Seconds of idleness from which libcurl itself surely looks whether a connection that it kept is still alive."""


class TransferLoop:
    """Runs transfers in the calling thread, and keeps connections from one run to the next. For one thread at a time."""

    def __init__(self, parallel: int = PARALLEL) -> None:
        self._parallel = parallel
        self._epoll = select.epoll()
        self._due: float | None = None
        self._idle: list[pycurl.Curl] = []
        self._kept: dict[str, int] = {}
        self._distrusted: dict[str, float] = {}
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)
        self._multi.setopt(pycurl.M_MAX_TOTAL_CONNECTIONS, max(KEPT_CONNECTIONS, parallel))
        self._multi.setopt(pycurl.M_MAXCONNECTS, KEPT_CONNECTIONS)

    def run(self, transfers: Sequence[Transfer]) -> list[Outcome]:
        """Do all the transfers, at most `parallel` of them at once; returns how each ended, in their order.

        A signal handler must not raise: libcurl may be calling back just then, and would take that for its own failure.
        """
        waiting = deque(enumerate(transfers))
        active: dict[pycurl.Curl, tuple[int, str, io.BytesIO]] = {}
        outcomes: dict[int, Outcome] = {}
        try:
            while waiting or active:
                while waiting and len(active) < self._parallel:
                    index, (peer, prepare) = waiting.popleft()
                    curl = self._idle.pop() if self._idle else pycurl.Curl()
                    active[curl] = index, peer, self._begin(curl, peer, prepare)
                self._step()
                for curl, code, text in self._ended():
                    index, peer, body = active.pop(curl)
                    outcomes[index] = _outcome(curl, code, text, body)
                    self._kept[peer] = int(curl.getinfo(pycurl.ACTIVESOCKET))
                    self._multi.remove_handle(curl)
                    self._idle.append(curl)
        finally:
            for curl in active:
                self._multi.remove_handle(curl)
        return [outcomes[index] for index in range(len(transfers))]

    def close(self) -> None:
        """Close the connections."""
        for curl in self._idle:
            curl.close()
        self._multi.close()
        self._epoll.close()

    def _begin(self, curl: pycurl.Curl, peer: str, prepare: Prepare) -> io.BytesIO:
        body = io.BytesIO()
        curl.reset()
        prepare(curl)
        curl.setopt(pycurl.FRESH_CONNECT, self._distrusts(peer))
        curl.setopt(pycurl.WRITEFUNCTION, body.write)
        self._multi.add_handle(curl)
        return body

    def _distrusts(self, peer: str) -> bool:
        """Whether the peer has closed the connection that was kept: so shortly after its last use libcurl does not look.

        The descriptor may be another file's by now. Then the worst that comes of it is a connection too many.
        """
        now = time.monotonic()
        if _is_hung_up(self._kept.get(peer, -1)):
            self._distrusted[peer] = now + _CHECK_AGE
        return self._distrusted.get(peer, 0.0) > now

    def _step(self) -> None:
        """Wait for something to happen and let libcurl act on it."""
        left = None if self._due is None else max(0.0, self._due - time.monotonic())
        for descriptor, events in self._epoll.poll(left):
            mask = pycurl.CSELECT_ERR if events & _BROKEN else 0
            mask |= pycurl.CSELECT_IN if events & select.EPOLLIN else 0
            mask |= pycurl.CSELECT_OUT if events & select.EPOLLOUT else 0
            self._multi.socket_action(descriptor, mask)
        if self._due is not None and time.monotonic() >= self._due:
            self._due = None
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)

    def _ended(self) -> Iterator[tuple[pycurl.Curl, int, str]]:
        left = 1
        while left:
            left, done, failed = self._multi.info_read()
            yield from ((curl, 0, "") for curl in done)
            yield from failed

    # --- called by libcurl

    def _watch(self, what: int, descriptor: int, _multi: object, known: object) -> None:
        if what == pycurl.POLL_REMOVE:
            with suppress(OSError):  # it may have been closed already
                self._epoll.unregister(descriptor)
        elif known is None:
            self._multi.assign(descriptor, self)
            self._epoll.register(descriptor, _TO_EPOLL[what])
        else:
            self._epoll.modify(descriptor, _TO_EPOLL[what])

    def _set_timer(self, milliseconds: int) -> None:
        self._due = None if milliseconds < 0 else time.monotonic() + milliseconds / 1000


def _is_hung_up(descriptor: int) -> bool:
    if descriptor < 0:
        return False
    poll = select.poll()
    poll.register(descriptor, _HUNG_UP)
    return bool(poll.poll(0))


def _outcome(curl: pycurl.Curl, code: int, text: str, body: io.BytesIO) -> Outcome:
    return Outcome(
        code,
        text,
        status=int(curl.getinfo(pycurl.RESPONSE_CODE)),
        body=body.getvalue(),
        was_sent=int(curl.getinfo(pycurl.REQUEST_SIZE)) > 0,
        was_fresh=int(curl.getinfo(pycurl.NUM_CONNECTS)) > 0,
    )


class LoopPool:
    """Loops to borrow. The one given back last is lent first, so that few threads mean few connections."""

    def __init__(self, make: Callable[[], TransferLoop] = TransferLoop) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._idle: list[TransferLoop] = []
        self._closed = False
        _pools.add(self)

    @contextmanager
    def borrow(self) -> Iterator[TransferLoop]:
        """A loop for the calling thread alone."""
        with self._lock:
            loop = self._idle.pop() if self._idle else self._make()
        try:
            yield loop
        except BaseException:
            loop.close()  # its transfers were interrupted at an unknown point
            raise
        with self._lock:
            keep = not self._closed and len(self._idle) < KEPT_LOOPS
            if keep:
                self._idle.append(loop)
        if not keep:
            loop.close()

    def close(self) -> None:
        """Close all connections; those lent at the moment, when they come back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for loop in idle:
            loop.close()

    def forget(self) -> None:
        """Start anew in a forked child without touching what it shares with its parent."""
        _left_behind.extend(self._idle)
        self._idle = []
        self._lock = threading.Lock()


# Closing an inherited connection would say good-bye on the parent's. So a child never frees such loops.
_left_behind: list[TransferLoop] = []
_pools: weakref.WeakSet[LoopPool] = weakref.WeakSet()


def _after_fork() -> None:
    for pool in _pools:
        pool.forget()


os.register_at_fork(after_in_child=_after_fork)
