"""What only the HTTPS caller does: TLS, kept connections, time limits, forks. The rest is in `test/contract`."""

from __future__ import annotations

import os
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from aiohttp import web

from ganeti.base.errors import NodeError
from ganeti.model.ids import NodeUuid
from ganeti.rpc.call import rpc
from ganeti.rpc.http import HttpsNodeCaller
from ganeti.rpc.nodes import NodeTarget
from ganeti.rpc.tls import Credentials
from support.callserver import Authority, CallServer

NAME = "node1.example.com"
NODE = NodeUuid("uuid-1")


class SampleApi:
    """A few calls."""

    @rpc(timeout=5)
    def echo(self, text: str) -> str:
        raise NotImplementedError

    @rpc(timeout=0.05)
    def hurry(self, seconds: float) -> None:
        raise NotImplementedError


class Sample(SampleApi):
    """Counts what it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def echo(self, text: str) -> str:
        self.asked += 1
        return text

    def hurry(self, seconds: float) -> None:
        time.sleep(seconds)


class World:
    """One server, and callers with whatever credentials."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.stack = stack
        self.authority = Authority(folder / "ours")
        self.other = Authority(folder / "theirs")
        self.sample = Sample()

    def serve(self, credentials: Credentials | None = None, port: int = 0) -> CallServer:
        own = credentials or self.authority.credentials(NAME)
        return self.stack.enter_context(CallServer(self.sample, own, port=port))

    def caller(self, port: int, credentials: Credentials | None = None, timeout: float = 5.0) -> HttpsNodeCaller:
        own = credentials or self.authority.credentials("master.example.com")
        caller = HttpsNodeCaller(lambda uuid: NodeTarget(NAME, "127.0.0.1"), own, lambda: 1, port, connect_timeout=timeout)
        self.stack.callback(caller.close)
        return caller


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as stack:
        yield World(tmp_path, stack)


def in_threads(count: int, work: Callable[[], object]) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# --- connections


def test_connection_is_kept_between_calls_and_threads(world: World) -> None:
    server = world.serve()
    caller = world.caller(server.port)
    for _ in range(3):
        assert caller.call(NODE, SampleApi.echo, "x") == "x"
        in_threads(1, lambda: caller.call(NODE, SampleApi.echo, "y"))
        caller.call_all([NODE], SampleApi.echo, "z")
    assert world.sample.asked == 9
    assert server.connections == 1


def test_restarted_agent_is_reached_at_once(world: World) -> None:
    with CallServer(world.sample, world.authority.credentials(NAME)) as first:
        caller = world.caller(first.port)
        caller.call(NODE, SampleApi.echo, "before")
    world.serve(port=first.port)
    assert caller.call(NODE, SampleApi.echo, "after") == "after"


def test_forked_child_leaves_the_connections_of_its_parent_alone(world: World) -> None:
    server = world.serve()
    caller = world.caller(server.port)
    caller.call(NODE, SampleApi.echo, "parent")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if caller.call(NODE, SampleApi.echo, "child") == "child" else 2
            caller.close()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert caller.call(NODE, SampleApi.echo, "parent") == "parent"
    assert server.connections == 2


def test_process_with_many_open_files_can_call(world: World) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    server = world.serve()
    caller = world.caller(server.port)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    opened = [os.open("/dev/null", os.O_RDONLY) for _ in range(1200)]
    try:
        assert caller.call(NODE, SampleApi.echo, "x") == "x"
    finally:
        for descriptor in opened:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_proxy_of_the_environment_is_not_used(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    server = world.serve()
    assert world.caller(server.port).call(NODE, SampleApi.echo, "x") == "x"


# --- proofs


def test_node_with_the_name_of_another_is_refused(world: World) -> None:
    server = world.serve(world.authority.credentials("node2.example.com"))
    with pytest.raises(NodeError, match=r"node1\.example\.com: what answers at 127\.0\.0\.1 .* could not prove"):
        world.caller(server.port).call(NODE, SampleApi.echo, "x")
    assert world.sample.asked == 0


def test_node_of_another_cluster_is_refused(world: World) -> None:
    server = world.serve(world.other.credentials(NAME))
    with pytest.raises(NodeError, match="could not prove"):
        world.caller(server.port).call(NODE, SampleApi.echo, "x")
    assert world.sample.asked == 0


def test_caller_of_another_cluster_is_told_so(world: World) -> None:
    server = world.serve()
    foreign = Credentials(world.other.credentials("master").certificate, world.authority.authority_file())
    with pytest.raises(NodeError, match="broke the connection.*refuses the certificate"):
        world.caller(server.port, foreign).call(NODE, SampleApi.echo, "x")
    assert world.sample.asked == 0


def test_missing_certificate_of_the_caller_is_told(world: World) -> None:
    lost = Credentials("/nonexistent/server.pem", world.authority.authority_file())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(NodeError, match=r"certificates of the calling node.*/nonexistent/server\.pem"):
            world.caller(port, lost).call(NODE, SampleApi.echo, "x")


# --- time limits and refusals


def test_call_that_takes_too_long_ends_by_its_own_limit(world: World) -> None:
    caller = world.caller(world.serve().port)
    caller.call(NODE, SampleApi.echo, "so that there is a connection")
    with pytest.raises(NodeError, match=r"did not finish hurry within 0\.05 seconds"):
        caller.call(NODE, SampleApi.hurry, 0.1)


def test_host_that_does_not_react_is_given_up(world: World) -> None:
    with socket.socket() as listener, ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):  # fill its queue; what comes after gets no reaction at all
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        with pytest.raises(NodeError, match=r"does not react at 127\.0\.0\.1.*--offline yes node1\.example\.com"):
            world.caller(listener.getsockname()[1], timeout=0.1).call(NODE, SampleApi.echo, "x")


@pytest.mark.parametrize(
    ("status", "text", "expected"),
    [
        (403, "not a master candidate", "refuses to be commanded by this node: not a master candidate"),
        (404, "", "does not know the call echo"),
        (503, "too many calls", "HTTP status 503: too many calls"),
    ],
)
def test_refusal_tells_its_reason(world: World, status: int, text: str, expected: str) -> None:
    server = world.serve()
    server.interfere = lambda request: web.Response(status=status, text=text)
    with pytest.raises(NodeError, match=expected):
        world.caller(server.port).call(NODE, SampleApi.echo, "x")
