"""Unix sockets that answer declared calls: the part that LUXI and the job socket have in common.

Each connection is served one request at a time, in order. Whatever a client does (garbage, oversized or unfinished frames,
hanging up, not reading its answers, sending ahead) costs a bounded amount of memory and concerns no other connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import select
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from ganeti.base import codec
from ganeti.base.errors import GanetiError, ProtocolError
from ganeti.rpc import frames
from ganeti.rpc.call import Call, implementation

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 1000
ACCEPT_PAUSE = 1.0
"""Seconds without new connections when no more files can be opened."""
BACKLOG = 512
"""Connections that may wait to be accepted."""
FRAME_TIMEOUT = 60.0
"""Seconds between the first and the last byte of a request."""
LINGER = 2.0
"""Seconds for which a refused client may go on sending."""
SEND_TIMEOUT = 180.0
"""Seconds that a client may take to read an answer."""


@dataclass(frozen=True)
class Peer:
    """The process at the other end, as the kernel knows it."""

    pid: int
    uid: int
    gid: int


class Session(Protocol):
    """One connection, as the service behind the socket sees it."""

    async def call(self, method: str, args: list[Any]) -> Any:
        """Answer a request with a plain JSON value."""
        ...

    def may_abandon(self, method: str) -> bool:
        """Whether the call is interrupted when its client hangs up; others are completed."""
        ...

    def closed(self) -> None:
        """The connection is gone and no call of it is under way any more."""
        ...


class Dispatcher:
    """Decodes the arguments of a declared call, makes it, encodes its result."""

    def __init__(self, api: type, target: object) -> None:
        self._table: dict[str, tuple[Call, Callable[..., Awaitable[Any]]]] = implementation(api, target)

    async def call(self, method: str, args: list[Any]) -> Any:
        found = self._table.get(method)
        if found is None:
            raise ProtocolError(f"there is no method '{method}'; there are: {', '.join(sorted(self._table))}")
        call, bound = found
        return codec.encode(await bound(*call.decode_arguments(args)))


class SocketServer:
    """Listens at a path. `connect` makes the session of a new connection, or raises an error that the client is told."""

    def __init__(
        self,
        path: str,
        connect: Callable[[Peer, Connection], Session],
        *,
        mode: int,
        exact_errors: bool = False,
        limit: int = frames.MAX_MESSAGE,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self.path = path
        self.connect = connect
        self.exact_errors = exact_errors
        self.limit = limit
        self.max_connections = max_connections
        self.connections: set[Connection] = set()
        self._mode = mode
        self._listener: socket.socket | None = None
        self._arriving: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Begin to listen; a socket that an earlier process left behind is replaced. Raises `OSError`."""
        # Bound under another name and moved into place: nobody can connect before the mode is right.
        temporary = f"{self.path}.{os.getpid()}"
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            sock.bind(temporary)
            os.chmod(temporary, self._mode)
            sock.listen(BACKLOG)
            os.rename(temporary, self.path)
        except BaseException:
            sock.close()
            raise
        self._listener = sock
        self._listen()

    async def close(self, grace: float = 5.0) -> None:
        """Stop listening, give requests that must be completed `grace` seconds, then drop all connections."""
        if self._listener is None:
            return
        asyncio.get_running_loop().remove_reader(self._listener)
        self._listener.close()
        self._listener = None
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        while self._arriving:
            await asyncio.wait(self._arriving)
        tasks = [task for connection in list(self.connections) if (task := connection.finish())]
        if tasks:
            await asyncio.wait(tasks, timeout=grace)
        for connection in list(self.connections):
            connection.drop()

    # Not `asyncio.Server`: what it has accepted while it is being closed is left open, with an assertion in the log.

    def _listen(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        """Take the connections that wait."""
        loop = asyncio.get_running_loop()
        for _ in range(BACKLOG):
            assert self._listener is not None
            try:
                sock, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as err:
                # Too many open files: those that wait will have to wait on.
                log.error("cannot accept connections to %s: %s", self.path, err)
                loop.remove_reader(self._listener)
                loop.call_later(ACCEPT_PAUSE, self._listen)
                return
            sock.setblocking(False)
            task = loop.create_task(self._greet(sock))
            self._arriving.add(task)
            task.add_done_callback(self._arriving.discard)

    async def _greet(self, sock: socket.socket) -> None:
        await asyncio.get_running_loop().connect_accepted_socket(lambda: Connection(self), sock)


class Connection(asyncio.Protocol):
    """One client. At most one request is under way; at most one frame is buffered."""

    def __init__(self, server: SocketServer) -> None:
        self._server = server
        self._buffer = frames.FrameBuffer(server.limit)
        self._transport: asyncio.Transport | None = None
        self._session: Session | None = None
        self._task: asyncio.Task[None] | None = None
        self._method = ""
        self._writable = asyncio.Event()
        self._writable.set()
        self._unfinished: asyncio.TimerHandle | None = None
        self._no_more_input = False
        self._last_request = False

    # --- what the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._server.connections.add(self)
        try:
            if len(self._server.connections) > self._server.max_connections:
                raise GanetiError(f"more than {self._server.max_connections} connections to {self._server.path}")
            self._session = self._server.connect(_peer(self._transport), self)
        except GanetiError as err:
            log.warning("refused a connection to %s: %s", self._server.path, err)
            self._refuse(err)

    def data_received(self, data: bytes) -> None:
        if self._no_more_input or self._transport is None:
            return
        self._buffer.feed(data)
        if self._task is None:
            self._serve_next()
        else:
            # A client that sends ahead waits in its own memory, not in ours.
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        self._no_more_input = True
        # If only its sending side is closed it still wants the answer.
        return self._task is not None and self._transport is not None and not _has_hung_up(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._no_more_input = True
        self._writable.set()
        self._cancel_timer()
        if self._task is None:
            self._gone()
        elif self._session is None or self._session.may_abandon(self._method):
            self._task.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # --- what the server and sessions call

    def drop(self) -> None:
        """End the connection at once, also a request that would otherwise be completed."""
        self._no_more_input = self._last_request = True
        if self._task is not None:
            self._task.cancel()
        if self._transport is not None:
            self._transport.abort()

    def finish(self) -> asyncio.Task[None] | None:
        """Accept no further request. Returns the task of one that is under way and must be completed."""
        self._no_more_input = self._last_request = True
        if self._task is None or (self._session and self._session.may_abandon(self._method)):
            self.drop()
            return None
        return self._task

    @property
    def task(self) -> asyncio.Task[None] | None:
        """The request under way."""
        return self._task

    # --- inside

    def _serve_next(self) -> None:
        if self._last_request:
            self._close()
            return
        try:
            frame = self._buffer.next_frame()
        except ProtocolError as err:
            self._refuse(err)
            return
        self._cancel_timer()
        if frame is not None:
            self._task = asyncio.get_running_loop().create_task(self._serve(frame))
            if not self._buffer:
                # To see it hang up while it waits for its answer.
                self._resume()
        elif self._no_more_input or self._transport is None:
            self._close()
        else:
            self._resume()
            if self._buffer:
                self._unfinished = asyncio.get_running_loop().call_later(FRAME_TIMEOUT, self._too_slow)

    async def _serve(self, frame: bytes) -> None:
        try:
            response = await self._answer(frame)
            if self._transport is not None:
                self._transport.write(response)
                if not self._writable.is_set():
                    await asyncio.wait_for(self._writable.wait(), SEND_TIMEOUT)
        except TimeoutError:
            log.warning("a client of %s does not read its answers", self._server.path)
            self.drop()
        finally:
            self._task = None
            self._method = ""
            # What arrived before the client hung up is carried out all the same.
            self._serve_next()

    async def _answer(self, frame: bytes) -> bytes:
        try:
            self._method, args = frames.parse_request(frames.decode(frame))
            assert self._session is not None
            if self._transport is None and self._session.may_abandon(self._method):
                return b""
            return frames.encode(frames.success(await self._session.call(self._method, args)))
        except GanetiError as err:
            log.debug("%s failed: %s", self._method or "a request", err)
            return self._failure(err)
        except Exception as err:
            log.exception("%s failed", self._method or "a request")
            return self._failure(err)

    def _failure(self, error: BaseException) -> bytes:
        return frames.encode(frames.failure(error, exact=self._server.exact_errors))

    def _refuse(self, error: GanetiError) -> None:
        """Tell the client why, and end the connection."""
        self._no_more_input = True
        self._cancel_timer()
        if self._transport is None:
            self._gone()
            return
        self._transport.write(self._failure(error))
        self._transport.write_eof()
        # What the client still sends is thrown away for a while: closed at once, it might not get to read the answer.
        self._resume()
        asyncio.get_running_loop().call_later(LINGER, self.drop)

    def _too_slow(self) -> None:
        self._refuse(ProtocolError(f"the request was not complete after {FRAME_TIMEOUT:g} seconds"))

    def _resume(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def _close(self) -> None:
        if self._transport is None:
            self._gone()
        else:
            self._transport.close()

    def _cancel_timer(self) -> None:
        if self._unfinished is not None:
            self._unfinished.cancel()
            self._unfinished = None

    def _gone(self) -> None:
        self._server.connections.discard(self)
        session, self._session = self._session, None
        if session is not None:
            session.closed()


def _peer(transport: asyncio.BaseTransport) -> Peer:
    sock = transport.get_extra_info("socket")
    size = struct.calcsize("3i")
    return Peer(*struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)))


def _has_hung_up(transport: asyncio.BaseTransport) -> bool:
    """Whether the peer has closed its socket altogether, and not only its sending side."""
    sock = transport.get_extra_info("socket")
    poll = select.poll()
    poll.register(sock.fileno(), 0)
    events: Sequence[tuple[int, int]] = poll.poll(0)
    return any(event & (select.POLLHUP | select.POLLERR) for _, event in events)
