"""Whatever clients do to a socket: each is answered or dropped, and the others notice nothing."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import tempfile
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from ganeti.base.errors import ExecError, GanetiError, PrereqError, ProtocolError, Unreachable
from ganeti.master import server
from ganeti.master.server import Connection, Dispatcher, Peer, SocketServer
from ganeti.rpc.call import rpc
from ganeti.rpc.frames import ETX
from support.masterd import Client, eventually


class EchoApi:
    """A service for tests."""

    @rpc(timeout=1, name="Echo")
    def echo(self, text: str, times: int = 1) -> str:
        raise NotImplementedError

    @rpc(timeout=1)
    def fail(self, how: str) -> None:
        raise NotImplementedError

    @rpc(timeout=1)
    def wait(self, name: str) -> None:
        raise NotImplementedError

    @rpc(timeout=1)
    def work(self, name: str) -> None:
        raise NotImplementedError


class Echo:
    """Its implementation."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.go = asyncio.Event()
        self.closed_sessions = 0
        self.peers: list[Peer] = []

    async def echo(self, text: str, times: int = 1) -> str:
        self.events.append("echo")
        return text * times

    async def fail(self, how: str) -> None:
        if how == "prereq":
            raise PrereqError("not like this", "wrong_input")
        raise ZeroDivisionError("a defect")

    async def wait(self, name: str) -> None:
        await self._until_go("wait " + name)

    async def work(self, name: str) -> None:
        await self._until_go("work " + name)

    async def _until_go(self, what: str) -> None:
        self.events.append(what)
        try:
            await self.go.wait()
            self.events.append(f"{what} done")
        except asyncio.CancelledError:
            self.events.append(f"{what} interrupted")
            raise


class EchoSession:
    def __init__(self, service: Echo, dispatcher: Dispatcher) -> None:
        self._service = service
        self._dispatcher = dispatcher

    async def call(self, method: str, args: list[Any]) -> Any:
        return await self._dispatcher.call(method, args)

    def may_abandon(self, method: str) -> bool:
        return method == "wait"

    def closed(self) -> None:
        self._service.closed_sessions += 1


class World:
    def __init__(self, path: str, **options: Any) -> None:
        self.path = path
        self.service = Echo()
        dispatcher = Dispatcher(EchoApi, self.service)

        def connect(peer: Peer, connection: Connection) -> EchoSession:
            self.service.peers.append(peer)
            return EchoSession(self.service, dispatcher)

        self.server = SocketServer(path, connect, **{"mode": 0o600, "limit": 100_000, **options})

    async def client(self) -> Client:
        client = Client(self.path)
        await client.connect()
        return client

    async def check_others_are_served(self) -> None:
        client = await self.client()
        assert await client.call("Echo", "still there") == "still there"
        await client.hang_up()


def run(test: Callable[[World], Coroutine[Any, Any, None]], **options: Any) -> None:
    async def body(directory: str) -> None:
        world = World(os.path.join(directory, "s"), **options)
        await world.server.open()
        try:
            await asyncio.wait_for(test(world), 20)
            await world.check_others_are_served()
        finally:
            await world.server.close(0.1)
        await eventually(lambda: not world.server.connections, "the end of all connections")
        assert world.service.closed_sessions == len(world.service.peers)
        assert os.listdir(directory) == []

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(body(directory))


def test_requests_of_one_connection_are_answered_in_order() -> None:
    async def test(world: World) -> None:
        client = await world.client()
        for number in range(20):
            await client.send("Echo", str(number))
        assert [await client.receive() for _ in range(20)] == [str(number) for number in range(20)]
        assert world.service.peers == [Peer(os.getpid(), os.getuid(), os.getgid())]
        await client.hang_up()

    run(test)


def test_errors_are_answers() -> None:
    async def test(world: World) -> None:
        client = await world.client()
        with pytest.raises(PrereqError, match="not like this"):
            await client.call("fail", "prereq")
        with pytest.raises(ExecError, match="ZeroDivisionError: a defect"):
            await client.call("fail", "defect")
        with pytest.raises(ProtocolError, match="no method 'Nonsense'; there are: Echo, fail"):
            await client.call("Nonsense")
        for arguments in ([], ["a", 1, 2], [5], ["a", "b"]):
            with pytest.raises(GanetiError, match=r"Echo: |text: |times: "):
                await client.call("Echo", *arguments)
        assert await client.call("Echo", "x", 3) == "xxx"
        await client.hang_up()

    run(test)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (b"", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"[" * 50_000, "not valid JSON"),
        (b"null", "must be an object with a method"),
        (b"[1,2]", "must be an object with a method"),
        (b'{"method":5,"args":[]}', "must be an object with a method"),
        (b'{"method":"Echo"}', "arguments of Echo must be a list"),
        (b'{"method":"Echo","args":{}}', "arguments of Echo must be a list"),
    ],
)
def test_malformed_frame_gets_an_error_and_the_connection_goes_on(frame: bytes, message: str) -> None:
    async def test(world: World) -> None:
        client = await world.client()
        client.writer.write(frame + ETX)
        with pytest.raises(ProtocolError, match=message):
            await client.receive()
        assert await client.call("Echo", "and on") == "and on"
        await client.hang_up()

    run(test)


def test_text_that_is_no_unicode_comes_back_as_it_was() -> None:
    async def test(world: World) -> None:
        client = await world.client()
        client.writer.write(b'{"method":"Echo","args":["\\ud800"]}' + ETX)
        assert await client.receive() == "\ud800"
        await client.hang_up()

    run(test)


def test_oversized_frame_gets_an_error_and_ends_the_connection() -> None:
    async def test(world: World) -> None:
        client = await world.client()
        client.writer.write(b"x" * 300_000)
        with pytest.raises(ProtocolError, match="longer than the 100000 bytes"):
            await client.receive()
        with pytest.raises(Unreachable):
            await client.receive()
        await client.hang_up()

    run(test)


def test_endless_stream_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "LINGER", 0.02)

    async def test(world: World) -> None:
        client = await world.client()
        sent = 0
        with pytest.raises(ConnectionError):
            while True:
                client.writer.write(b"x" * 100_000)
                await client.writer.drain()
                sent += 1
                await asyncio.sleep(0.001)
        assert sent < 1000
        await client.hang_up()

    run(test)


def test_unfinished_request_does_not_hold_a_connection_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "FRAME_TIMEOUT", 0.02)

    async def test(world: World) -> None:
        client = await world.client()
        client.writer.write(b'{"method":')
        with pytest.raises(ProtocolError, match="not complete after"):
            await client.receive()
        await client.hang_up()

    run(test)


@pytest.mark.parametrize("half", [b"", b"{", b'{"method":"Echo","args":["x"]}'])
def test_client_that_hangs_up_within_a_request_is_forgotten(half: bytes) -> None:
    async def test(world: World) -> None:
        client = await world.client()
        client.writer.write(half)
        await client.hang_up()
        await eventually(lambda: not world.server.connections)
        assert "echo" not in world.service.events

    run(test)


def test_work_is_completed_and_waiting_is_not_when_the_client_hangs_up() -> None:
    async def test(world: World) -> None:
        for method in ("work", "wait"):
            client = await world.client()
            await client.send(method, "x")
            await eventually(lambda what=method: f"{what} x" in world.service.events)  # type: ignore[misc]
            await client.hang_up()
        await eventually(lambda: "wait x interrupted" in world.service.events)
        world.service.go.set()
        await eventually(lambda: "work x done" in world.service.events)

    run(test)


def test_requests_that_arrived_before_the_client_hung_up_are_carried_out() -> None:
    async def test(world: World) -> None:
        client = await world.client()
        await client.send("work", "x")
        for _ in range(3):
            await client.send("Echo", "x")
        await client.send("wait", "x")
        await client.hang_up()
        await eventually(lambda: "work x" in world.service.events)
        world.service.go.set()
        await eventually(lambda: world.service.events.count("echo") == 3)
        assert "wait x" not in world.service.events

    run(test)


def test_client_that_does_not_read_is_dropped_and_costs_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "SEND_TIMEOUT", 0.05)

    async def test(world: World) -> None:
        raw = socket.socket(socket.AF_UNIX)
        raw.connect(world.path)
        raw.sendall(b'{"method":"Echo","args":["' + b"x" * 1000 + b'",5000]}' + ETX)
        await eventually(lambda: world.service.events)
        await world.check_others_are_served()
        await eventually(lambda: not world.server.connections)
        raw.close()

    run(test)


def test_client_that_sends_ahead_waits_in_its_own_memory() -> None:
    async def test(world: World) -> None:
        client = await world.client()
        await client.send("work", "x")
        frame = b'{"method":"Echo","args":["' + b"y" * 50_000 + b'"]}' + ETX
        for _ in range(200):
            client.writer.write(frame)
        await asyncio.sleep(0.02)
        (connection,) = world.server.connections
        assert len(connection._buffer._data) < 1_000_000
        world.service.go.set()
        assert await client.receive() is None
        for _ in range(200):
            assert len(await client.receive()) == 50_000
        await client.hang_up()

    run(test)


def test_more_connections_than_allowed_are_refused() -> None:
    async def test(world: World) -> None:
        clients = [await world.client() for _ in range(3)]
        for client in clients:
            await client.call("Echo", "x")
        one_too_many = await world.client()
        with pytest.raises(Exception, match="more than 3 connections"):
            await one_too_many.receive()
        for client in [*clients, one_too_many]:
            await client.hang_up()
        await eventually(lambda: not world.server.connections)
        # The refused one had no session, but a peer was not asked for either.
        assert len(world.service.peers) == 3

    run(test, max_connections=3)


def test_clients_wait_while_no_more_files_can_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "ACCEPT_PAUSE", 0.02)

    async def test(world: World) -> None:
        raw = socket.socket(socket.AF_UNIX)
        raw.connect(world.path)
        raw.sendall(b'{"method":"Echo","args":["at last"]}' + ETX)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (raw.fileno() + 1, limits[1]))
        try:
            await asyncio.sleep(0.01)
            assert world.service.events == []
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        await eventually(lambda: world.service.events == ["echo"])
        raw.close()

    run(test)


def test_stopping_completes_work_and_refuses_the_rest() -> None:
    async def body(directory: str) -> None:
        world = World(os.path.join(directory, "s"))
        await world.server.open()
        worker, waiter, idle = [await world.client() for _ in range(3)]
        await worker.send("work", "x")
        await worker.send("Echo", "too late")
        await waiter.send("wait", "x")
        await eventually(lambda: len(world.service.events) == 2)
        closing = asyncio.create_task(world.server.close(5))
        await asyncio.sleep(0.01)
        assert not closing.done()
        world.service.go.set()
        assert await worker.receive() is None
        await closing
        for client in (worker, waiter, idle):
            with pytest.raises(Unreachable):
                await client.receive()
            await client.hang_up()
        assert "echo" not in world.service.events

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(body(directory))


def test_socket_of_a_dead_process_is_replaced() -> None:
    async def body(directory: str) -> None:
        path = os.path.join(directory, "s")
        stale = socket.socket(socket.AF_UNIX)
        stale.bind(path)
        stale.close()
        world = World(path)
        await world.server.open()
        await world.check_others_are_served()
        await world.server.close()

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(body(directory))


def test_service_that_lacks_a_method_is_refused_when_the_daemon_starts() -> None:
    with pytest.raises(TypeError, match=r"does not implement EchoApi\.echo"):
        Dispatcher(EchoApi, object())
