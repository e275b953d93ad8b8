"""The node agent as a process, with real TLS: what it answers, and that nothing else has any effect."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ganeti.base import x509
from ganeti.base.errors import NodeError, StaleEpoch
from ganeti.base.retry import wait_until
from ganeti.base.secret import Secret
from ganeti.node.ssconf import Ssconf
from ganeti.rpc.call import declared
from ganeti.rpc.node.blockdev import BlockdevApi, OsApi
from ganeti.rpc.node.instance import InstanceApi
from ganeti.rpc.node.node import HookResult, NodeApi
from ganeti.rpc.node.replies import RunState
from ganeti.rpc.nodes import EPOCH_HEADER
from support.agent import MASTER, NODE, NODE_NAME, AgentProcess, Cluster
from support.filled import filled_disk, filled_instance

EPOCH = 5
DISK = filled_disk("/srv/ganeti/file-storage/web/0")
WEB = filled_instance("web", os="noop", disks=(DISK,))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    return Cluster(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def shared_agent(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentProcess]:
    """One agent for all tests that leave it as it was."""
    with AgentProcess(tmp_path_factory.mktemp("node2"), cluster) as agent:
        agent.caller(EPOCH).call(NODE, NodeApi.version)
        yield agent


@pytest.fixture
def unharmed(shared_agent: AgentProcess) -> Iterator[AgentProcess]:
    """The shared agent, which afterwards has the same files as before, answers, and has logged no secret."""
    before = shared_agent.fingerprint()
    yield shared_agent
    assert shared_agent.caller(EPOCH).call(NODE, NodeApi.version).epoch == EPOCH
    assert shared_agent.fingerprint() == before


@pytest.fixture
def agent(cluster: Cluster, tmp_path: Path) -> Iterator[AgentProcess]:
    """An agent of the test's own."""
    with AgentProcess(tmp_path, cluster) as agent:
        yield agent


def post(agent: AgentProcess, call: str, body: Any, context: ssl.SSLContext | None = None, **headers: str) -> tuple[int, str]:
    """Send a request as a program of somebody's own would; returns status and body."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    context = context or agent.cluster.client_context(agent.cluster.master)
    with closing(http.client.HTTPSConnection("127.0.0.1", agent.port, timeout=20, context=context)) as link:
        link.request("POST", f"/{call}", data, {"Content-Type": "application/json", EPOCH_HEADER: str(EPOCH), **headers})
        response = link.getresponse()
        return response.status, response.read().decode()


# --- what is refused


def test_certificate_of_a_node_that_is_no_candidate_is_refused_for_every_call(unharmed: AgentProcess) -> None:
    context = unharmed.cluster.client_context(unharmed.cluster.certificate("node3.example.com"))
    for api in (NodeApi, InstanceApi, BlockdevApi, OsApi):
        for name in declared(api):
            status, text = post(unharmed, name, [], context)
            assert (status, "does not belong to a master candidate" in text) == (403, True)


def test_certificate_of_another_cluster_does_not_get_through_the_handshake(unharmed: AgentProcess, tmp_path: Path) -> None:
    other = Cluster(tmp_path / "other")
    context = unharmed.cluster.client_context(other.master)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        post(unharmed, "version", [], context)


def test_caller_without_a_certificate_does_not_get_through_the_handshake(unharmed: AgentProcess) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        post(unharmed, "version", [], unharmed.cluster.client_context(None))


def test_caller_without_tls_gets_nothing(unharmed: AgentProcess) -> None:
    with socket.create_connection(("127.0.0.1", unharmed.port), 20) as link:
        link.sendall(b"POST /version HTTP/1.1\r\nContent-Length: 2\r\n\r\n[]")
        assert link.recv(1000) == b""


def test_stale_epoch_is_refused_for_every_call(unharmed: AgentProcess) -> None:
    for api in (NodeApi, InstanceApi, BlockdevApi, OsApi):
        for name in declared(api):
            status, text = post(unharmed, name, [], **{EPOCH_HEADER: str(EPOCH - 1)})
            assert (status, json.loads(text)[0], json.loads(text)[1][0]) == (200, False, "StaleEpoch")


def test_replaced_master_learns_that_it_was_replaced(unharmed: AgentProcess) -> None:
    with pytest.raises(StaleEpoch, match=f"has seen epoch {EPOCH}"):
        unharmed.caller(EPOCH - 1).call(NODE, NodeApi.upload_file, "hmac.key", Secret("evil"))


@pytest.mark.parametrize("name", ["nothing", "__init__", "", "version/", "../version", "Version", "call?x=1", "%76ersion2"])
def test_unknown_call_is_refused(unharmed: AgentProcess, name: str) -> None:
    assert post(unharmed, name, [])[0] == 404


def test_oversized_body_is_refused_before_it_is_sent(unharmed: AgentProcess) -> None:
    status, text = post(unharmed, "write_ssconf", b"", **{"Content-Length": str(10**9)})
    assert (status, "at most" in text) == (413, True)


def test_oversized_body_that_is_really_sent_is_refused(unharmed: AgentProcess) -> None:
    status, _ = post(unharmed, "write_ssconf", [{"cluster_name": "x" * (9 << 20)}])
    assert status == 413


MALFORMED = [b"", b"{", b"null", b"[" * 100_000, b"\xff\xfe", b'[{"cluster_name": "evil"}']


@pytest.mark.parametrize("body", MALFORMED, ids=lambda body: repr(body[:9]))
def test_malformed_body_is_refused(unharmed: AgentProcess, body: bytes) -> None:
    assert post(unharmed, "write_ssconf", body)[0] == 400


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        ("write_ssconf", [{"cluster_name": 5}]),
        ("write_ssconf", [{"cluster_name": "x", "../../etc/passwd": "x"}]),
        ("upload_file", ["../server.pem", "x"]),
        ("upload_file", ["server.pem", "x"]),
        ("run_hooks", ["../..", "pre", {}]),
        ("file_storage_prepare", ["/etc/evil"]),
        ("file_storage_prepare", ["/srv/ganeti/file-storage/../../../evil"]),
        ("instance_stop", ["../../evil", "fake", 0.0, True]),
        ("store_replace", ["AAAA", 1]),
        ("blockdev_create", [{"uuid": "u", "dev_type": "file", "logical_id": ["loop", "/etc/evil"], "size": 1}, "web"]),
    ],
)
def test_evil_arguments_are_an_error_without_effect(unharmed: AgentProcess, call: str, arguments: list[Any]) -> None:
    status, text = post(unharmed, call, arguments)
    assert (status, json.loads(text)[0]) == (200, False)


def test_half_requests_do_not_keep_others_from_being_served(unharmed: AgentProcess) -> None:
    links = []
    context = unharmed.cluster.client_context(unharmed.cluster.master)
    try:
        for start in [b"", b"POST /version HTTP/1.1\r\n", b"POST /upload_file HTTP/1.1\r\nContent-Length: 60000000\r\n"] * 20:
            plain = socket.create_connection(("127.0.0.1", unharmed.port), 20)
            links.append(context.wrap_socket(plain))
            links[-1].sendall(start)
        begun = time.monotonic()
        unharmed.caller(EPOCH).call(NODE, NodeApi.version)
        assert time.monotonic() - begun < 5
    finally:
        for link in links:
            link.close()


def test_64_slow_callers_with_large_bodies_do_not_fill_the_memory(unharmed: AgentProcess) -> None:
    """Each announces 60 MB, sends one and stops: 3.8 GB if the agent believed them all."""
    links = []
    context = unharmed.cluster.client_context(unharmed.cluster.master)
    head = f"POST /upload_file HTTP/1.1\r\nHost: n\r\nContent-Type: application/json\r\n{EPOCH_HEADER}: {EPOCH}\r\n"
    assert unharmed.process is not None
    before = resident(unharmed.process.pid)
    try:
        for _ in range(64):
            plain = socket.create_connection(("127.0.0.1", unharmed.port), 20)
            links.append(context.wrap_socket(plain))
            links[-1].sendall(head.encode() + b"Content-Length: 60000000\r\n\r\n")
        for link in links:
            link.settimeout(0.05)
            try:
                for _ in range(16):
                    link.sendall(b" " * 65536)
            except TimeoutError:
                pass  # the agent does not read what it has no room for
        assert resident(unharmed.process.pid) - before < 120
        assert unharmed.caller(EPOCH).call(NODE, NodeApi.version).epoch == EPOCH
    finally:
        for link in links:
            link.close()


def resident(pid: int) -> int:
    """MiB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 >> 20


def test_log_holds_no_secret(agent: AgentProcess) -> None:
    caller = agent.caller()
    caller.call(NODE, NodeApi.upload_file, "hmac.key", Secret("hunter22"))
    for call in (
        lambda: caller.call(NODE, NodeApi.upload_file, "evil", Secret("hunter22")),
        lambda: caller.call(NODE, OsApi.os_create, WEB, False, {"password": "hunter22"}),
    ):
        with pytest.raises(NodeError):
            call()
    log = Path(agent.paths.log_file("ganeti-noded")).read_text()
    assert "upload_file" in log and MASTER in log
    assert "hunter22" not in log


# --- what it does


def test_instance_lives_and_survives_the_agent(agent: AgentProcess) -> None:
    nodes = agent.caller()
    nodes.call(NODE, BlockdevApi.file_storage_prepare, "/srv/ganeti/file-storage/web")
    nodes.call(NODE, BlockdevApi.blockdev_create, DISK, "web")
    nodes.call(NODE, BlockdevApi.blockdev_assemble, DISK, "web", True, 0)
    nodes.call(NODE, InstanceApi.instance_start, WEB)
    for kill in (False, True):
        agent.stop(kill=kill)
        agent.start()
        assert nodes.call(NODE, InstanceApi.instance_state, "web", "fake").state is RunState.RUNNING
    nodes.call(NODE, InstanceApi.instance_stop, "web", "fake", 0.0)
    nodes.call(NODE, BlockdevApi.blockdev_shutdown, DISK, "web", 0)
    nodes.call(NODE, BlockdevApi.blockdev_remove, DISK)
    assert nodes.call(NODE, BlockdevApi.blockdev_find, [DISK]) == [None]


def test_epoch_outlives_the_agent(agent: AgentProcess) -> None:
    agent.caller(8).call(NODE, NodeApi.version)
    agent.stop(kill=True)
    agent.start()
    with pytest.raises(StaleEpoch):
        agent.caller(7).call(NODE, NodeApi.version)


def test_new_candidate_may_call_at_once(agent: AgentProcess) -> None:
    certificate = agent.cluster.certificate("node3.example.com")
    with pytest.raises(NodeError, match="refuses to be commanded"):
        agent.caller(certificate=certificate).call(NODE, NodeApi.version)
    digest = x509.digest(Path(certificate).read_text())
    old = "\n".join(Ssconf(agent.paths).lines("master_candidates_certs"))
    agent.caller().call(NODE, NodeApi.write_ssconf, {"master_candidates_certs": f"{old}\nuuid-3={digest}"})
    assert agent.caller(certificate=certificate).call(NODE, NodeApi.version).hostname == NODE_NAME
    agent.caller(certificate=certificate).call(NODE, NodeApi.write_ssconf, {"master_candidates_certs": f"uuid-3={digest}"})
    with pytest.raises(NodeError, match="refuses to be commanded"):
        agent.caller().call(NODE, NodeApi.version)


def test_slow_calls_do_not_hold_up_quick_ones(agent: AgentProcess) -> None:
    threads = [threading.Thread(target=agent.caller().call, args=(NODE, NodeApi.test_delay, 1.0)) for _ in range(20)]
    for thread in threads:
        thread.start()
    caller = agent.caller()
    times = []
    while any(thread.is_alive() for thread in threads):
        begun = time.monotonic()
        caller.call(NODE, NodeApi.version)
        times.append(time.monotonic() - begun)
        time.sleep(0.02)
    assert len(times) > 10
    assert sorted(times)[len(times) // 2] < 0.1


class Background:
    """A call in a thread of its own; `outcome` is its result or error once it is over."""

    def __init__(self, agent: AgentProcess, method: Any, *args: Any) -> None:
        self.outcome: object = "still running"
        self._work = lambda: agent.caller().call(NODE, method, *args)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.outcome = self._work()
        except NodeError as err:
            self.outcome = err

    def join(self) -> object:
        self._thread.join()
        return self.outcome


def slow_hook(agent: AgentProcess, folder: Path, seconds: int) -> Background:
    """A hook that runs; its process id is in `folder`/pid."""
    hook = Path(agent.paths.hooks, "node-add-pre.d", "slow")
    hook.parent.mkdir(parents=True)
    hook.write_text(f"#!/bin/sh\necho $$ > {folder}/pid; sleep {seconds}\n")
    hook.chmod(0o755)
    call = Background(agent, NodeApi.run_hooks, "node-add", "pre", {})
    wait_until(lambda: (folder / "pid").exists() and (folder / "pid").read_text(), timeout=10, interval=0.02)
    return call


def test_agent_that_is_told_to_stop_finishes_what_runs(agent: AgentProcess, tmp_path: Path) -> None:
    call = slow_hook(agent, tmp_path, 1)
    begun = time.monotonic()
    assert agent.stop() == 0
    assert time.monotonic() - begun < 10
    assert call.join() == [HookResult("node-add-pre.d/slow", "success", "")]


def test_agent_does_not_wait_for_ever_for_a_call_that_hangs(agent: AgentProcess) -> None:
    call = Background(agent, NodeApi.test_delay, 100.0)
    time.sleep(0.5)
    begun = time.monotonic()
    assert agent.stop() == 0
    assert time.monotonic() - begun < 20
    assert isinstance(call.join(), NodeError)


def test_scripts_end_with_the_agent(agent: AgentProcess, tmp_path: Path) -> None:
    call = slow_hook(agent, tmp_path, 300)
    pid = int((tmp_path / "pid").read_text())
    assert agent.stop() == 0
    call.join()
    assert not Path(f"/proc/{pid}").exists()


def test_new_certificate_is_used_after_a_hangup(agent: AgentProcess) -> None:
    fresh = agent.cluster.certificate(NODE_NAME)
    digest = x509.digest(Path(fresh).read_text())
    assert presented(agent) != digest
    os.replace(fresh, agent.paths.node_certificate)
    assert agent.process is not None
    agent.process.send_signal(signal.SIGHUP)
    wait_until(lambda: presented(agent) == digest, timeout=5, interval=0.05)


def presented(agent: AgentProcess) -> str:
    """Digest of the certificate that the agent shows."""
    context = agent.cluster.client_context(agent.cluster.master)
    with socket.create_connection(("127.0.0.1", agent.port), 20) as plain, context.wrap_socket(plain) as link:
        der = link.getpeercert(binary_form=True)
        assert der is not None
        return x509.digest(ssl.DER_cert_to_PEM_cert(der))


def test_second_agent_does_not_start(agent: AgentProcess) -> None:
    second = AgentProcess(Path(agent.paths.root), agent.cluster)
    with pytest.raises(AssertionError, match="already running"):
        second.start()
    assert agent.caller().call(NODE, NodeApi.version).hostname == NODE_NAME


def test_host_without_certificates_is_no_node(agent: AgentProcess) -> None:
    agent.stop()
    os.unlink(agent.paths.node_certificate)
    with pytest.raises(AssertionError, match="this host is not in a cluster"):
        agent.start()
