"""The LUXI client against a real socket with a small server behind it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ganeti.base import errors
from ganeti.base.paths import Paths
from ganeti.rpc import frames
from ganeti.rpc.luxi_client import LuxiClient

HANG_UP = object()
Handler = Callable[[str, list[Any]], Any]


class Server:
    """Answers on a socket with what a function of (method, arguments) returns; `HANG_UP` closes the connection instead."""

    def __init__(self, path: str, handler: Handler) -> None:
        self.handler = handler
        self.seen: list[str] = []
        self.connections = 0
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        Path(path).unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen()
        self._start(self._accept)

    def _start(self, function: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=function, args=args)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._sockets.append(sock)
            self._start(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        end = frames.FrameSocket(sock)
        try:
            while True:
                method, args = frames.parse_request(end.receive())
                self.seen.append(method)
                try:
                    answer = self.handler(method, args)
                    if answer is HANG_UP:
                        break
                    end.send(frames.success(answer))
                except errors.GanetiError as err:
                    end.send(frames.failure(err))
        except errors.Unreachable:
            pass
        sock.close()

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._sockets:
            if sock.fileno() >= 0:
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for sock in self._sockets:
            sock.close()


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = Paths(str(tmp_path), "node1.example.com")
    os.makedirs(paths.sockets)
    os.makedirs(paths.data)
    Path(paths.ssconf("master_node")).write_text("node1.example.com\n")
    return paths


@pytest.fixture
def serve(paths: Paths) -> Iterator[Callable[[Handler], Server]]:
    started: list[Server] = []

    def start(handler: Handler) -> Server:
        started.append(Server(paths.luxi_socket, handler))
        return started[-1]

    yield start
    for server in started:
        server.stop()


def test_calls_share_one_connection(paths: Paths, serve: Callable[[Handler], Server]) -> None:
    server = serve(lambda method, args: [method, *args])
    with LuxiClient(paths) as client:
        assert client.call("Echo", 1, {"a": None}) == ["Echo", 1, {"a": None}]
        assert client.query_config_values(["cluster_name"]) == ["QueryConfigValues", ["cluster_name"]]
    assert server.connections == 1


def test_error_of_the_daemon_is_raised(paths: Paths, serve: Callable[[Handler], Server]) -> None:
    def refuse(method: str, args: list[Any]) -> Any:
        raise errors.PrereqError("node 'x' is not known", errors.Code.NOENT)

    server = serve(refuse)
    with LuxiClient(paths) as client:
        for _ in range(2):
            with pytest.raises(errors.PrereqError, match="'x'"):
                client.query_nodes(["x"], ["name"])
    assert server.connections == 1


def test_typed_methods_send_the_wire_names_and_arguments(paths: Paths, serve: Callable[[Handler], Server]) -> None:
    answers = {
        "SubmitJob": 7,
        "SubmitManyJobs": [[True, 8], [False, "no"]],
        "CancelJob": [True, "done"],
        "AutoArchiveJobs": [1, 2],
    }
    calls: list[list[Any]] = []

    def answer(method: str, args: list[Any]) -> Any:
        calls.append([method, *args])
        return answers.get(method)

    serve(answer)
    with LuxiClient(paths) as client:
        assert client.submit_job([{"OP_ID": "OP_X"}]) == 7
        assert client.submit_many_jobs([[], []]) == [(True, 8), (False, "no")]
        assert client.cancel_job(7) == (True, "done")
        assert client.auto_archive_jobs(-1, 5) == (1, 2)
        assert client.wait_for_job_change(7, ["status"]) is None
    assert calls == [
        ["SubmitJob", [{"OP_ID": "OP_X"}]],
        ["SubmitManyJobs", [[], []]],
        ["CancelJob", 7, False],
        ["AutoArchiveJobs", -1, 5],
        ["WaitForJobChange", 7, ["status"], None, None, 89.0],
    ]


def test_lost_answer_is_asked_for_again(paths: Paths, serve: Callable[[Handler], Server]) -> None:
    lost = 7
    answers = [*[HANG_UP] * lost, ["here"]]
    server = serve(lambda method, args: answers.pop(0))
    with LuxiClient(paths) as client:
        assert client.query_config_values([]) == ["here"]
    assert server.seen == ["QueryConfigValues"] * (lost + 1)


def test_submission_is_never_repeated(paths: Paths, serve: Callable[[Handler], Server]) -> None:
    server = serve(lambda method, args: HANG_UP)
    with LuxiClient(paths) as client, pytest.raises(errors.Unreachable, match="gnt-job list"):
        client.submit_job([])
    assert server.seen == ["SubmitJob"]


def test_submission_on_a_connection_that_died_before_is_sent(paths: Paths, serve: Callable[[Handler], Server]) -> None:
    first = serve(lambda method, args: 1)
    with LuxiClient(paths) as client:
        assert client.submit_job([]) == 1
        first._sockets[0].shutdown(socket.SHUT_RDWR)
        assert client.submit_job([]) == 1
    assert first.connections == 2


def test_client_survives_a_restart_of_the_daemon(paths: Paths, serve: Callable[[Handler], Server]) -> None:
    first = serve(lambda method, args: [1])
    with LuxiClient(paths) as client:
        assert client.query_config_values([]) == [1]
        first._listener.shutdown(socket.SHUT_RDWR)
        first._sockets[0].shutdown(socket.SHUT_RDWR)
        timer = threading.Timer(0.05, lambda: serve(lambda method, args: [2]))
        timer.start()
        assert client.query_config_values([]) == [2]
        timer.join()


def test_silent_daemon_is_a_timeout(paths: Paths, serve: Callable[[Handler], Server]) -> None:
    released = threading.Event()
    serve(lambda method, args: released.wait(5))
    with LuxiClient(paths, read_timeout=0.02) as client, pytest.raises(errors.Timeout, match="master daemon"):
        client.query_cluster_info()
    released.set()


def test_garbage_from_the_daemon_is_a_protocol_error(paths: Paths) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(paths.luxi_socket)
        listener.listen()
        with LuxiClient(paths) as client:
            connected = client._connected()  # so that the garbage can be there first
            peer, _ = listener.accept()
            peer.send(b"garbage\x03")
            with pytest.raises(errors.ProtocolError):
                client.call("Query")
            assert connected.fileno() == -1
            peer.close()


def test_master_without_a_daemon_is_told_after_waiting(paths: Paths) -> None:
    with LuxiClient(paths, connect_timeout=0.05) as client, pytest.raises(errors.Unreachable, match="see whether") as told:
        client.query_cluster_info()
    assert told.value.message.endswith(paths.log_file("ganeti-masterd"))


@pytest.mark.parametrize(("own", "recorded"), [("node1", "node1.example.com"), ("NODE1.example.com", "node1.example.com")])
def test_master_is_known_by_its_short_name(paths: Paths, own: str, recorded: str) -> None:
    Path(paths.ssconf("master_node")).write_text(recorded + "\n")
    client = LuxiClient(Paths(paths.root, own), connect_timeout=0.01)
    with pytest.raises(errors.Unreachable):
        client.query_cluster_info()


def test_other_node_is_told_who_is_master(paths: Paths) -> None:
    client = LuxiClient(Paths(paths.root, "node2.example.com"))
    with pytest.raises(errors.NotMaster, match=r"run the command on node1\.example\.com"):
        client.query_cluster_info()


def test_host_outside_of_any_cluster_is_told(tmp_path: Path) -> None:
    with pytest.raises(errors.NoCluster, match="gnt-cluster init"):
        LuxiClient(Paths(str(tmp_path), "node1")).query_cluster_info()


def test_user_who_may_not_look_is_told_to_be_root(tmp_path: Path) -> None:
    paths = Paths(str(tmp_path), "node1")
    os.makedirs(paths.data, 0o000)
    before = os.geteuid()
    try:
        if before == 0:
            os.seteuid(65534)
        with pytest.raises(errors.Unreachable, match="no permission .*run the command as root"):
            LuxiClient(paths).query_cluster_info()
    finally:
        os.seteuid(before)
        os.chmod(paths.data, 0o700)


def test_client_starts_without_heavy_modules() -> None:
    code = "import sys, ganeti.rpc.luxi_client, ganeti.base.paths; print(*sys.modules)"
    env = {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-S", "-c", code], env=env, capture_output=True, text=True, check=True)
    heavy = {"typing", "dataclasses", "inspect", "socket", "asyncio", "hashlib", "ganeti.base.codec", "ganeti.model"}
    assert heavy.isdisjoint(done.stdout.split())
