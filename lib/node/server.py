"""The HTTPS server of node calls. It refuses early: whatever is refused has had no effect.

Order of the checks: certificate of this cluster (TLS), of a master candidate (403), POST (405), declared name (404), headers
(400, 411, 415), size (413), time to send the body (408), JSON (400); then the epoch, the argument types and the call itself,
whose outcome is always a 200: ``[true, result]`` or ``[false, [error class, [args]]]``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.streams import StreamReader

from ganeti.base import codec, errors
from ganeti.node.dispatch import Busy, Dispatcher, Entry
from ganeti.node.epoch import EpochGuard
from ganeti.rpc.nodes import EPOCH_HEADER

log = logging.getLogger(__name__)
access_log = logging.getLogger("ganeti.node.access")

MIB = 1024 * 1024
LARGE_BODIES = {"upload_file": 64 * MIB, "store_append": 64 * MIB, "store_replace": 256 * MIB}
SMALL = 64 * 1024
"""Bodies up to this many bytes are not counted against the budget, and decoded on the loop."""

Identify = Callable[[bytes | None], "str | None"]


@dataclass(frozen=True)
class Limits:
    """What one caller may cost. Sizes are bytes, times seconds."""

    body: int = 8 * MIB
    bodies_together: int = 256 * MIB
    """Of all bodies being received or worked on."""
    body_time: float = 60.0
    large_body_time: float = 600.0
    idle: float = 60.0
    """For a connection without a complete request."""
    handshake: float = 10.0
    linger: float = 5.0
    connections: int = 256


class _Refusal(Exception):
    def __init__(self, status: int, reason: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.headers = status, reason, headers or {}


class Budget:
    """Bytes shared by all callers; whoever does not fit waits."""

    def __init__(self, total: int) -> None:
        self._free = total
        self._changed = asyncio.Condition()

    @contextlib.asynccontextmanager
    async def use(self, size: int, patience: float) -> AsyncIterator[None]:
        """Hold `size` bytes; `TimeoutError` if they are not free within `patience` seconds."""
        async with self._changed:
            await asyncio.wait_for(self._changed.wait_for(lambda: self._free >= size), patience)
            self._free -= size
        try:
            yield
        finally:
            async with self._changed:
                self._free += size
                self._changed.notify_all()


class CallServer:
    """Accepts connections and turns requests into calls."""

    def __init__(self, dispatcher: Dispatcher, identify: Identify, epochs: EpochGuard, limits: Limits | None = None) -> None:
        self._dispatcher = dispatcher
        self._identify = identify
        self._epochs = epochs
        self._limits = limits or Limits()
        self._budget = Budget(self._limits.bodies_together)
        self._web: web.Server | None = None
        self._listener: asyncio.Server | None = None

    @property
    def connections(self) -> int:
        """Callers connected now."""
        return len(self._web.connections) if self._web is not None else 0

    async def start(self, address: str, port: int, context: ssl.SSLContext) -> int:
        """Listen; returns the port (which the kernel chooses if `port` is 0). Raises `OSError`."""
        loop = asyncio.get_running_loop()
        # Requests are never decompressed: a small body could become a huge one.
        self._web = web.Server(
            self._handle,
            request_factory=self._make_request,
            keepalive_timeout=self._limits.idle,
            access_log=None,
            logger=log,
            auto_decompress=False,
            # Time for a refused caller to read the refusal instead of a reset.
            lingering_time=self._limits.linger,
        )
        self._listener = await loop.create_server(
            self._accept,
            address,
            port,
            ssl=context,
            ssl_handshake_timeout=self._limits.handshake,
            ssl_shutdown_timeout=self._limits.linger,
            backlog=128,
            reuse_address=True,
        )
        return int(self._listener.sockets[0].getsockname()[1])

    def close_listener(self) -> None:
        """Take no new connections."""
        if self._listener is not None:
            self._listener.close()

    async def close(self, grace: float) -> None:
        """End all connections; those in the middle of an answer get `grace` seconds."""
        self.close_listener()
        if self._web is not None:
            self._web.pre_shutdown()
            await self._web.shutdown(grace)

    def _accept(self) -> asyncio.Protocol:
        assert self._web is not None
        if self.connections >= self._limits.connections:
            log.warning("refused a connection: there are %d already", self._limits.connections)
            return _Hangup()
        return self._web()

    def _make_request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.BaseRequest:
        # The size is checked before reading, from the length announced; this is the second lock on that door.
        limit = max(self._limits.body, *LARGE_BODIES.values())
        return web.BaseRequest(message, payload, protocol, writer, task, asyncio.get_running_loop(), client_max_size=limit)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        started = time.monotonic()
        caller, outcome = "unknown", "broken"
        try:
            caller = self._admit(request)
            answer, outcome = await self._answer(request)
            return web.Response(text=codec.dumps(answer), content_type="application/json")
        except _Refusal as refusal:
            outcome = f"{refusal.status} {refusal.reason}"
            response = web.Response(status=refusal.status, text=refusal.reason + "\n", headers=refusal.headers)
            response.force_close()
            return response
        except ConnectionError:
            # Nobody reads this answer.
            outcome = "caller hung up"
            return web.Response(status=400)
        finally:
            name = request.path.lstrip("/") if self._dispatcher.find(request.path.lstrip("/")) else "?"
            spent = (time.monotonic() - started) * 1000
            access_log.info("%s from %s (%s): %s, %.0f ms", name, request.remote, caller, outcome, spent)

    def _admit(self, request: web.BaseRequest) -> str:
        """The caller's node uuid, from the certificate of the connection."""
        connection = request.transport.get_extra_info("ssl_object") if request.transport else None
        certificate = connection.getpeercert(binary_form=True) if connection else None
        caller = self._identify(certificate)
        if caller is None:
            raise _Refusal(403, "this certificate does not belong to a master candidate of this cluster")
        return caller

    async def _answer(self, request: web.BaseRequest) -> tuple[list[Any], str]:
        entry, epoch, size = self._check_head(request)
        if size <= SMALL:
            return await self._call(entry, epoch, await self._read(request, size))
        try:
            async with self._budget.use(size, self._limits.body_time):
                return await self._call(entry, epoch, await self._read(request, size))
        except TimeoutError:
            raise _Refusal(503, "too many large requests at once; try again later") from None

    def _check_head(self, request: web.BaseRequest) -> tuple[Entry, int, int]:
        if request.method != "POST":
            raise _Refusal(405, "node calls are POST requests", {"Allow": "POST"})
        entry = self._dispatcher.find(request.path.removeprefix("/"))
        if entry is None:
            raise _Refusal(404, "there is no such node call")
        if request.headers.get("Content-Encoding", "identity") != "identity" or request.content_type != "application/json":
            raise _Refusal(415, "the body must be plain application/json")
        epoch = request.headers.get(EPOCH_HEADER, "")
        if not (epoch.isascii() and epoch.isdigit() and len(epoch) < 19):
            raise _Refusal(400, f"header {EPOCH_HEADER} must be a whole number")
        size = request.content_length
        if size is None:
            raise _Refusal(411, "the length of the body must be announced")
        limit = LARGE_BODIES.get(entry.call.name, self._limits.body)
        if size > limit:
            raise _Refusal(413, f"the body has {size} bytes; at most {limit} are allowed for this call")
        return entry, int(epoch), size

    async def _read(self, request: web.BaseRequest, size: int) -> list[Any]:
        patience = self._limits.body_time if size <= self._limits.body else self._limits.large_body_time
        try:
            async with asyncio.timeout(patience):
                if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
                    request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                body = await request.read()
        except TimeoutError:
            raise _Refusal(408, f"the body did not arrive within {patience:g} s") from None
        except web.RequestPayloadError as err:
            raise _Refusal(400, "the body is not as long as announced") from err
        try:
            # Decoding hundreds of megabytes would hold up every other call.
            value = codec.loads(body) if size <= SMALL else await asyncio.to_thread(codec.loads, body)
        except errors.DecodeError as err:
            raise _Refusal(400, f"the body is {err.reason}"[:200]) from err
        if not isinstance(value, list):
            raise _Refusal(400, "the body must be a JSON array of arguments")
        return value

    async def _call(self, entry: Entry, epoch: int, values: list[Any]) -> tuple[list[Any], str]:
        try:
            if self._epochs.needs_write(epoch):
                await asyncio.to_thread(self._epochs.admit, epoch)
            else:
                self._epochs.admit(epoch)
            args = entry.call.decode_arguments(values)
            values.clear()
            return [True, await self._dispatcher.call(entry, args)], "ok"
        except Busy as err:
            raise _Refusal(503, err.message) from err
        except errors.GanetiError as err:
            log.info("call %s failed: %s", entry.call.name, err)
            return [False, errors.to_wire(err, exact=True)], f"error {type(err).__name__}"
        except Exception as err:
            # The border: whatever went wrong here is for the caller to report. The cause stands in the log of this node.
            log.exception("call %s failed unexpectedly", entry.call.name)
            return [False, errors.to_wire(err)], f"error {type(err).__name__}"


class _Hangup(asyncio.Protocol):
    """Ends a connection at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.abort()
