"""The server with real TLS and tiny limits, in this process; `test/cluster/test_node_agent.py` has the whole program."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from ganeti.base import x509
from ganeti.base.paths import Paths
from ganeti.base.retry import wait_until
from ganeti.base.secret import Secret
from ganeti.node import dispatch
from ganeti.node.dispatch import Dispatcher, Entry
from ganeti.node.epoch import EpochGuard
from ganeti.node.server import CallServer, Limits
from ganeti.node.trust import Callers
from ganeti.rpc.call import URGENT, call_of, rpc
from ganeti.rpc.nodes import EPOCH_HEADER
from support.agent import Cluster, install

TINY = Limits(
    body=4000,
    bodies_together=200_000,
    body_time=0.3,
    large_body_time=0.3,
    idle=0.3,
    handshake=0.3,
    linger=0.2,
    connections=8,
)


class SampleApi:
    @rpc(timeout=URGENT)
    def add(self, a: int, b: int) -> int:
        raise NotImplementedError

    @rpc(timeout=URGENT)
    def crash(self) -> None:
        raise NotImplementedError

    @rpc(timeout=URGENT)
    def upload_file(self, name: str, content: Secret) -> int:
        raise NotImplementedError


class Sample(SampleApi):
    def __init__(self) -> None:
        self.calls = 0

    def add(self, a: int, b: int) -> int:
        self.calls += 1
        return a + b

    def crash(self) -> None:
        raise ZeroDivisionError("by zero")

    def upload_file(self, name: str, content: Secret) -> int:
        self.calls += 1
        return len(content.reveal())


class Running:
    """A server, and how to talk to it."""

    def __init__(self, cluster: Cluster, paths: Paths, target: Sample, limits: Limits) -> None:
        self.cluster, self.paths, self.target, self.port = cluster, paths, target, 0
        self._limits = limits
        self._server: CallServer | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._life()))

    async def _life(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        table: dict[str, Entry] = {
            name: dispatch._entry(call_of(method), getattr(self.target, name))
            for name, method in vars(SampleApi).items()
            if not name.startswith("_")
        }
        dispatcher = Dispatcher(table)
        self._server = server = CallServer(dispatcher, Callers(self.paths).identify, EpochGuard(self.paths), self._limits)
        context = x509.server_context(self.paths.node_certificate, self.paths.ca_certificate)
        self.port = await server.start("127.0.0.1", 0, context)
        self._ready.set()
        await self._stop.wait()
        server.close_listener()
        await dispatcher.close(1)
        await server.close(0.2)

    @property
    def connections(self) -> int:
        assert self._server is not None
        return self._server.connections

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(10)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    @contextmanager
    def connect(self, certificate: str | None = "master") -> Iterator[ssl.SSLSocket]:
        file = self.cluster.master if certificate == "master" else certificate
        context = self.cluster.client_context(file)
        with (
            socket.create_connection(("127.0.0.1", self.port), 5) as plain,
            context.wrap_socket(plain, server_hostname="node2.example.com") as secure,
        ):
            yield secure

    def request(self, path: str, body: Any, *, method: str = "POST", raw: bytes | None = None, **headers: str) -> tuple[int, str]:
        """Send a request; returns status and body."""
        data = json.dumps(body).encode() if raw is None else raw
        fields = {"Content-Type": "application/json", EPOCH_HEADER: "5", "Content-Length": str(len(data))}
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        with self.connect() as link:
            head = f"{method} {path} HTTP/1.1\r\nHost: n\r\n" + "".join(f"{k}: {v}\r\n" for k, v in fields.items() if v)
            link.sendall(head.encode() + b"\r\n" + data)
            with closing(http.client.HTTPResponse(link, method=method)) as response:
                response.begin()
                return response.status, response.read().decode()


@pytest.fixture
def running(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Running]:
    """A server with tiny limits, or those that the test names."""
    cluster = Cluster(tmp_path / "ca")
    paths = Paths(str(tmp_path / "node2"), "node2.example.com")
    install(paths, cluster)
    server = Running(cluster, paths, Sample(), getattr(request, "param", TINY))
    server.start()
    yield server
    server.stop()


def test_call_is_answered(running: Running) -> None:
    assert running.request("/add", [2, 3]) == (200, "[true,5]")


def test_epoch_is_on_disk_before_the_call_is_done(running: Running) -> None:
    running.request("/add", [2, 3])
    assert Path(running.paths.epoch).read_text() == "5\n"


def test_lower_epoch_is_answered_with_its_own_error(running: Running) -> None:
    running.request("/add", [2, 3])
    status, body = running.request("/add", [2, 3], **{EPOCH_HEADER: "4"})
    assert status == 200
    assert json.loads(body)[:1] == [False]
    assert json.loads(body)[1][0] == "StaleEpoch"
    assert running.target.calls == 1


def test_unexpected_error_is_told_and_the_server_goes_on(running: Running) -> None:
    status, body = running.request("/crash", [])
    assert (status, json.loads(body)) == (200, [False, ["OpExecError", ["ZeroDivisionError: by zero"]]])
    assert running.request("/add", [2, 3]) == (200, "[true,5]")


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ({"path": "/nothing"}, 404),
        ({"path": "/add/"}, 404),
        ({"path": "//add"}, 404),
        ({"path": "/_call"}, 404),
        ({"path": "/add", "method": "GET"}, 405),
        ({"path": "/add", "method": "PUT"}, 405),
        ({"path": "/add", EPOCH_HEADER: ""}, 400),
        ({"path": "/add", EPOCH_HEADER: "-1"}, 400),
        ({"path": "/add", EPOCH_HEADER: "five"}, 400),
        ({"path": "/add", EPOCH_HEADER: "9" * 30}, 400),
        ({"path": "/add", "Content_Type": "text/plain"}, 415),
        ({"path": "/add", "Content_Encoding": "gzip"}, 415),
        ({"path": "/add", "raw": b"{not json"}, 400),
        ({"path": "/add", "raw": b'{"a": 2}'}, 400),
        ({"path": "/add", "raw": b"[" * 3000}, 400),
        ({"path": "/add", "Content_Length": "", "Transfer_Encoding": "chunked", "raw": b"3\r\n[1]\r\n0\r\n\r\n"}, 411),
        ({"path": "/add", "raw": b"[" + b" " * 5000 + b"]"}, 413),
    ],
    ids=str,
)
def test_bad_request_is_refused_without_effect(running: Running, arguments: dict[str, Any], status: int) -> None:
    body: list[int] = [2, 3]
    found, text = running.request(arguments.pop("path"), body, **arguments)
    assert found == status
    assert text.strip()
    assert running.target.calls == 0
    assert running.request("/add", [2, 3]) == (200, "[true,5]")


@pytest.mark.parametrize("body", [[2], [2, "3"], [2, 3, 4], [2, 3.5]])
def test_arguments_of_the_wrong_type_are_an_error_of_the_call(running: Running, body: list[Any]) -> None:
    status, text = running.request("/add", body)
    assert (status, json.loads(text)[1][0]) == (200, "DecodeError")
    assert running.target.calls == 0


def test_large_body_is_allowed_where_the_call_needs_it(running: Running) -> None:
    assert running.request("/upload_file", ["x", "y" * 100_000]) == (200, "[true,100000]")


def test_body_beyond_the_common_budget_is_turned_away(running: Running) -> None:
    status, text = running.request("/upload_file", ["x", "y" * 250_000])
    assert (status, "too many large requests" in text) == (503, True)
    assert running.request("/upload_file", ["x", "y" * 100_000])[0] == 200


def test_caller_that_asks_first_is_told_to_go_on(running: Running) -> None:
    with running.connect() as link:
        link.sendall(
            b"POST /add HTTP/1.1\r\nHost: n\r\nExpect: 100-continue\r\nContent-Type: application/json\r\n"
            + f"{EPOCH_HEADER}: 5\r\nContent-Length: 5\r\n\r\n".encode()
        )
        assert link.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        link.sendall(b"[2,3]")
        assert link.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")


def closed_within(link: socket.socket, seconds: float) -> bool:
    """Whether the other end closes, and soon."""
    link.settimeout(seconds)
    try:
        while link.recv(1000):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


@pytest.mark.parametrize("start", [b"", b"PO", b"POST /add HTTP/1.1\r\nHost: n\r\n"])
def test_half_a_request_is_given_up(running: Running, start: bytes) -> None:
    with running.connect() as link:
        link.sendall(start)
        assert closed_within(link, 3)


def test_header_that_drips_is_given_up(running: Running) -> None:
    with running.connect() as link:
        link.sendall(b"POST /add HTTP/1.1\r\n")
        begun = time.monotonic()
        with pytest.raises((ConnectionError, ssl.SSLError)):
            while time.monotonic() - begun < 3:
                link.sendall(b"A")
                time.sleep(0.02)


def test_half_a_body_is_given_up(running: Running) -> None:
    with running.connect() as link:
        link.sendall(
            f"POST /add HTTP/1.1\r\nHost: n\r\nContent-Type: application/json\r\n{EPOCH_HEADER}: 5\r\n".encode()
            + b"Content-Length: 10\r\n\r\n[2,"
        )
        assert b" 408 " in link.recv(1000)
        assert closed_within(link, 3)
    assert running.target.calls == 0


def test_caller_without_tls_is_given_up(running: Running) -> None:
    with socket.create_connection(("127.0.0.1", running.port), 5) as link:
        assert closed_within(link, 3)
    with socket.create_connection(("127.0.0.1", running.port), 5) as link:
        link.sendall(b"POST /add HTTP/1.1\r\n\r\n")
        assert closed_within(link, 3)


def test_other_callers_are_served_while_some_are_slow(running: Running) -> None:
    with running.connect() as one, running.connect() as two, running.connect():
        one.sendall(b"POST /add HTTP/1.1\r\n")
        two.sendall(b"POST")
        assert running.request("/add", [2, 3]) == (200, "[true,5]")


@pytest.mark.parametrize("running", [Limits(connections=3)], indirect=True)
def test_too_many_connections_are_refused(running: Running) -> None:
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(running.connect())
        try:
            with running.connect() as link:
                assert closed_within(link, 5)
        except OSError:
            pass  # it was refused even earlier
    wait_until(lambda: running.connections == 0, timeout=5, interval=0.01)
    assert running.request("/add", [2, 3]) == (200, "[true,5]")


def test_connection_is_kept_for_the_next_call(running: Running) -> None:
    with running.connect() as link:
        for _ in range(3):
            link.sendall(
                f"POST /add HTTP/1.1\r\nHost: n\r\nContent-Type: application/json\r\n{EPOCH_HEADER}: 5\r\n".encode()
                + b"Content-Length: 5\r\n\r\n[2,3]"
            )
            assert link.recv(1000).endswith(b"[true,5]")
