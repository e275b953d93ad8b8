"""A small HTTPS server for node calls, in a thread: what is not under test of the node agent, but real TLS and real HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web

from ganeti.base import x509
from ganeti.base.errors import StaleEpoch
from ganeti.rpc.call import call_of, declared
from ganeti.rpc.nodes import EPOCH_HEADER, answer, refusal
from ganeti.rpc.tls import Credentials


class Authority:
    """A cluster's certificate authority, and the files of the nodes it vouches for."""

    def __init__(self, folder: Path, name: str = "cluster.example.com") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._pair = x509.create_authority(name, 10)
        self._file = folder / "ca.pem"
        self._file.write_text(self._pair.cert_pem)

    def credentials(self, node: str) -> Credentials:
        key, request = x509.create_request(node)
        path = self._folder / f"{node}.pem"
        path.write_text(key + x509.sign_request(self._pair, request, node, 10))
        return Credentials(str(path), str(self._file))

    def authority_file(self) -> str:
        return str(self._file)


Handler = Callable[[web.BaseRequest], "web.StreamResponse | None"]


class CallServer:
    """Answers the declared calls of one object. Use as a context manager; `port` is chosen by the kernel."""

    def __init__(self, target: object, credentials: Credentials, host: str = "127.0.0.1", port: int = 0) -> None:
        self.connections = 0
        self.epoch = 0
        self.interfere: Handler | None = None
        """Called first; what it returns is the answer."""
        self.drop_next = 0
        """So many of the next calls are carried out but not answered."""
        self.host = host
        self.port = port
        self._context: ssl.SSLContext = x509.server_context(credentials.certificate, credentials.authority)
        methods = declared(type(target))
        self._table = {name: (call_of(method), getattr(target, method.__name__)) for name, method in methods.items()}
        self._transports: set[asyncio.Transport] = set()
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = web.Server(self._handle)

        def accept() -> asyncio.Protocol:
            self.connections += 1
            return server()

        listener = await self._loop.create_server(accept, self.host, self.port, ssl=self._context)
        self.port = listener.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        listener.close()
        await server.shutdown(0.1)
        for transport in self._transports:
            # Idle clients do not answer the good-bye of TLS. One that was closed twice is left alone by abort, by way of an
            # AttributeError in Python 3.11.2.
            with contextlib.suppress(AttributeError):
                transport.abort()
        await listener.wait_closed()
        # Connections whose handshake is never finished belong to tasks of asyncio's own.
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:
            await asyncio.wait(others, timeout=1)
        await asyncio.sleep(0.01)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if isinstance(request.transport, asyncio.Transport):
            self._transports.add(request.transport)
        if self.interfere is not None and (response := self.interfere(request)) is not None:
            return response
        call, method = self._table[request.path.lstrip("/")]
        epoch = int(request.headers[EPOCH_HEADER])
        if epoch < self.epoch:
            return web.Response(body=refusal(StaleEpoch(f"epoch {epoch} is over")), content_type="application/json")
        self.epoch = epoch
        body = await asyncio.to_thread(answer, call, method, await request.content.read())
        if self.drop_next:
            self.drop_next -= 1
            assert request.transport is not None
            request.transport.abort()
        return web.Response(body=body, content_type="application/json")
