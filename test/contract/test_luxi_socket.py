"""LUXI on the socket of a real daemon, with raw bytes: what a careless or malicious client can do to it."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ganeti.base import jsontext
from ganeti.rpc.frames import ETX, MAX_MESSAGE
from support.daemonprocess import PATIENCE, MasterProcess, eventually, master_process

HELLO = b'{"method":"QueryConfigValues","args":[["cluster_name"]]}' + ETX


@pytest.fixture(scope="module")
def master() -> Iterator[MasterProcess]:
    with master_process() as process:
        (job,) = process.submit([{"OP_ID": "OP_TEST_DELAY", "duration": 0}])
        process.wait_for(job)
        eventually(lambda: process.idle_workers() >= 2)
        yield process
        assert process.stop() == 0


@pytest.fixture(autouse=True)
def daemon_is_unharmed(master: MasterProcess) -> Iterator[None]:
    """After each test the daemon answers others as quickly as before, and has kept nothing."""
    yield
    started = time.monotonic()
    assert master.client.call("QueryConfigValues", ["cluster_name"]) == ["cluster.example.com"]
    assert time.monotonic() - started < 1
    eventually(lambda: open_connections(master) <= 6, "the end of the connections")


def open_connections(master: MasterProcess) -> int:
    """How many clients and workers are connected: rows of proc(5) net/unix in state 03 at the daemon's sockets."""
    rows = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()]
    # The sockets were bound under temporary names.
    return len([row for row in rows if row[5] == "03" and row[-1].startswith(master.paths.sockets)])


class Raw:
    """A client that sends what it likes."""

    def __init__(self, master: MasterProcess) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(master.paths.luxi_socket)
        self.rest = b""

    def answer(self) -> Any:
        """The next answer: (success, result); None at the end."""
        while ETX not in self.rest:
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self.rest += data
        frame, _, self.rest = self.rest.partition(ETX)
        value = jsontext.loads(frame)
        return value["success"], value["result"]

    def ask(self, data: bytes) -> Any:
        self.socket.sendall(data)
        return self.answer()


@pytest.fixture
def raw(master: MasterProcess) -> Iterator[Raw]:
    client = Raw(master)
    yield client
    client.socket.close()


def test_daemon_is_ready_within_a_second() -> None:
    with master_process() as process:
        started = time.monotonic()
        process.client.call("QueryTags", "cluster", "")
        # Interpreter and imports included; the machine may be busy with other tests.
        assert time.monotonic() - started < 3


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\0" * 1000,
        b"\xff" * 1000,
        b"{}",
        b"null",
        b'"QueryTags"',
        b'{"method":"QueryTags"}',
        b'{"method":"QueryTags","args":"cluster"}',
        b'{"method":"QueryTags","args":[1,2,3,4]}',
        b'{"method":"QueryTags","args":[["cluster"]]}',
        b'{"method":"__init__","args":[]}',
        b'{"method":"query_tags","args":["cluster"]}',
        b'{"method":"SubmitJob","args":[[{"OP_ID":5}]]}',
        b'{"method":"SubmitJob","args":[{"OP_ID":"OP_TEST_DELAY"}]}',
        b'{"method":"CancelJob","args":[1e999]}',
        b'{"method":"WaitForJobChange","args":[-1,["status"]]}',
        b'{"method":"Query","args":["job",["id"],["&",["&",["&",["nonsense"]]]]]}',
        b"[" * 200_000,
        b'{"method":"Query","args":["job",["id"],' + b'["!",' * 100_000 + b"]}",
    ],
    ids=range(19),
)
def test_malformed_request_gets_an_error_that_says_something(raw: Raw, frame: bytes) -> None:
    success, result = raw.ask(frame + ETX)
    assert success is False
    name, arguments = result
    assert isinstance(name, str) and isinstance(arguments[0], str) and len(arguments[0]) > 10
    assert raw.ask(HELLO) == (True, ["cluster.example.com"])


def test_oversized_frame_is_refused_and_the_connection_ends(raw: Raw) -> None:
    chunk = b"x" * (1 << 20)
    try:
        for _ in range(MAX_MESSAGE // len(chunk) + 2):
            raw.socket.sendall(chunk)
    except BrokenPipeError:
        pass  # it need not read it all
    success, (_, (text,)) = raw.answer()
    assert success is False and "longer than" in text
    assert raw.answer() is None


def test_large_request_is_answered(raw: Raw) -> None:
    padding = b'"' + b"x" * (8 << 20) + b'"'
    success, _ = raw.ask(b'{"method":"QueryConfigValues","args":[[' + padding + b"]]}" + ETX)
    assert success is True


def test_clients_that_hang_up_halfway_leave_nothing_behind(master: MasterProcess) -> None:
    for cut in range(1, len(HELLO), 3):
        client = Raw(master)
        client.socket.sendall(HELLO[:cut])
        client.socket.close()


def test_client_that_sends_byte_by_byte_is_understood(raw: Raw) -> None:
    for position in range(len(HELLO)):
        raw.socket.sendall(HELLO[position : position + 1])
    assert raw.answer() == (True, ["cluster.example.com"])


def test_garbage_between_requests_of_one_connection_costs_only_itself(raw: Raw) -> None:
    raw.socket.sendall(HELLO + b"garbage" + ETX + HELLO + ETX + HELLO)
    answers = [raw.answer() for _ in range(5)]
    assert [success for success, _ in answers] == [True, False, True, False, True]


def test_random_garbage_never_harms(master: MasterProcess) -> None:
    chance = random.Random(20)
    for _ in range(50):
        client = Raw(master)
        pieces = [chance.randbytes(chance.randrange(2000)), HELLO[: chance.randrange(len(HELLO))], ETX]
        chance.shuffle(pieces)
        client.socket.sendall(b"".join(pieces))
        client.socket.shutdown(socket.SHUT_WR)
        while client.answer() is not None:
            pass
        client.socket.close()


def test_clients_that_never_read_harm_nobody(master: MasterProcess) -> None:
    clients = [Raw(master) for _ in range(20)]
    for client in clients:
        client.socket.setblocking(False)
        try:
            while True:
                client.socket.send(HELLO * 1000)
        except BlockingIOError:
            pass  # it is not read any further
    assert master.client.call("QueryConfigValues", ["cluster_name"]) == ["cluster.example.com"]
    for client in clients:
        client.socket.close()


def test_hundreds_of_connections_at_once_are_served(master: MasterProcess) -> None:
    clients = [Raw(master) for _ in range(300)]
    for client in clients:
        client.socket.sendall(HELLO)
    assert all(client.answer() == (True, ["cluster.example.com"]) for client in clients)
    for client in clients:
        client.socket.close()
