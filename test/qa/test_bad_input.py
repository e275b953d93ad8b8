"""Whatever is asked wrongly gets one clear error and changes nothing: commands, frames, certificates, other clusters.

Two clusters share one network here: node1 and node2 are the one that is tested, node3 and node4 are another one.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import psutil
import pytest

from ganeti.base import x509
from ganeti.base.retry import wait_until
from ganeti.rpc.frames import ETX, MAX_MESSAGE
from ganeti.rpc.nodes import EPOCH_HEADER, PORT
from ganeti.tools.devcluster import product
from support.qacluster import QaCluster, running

pytestmark = pytest.mark.root

OTHER = "node3"
"""Master of the other cluster."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[QaCluster]:
    with running(size=4, bare=True) as made:
        _first, second, third, fourth = made.plan.nodes
        made.ok(*product.build_init(made.plan), timeout=300)
        made.ok(*product.build_add(second))
        other = product.build_init(made.plan)
        made.ok(*other[:-1], f"i9.{made.name}", node=third.short, timeout=300)
        give_key(made, third.short, fourth.short)
        made.ok(*product.build_add(fourth), node=third.short)
        made.add_instance("i0")
        yield made


def give_key(cluster: QaCluster, source: str, target: str) -> None:
    """Let root of one machine log in at another: devcluster gives that right to the first machine only."""
    key = next(Path(cluster.paths(source).ssh_directory).glob("id_*.pub")).read_text()
    with (Path(cluster.paths(target).ssh_directory) / "authorized_keys").open("a") as stream:
        stream.write(key)


@contextmanager
def nothing_changes(cluster: QaCluster) -> Iterator[None]:
    """The block leaves configuration, disks, guests, locks and daemons as they were, and no job behind."""

    def state() -> tuple[Any, ...]:
        daemons = [cluster.daemon("masterd"), cluster.daemon("masterd", OTHER)]
        return cluster.objects(), cluster.objects(OTHER), cluster.traces(), daemons

    before = state()
    yield
    assert state() == before
    assert not [job.id for job in cluster.jobs() if not job.status.is_final]


def log_of_master(cluster: QaCluster) -> str:
    return Path(cluster.paths().log_file("ganeti-masterd")).read_text()


# --- commands


def add(*words: str) -> list[str]:
    """A command that creates an instance, with what is wrong put last."""
    return ["gnt-instance", "add", "-t", "sharedfile", "-s", "8m", "-o", "noop", "-n", "node1", *words]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (add("-n", "node9", "i1"), ["node9", "not known"]),
        (["gnt-instance", "migrate", "-f", "-n", "node9", "i0"], ["node9", "not known"]),
        (["gnt-instance", "failover", "-f", "-n", "node9", "i0"], ["node9", "not known"]),
        (["gnt-node", "modify", "--drained=yes", "node9"], ["node9", "not known"]),
        (["gnt-node", "remove", "node9"], ["node9", "not known"]),
        (["gnt-node", "info", "node9"], ["node9", "not known"]),
        (["gnt-node", "list", "node9"], ["node9", "not known"]),
        (["gnt-instance", "startup", "i7"], ["i7", "not known"]),
        (["gnt-instance", "list", "i7"], ["i7", "not known"]),
        (["gnt-instance", "info", "i7"], ["i7", "not known"]),
        (["gnt-node", "add", "nowhere.example"], ["nowhere.example", "resolve"]),
        (add("--name-check", "nowhere.example"), ["nowhere.example", "resolve"]),
        (add("i0"), ["i0", "exists already"]),
        (add("-B", "memory=30000m", "i1"), ["node1", "memory", "30000"]),
        (add("-B", "memory=100g", "i1"), ["memory-size", "102400"]),
        (add("-s", "2t", "i1"), ["disk-size", "2097152"]),
        (add("-t", "plain", "i1"), ["plain", "not enabled"]),
        (add("-t", "drbd", "i1"), ["drbd", "not enabled"]),
        (add("-t", "paper", "i1"), ["paper"]),
        (add("-o", "nothere", "i1"), ["nothere", "node1"]),
        (add("-H", "kvm", "i1"), ["kvm"]),
        (add("-B", "legs=4", "i1"), ["legs"]),
        (add("-B", "vcpus=many", "i1"), ["vcpus", "many"]),
        (add("-s", "some", "i1"), ["some"]),
        (add("--net", "0:link=br7", "i1"), ["br7"]),
        (add("--net", "0:mac=xy", "i1"), ["xy"]),
        (add("bad_name!"), ["bad_name!"]),
        (["gnt-instance", "migrate", "-f", "-n", "node1", "i0"], ["node1"]),
        (["gnt-node", "remove", "node1"], ["node1", "master"]),
        (["gnt-node", "modify", "--offline=yes", "node1"], ["node1", "master"]),
        (["gnt-node", "modify", "node2"], ["nothing is to be changed"]),
        (["gnt-node", "add", "--no-ssh-key-check", "node2"], ["node2", "already"]),
        (["gnt-debug", "delay", "soon"], ["soon"]),
        (["gnt-debug", "delay", "--", "-1"], ["-1"]),
        (["gnt-job", "info", "seven"], ["seven"]),
    ],
    ids=lambda value: " ".join(value[1:]) if isinstance(value, list) and value[0].startswith("gnt") else "",
)
def test_wrong_command_gets_one_error_and_changes_nothing(cluster: QaCluster, argv: list[str], words: list[str]) -> None:
    with nothing_changes(cluster):
        error = cluster.fails(*argv)
    assert all(word in error for word in words), error


# --- other clusters


def test_host_key_that_is_not_known_is_refused(cluster: QaCluster) -> None:
    with nothing_changes(cluster):
        assert "host key of node4" in cluster.fails("gnt-node", "add", "node4", status=12)


@pytest.mark.parametrize(
    ("name", "words"),
    [("node3", ["node3", "master of cluster"]), ("node4", ["node4", "node of cluster", "remove it there"])],
)
def test_node_of_another_cluster_is_not_added(cluster: QaCluster, name: str, words: list[str]) -> None:
    give_key(cluster, "node1", name)
    with nothing_changes(cluster):
        error = cluster.fails("gnt-node", "add", "--no-ssh-key-check", name, status=12)
    assert all(word in error for word in [*words, f"i9.{cluster.name}"]), error


@contextmanager
def agent_of_the_other_cluster(cluster: QaCluster) -> Iterator[None]:
    """At the address of node2 answers an agent with the certificates of node4."""
    ours, theirs = cluster.paths("node2"), cluster.paths("node4")
    files = [(ours.node_certificate, theirs.node_certificate), (ours.ca_certificate, theirs.ca_certificate)]
    cluster.kill_daemon("noded", "node2")
    for mine, other in files:
        shutil.copy2(mine, mine + ".kept")
        shutil.copy2(other, mine)
    try:
        cluster.start_daemon("noded", "node2")
        yield
    finally:
        cluster.kill_daemon("noded", "node2")
        for mine, _other in files:
            os.replace(mine + ".kept", mine)
        cluster.start_daemon("noded", "node2")


def test_agent_of_another_cluster_is_not_talked_to(cluster: QaCluster) -> None:
    log = Path(cluster.paths("node2").log_file("ganeti-noded"))
    with agent_of_the_other_cluster(cluster):
        before = len(log.read_text())
        with nothing_changes(cluster):
            error = cluster.fails(*add("-n", "node2", "i1"))
            assert "node2" in error and "certificate" in error, error
            assert cluster.cell("node", "node2", "mfree") == "?"
            verify = cluster.run("gnt-cluster", "verify")
            assert verify.status == 1 and "certificate" in verify.out, str(verify)
        assert ": ok" not in log.read_text()[before:]
    wait_until(lambda: cluster.cell("node", "node2", "mfree") != "?", timeout=10, interval=0.1, what="node2 to be back")
    cluster.ok("gnt-cluster", "verify")


# --- certificates


def context(certificate: str | None) -> ssl.SSLContext:
    """A caller that believes anybody, so that only the agent's opinion counts."""
    result = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    result.check_hostname = False
    result.verify_mode = ssl.CERT_NONE
    if certificate:
        result.load_cert_chain(certificate)
    return result


def post(cluster: QaCluster, certificate: str | None, call: str = "version", body: Any = (), node: str = "node1") -> int:
    """HTTP status of a node call; 0 if the agent hung up instead."""
    address = cluster.node(node).address
    connection = http.client.HTTPSConnection(address, PORT, timeout=20, context=context(certificate))
    try:
        headers = {"Content-Type": "application/json", EPOCH_HEADER: "1"}
        connection.request("POST", f"/{call}", json.dumps(body), headers)
        return connection.getresponse().status
    except (ssl.SSLError, OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def test_agent_answers_the_certificate_of_a_candidate(cluster: QaCluster) -> None:
    assert post(cluster, cluster.paths("node2").node_certificate) == 200


def test_agent_hangs_up_without_a_certificate_and_with_a_wrong_one(cluster: QaCluster, tmp_path: Path) -> None:
    forged = tmp_path / "forged.pem"
    authority = x509.create_authority(cluster.plan.cluster_name, 10)
    name = cluster.node("node1").name
    key, request = x509.create_request(name)
    forged.write_text(key + x509.sign_request(authority, request, name, 10, [name]))
    with nothing_changes(cluster):
        assert post(cluster, None) == 0
        assert post(cluster, str(forged)) == 0
        assert post(cluster, cluster.paths("node3").node_certificate) == 0
        assert post(cluster, cluster.paths("node4").node_certificate) == 0


def test_agent_refuses_a_node_that_is_no_candidate(cluster: QaCluster, tmp_path: Path) -> None:
    cluster.ok("gnt-node", "modify", "--master-candidate=no", "--force", "node2")
    try:
        wait_until(
            lambda: post(cluster, cluster.paths("node2").node_certificate) == 403,
            timeout=10,
            interval=0.1,
            what="node1 to know that node2 is no candidate",
        )
    finally:
        cluster.ok("gnt-node", "modify", "--master-candidate=yes", "node2")
    wait_until(
        lambda: post(cluster, cluster.paths("node2").node_certificate) == 200, timeout=10, interval=0.1, what="node2's rights"
    )


def test_agent_refuses_unknown_calls_and_wrong_arguments(cluster: QaCluster) -> None:
    certificate = cluster.paths("node2").node_certificate
    with nothing_changes(cluster):
        assert post(cluster, certificate, "no_such_call") == 404
        assert post(cluster, certificate, "version", {"not": "a list"}) == 400
        assert post(cluster, certificate, "version", ["x" * 9 * 1024 * 1024]) in (0, 413)


def test_master_that_was_replaced_is_refused_by_its_epoch(cluster: QaCluster) -> None:
    connection = http.client.HTTPSConnection(
        cluster.node("node2").address, PORT, timeout=20, context=context(cluster.paths("node1").node_certificate)
    )
    headers = {"Content-Type": "application/json", EPOCH_HEADER: "0"}
    connection.request("POST", "/version", "[]", headers)
    answer = json.loads(connection.getresponse().read())
    connection.close()
    assert answer[0] is False and answer[1][0] == "StaleEpoch", answer


# --- frames


class Raw:
    """A client of the LUXI socket that obeys no rules."""

    def __init__(self, cluster: QaCluster) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(30)
        self._socket.connect(cluster.paths().luxi_socket)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def ask(self, data: bytes) -> Any:
        """The answer to a frame; None if the daemon hung up."""
        self.send(data + ETX)
        return self.receive()

    def receive(self) -> Any:
        data = b""
        while not data.endswith(ETX):
            chunk = self._socket.recv(65536)
            if not chunk:
                return None
            data += chunk
        return json.loads(data[:-1])


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xff\xfe\x00",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"{}",
        b'{"method": 7, "args": []}',
        b'{"method": "QueryJobs"}',
        b'{"method": "QueryJobs", "args": {}}',
        b'{"method": "QueryJobs", "args": [1, 2, 3, 4]}',
        b'{"method": "NoSuchMethod", "args": []}',
        b'{"method": "__class__", "args": []}',
        b'{"method": "SubmitJob", "args": []}',
        b'{"method": "SubmitJob", "args": [[]]}',
        b'{"method": "SubmitJob", "args": ["text"]}',
        b'{"method": "SubmitJob", "args": [[{}]]}',
        b'{"method": "SubmitJob", "args": [[{"OP_ID": "OP_NO_SUCH"}]]}',
        b'{"method": "SubmitJob", "args": [[{"OP_ID": "OP_TEST_DELAY"}]]}',
        b'{"method": "SubmitJob", "args": [[{"OP_ID": "OP_TEST_DELAY", "duration": "long"}]]}',
        b'{"method": "SubmitJob", "args": [[{"OP_ID": "OP_TEST_DELAY", "duration": 0, "frobnicate": true}]]}',
        b'{"method": "SubmitJob", "args": [[{"OP_ID": "OP_TEST_DELAY", "duration": 0, "priority": 99}]]}',
        b'{"method": "Query", "args": ["nothing", ["name"], null]}',
        b'{"method": "Query", "args": ["node", ["name"], ["==", "name"]]}',
        b'{"method": "Query", "args": ["node", ["name"], ["=~", "name", "("]]}',
        b'{"method": "WaitForJobChange", "args": [99999, ["status"], null, null, 1e99]}',
        b'{"method": "QueryJobs", "args": [[1e400], ["id"]]}',
        b"[" * 100000,
        b'{"a":' * 100000,
    ],
    ids=lambda value: value[:70].decode(errors="replace").replace("\x00", ""),
)
def test_wrong_frame_gets_one_error(cluster: QaCluster, frame: bytes) -> None:
    jobs = len(cluster.jobs())
    with nothing_changes(cluster), Raw(cluster) as client:
        answer = client.ask(frame)
        if answer is None or answer["success"]:
            assert b"WaitForJobChange" in frame and answer["result"] in (None, []), answer  # unknown jobs have no news
        else:
            name, args = answer["result"]
            assert name and args and "Traceback" not in json.dumps(args), answer
    assert len(cluster.jobs()) == jobs
    assert "Traceback" not in log_of_master(cluster)


def test_several_wrong_frames_do_not_end_the_conversation(cluster: QaCluster) -> None:
    with Raw(cluster) as client:
        assert client.ask(b"nonsense")["success"] is False
        assert client.ask(b'{"method": "NoSuchMethod", "args": []}')["success"] is False
        assert client.ask(b'{"method": "QueryConfigValues", "args": [["cluster_name"]]}') == {
            "success": True,
            "result": [cluster.plan.cluster_name],
        }


def test_oversized_frame_is_refused_and_costs_little_memory(cluster: QaCluster) -> None:
    pid = cluster.daemon("masterd")
    assert pid is not None
    process = psutil.Process(pid)
    with nothing_changes(cluster), Raw(cluster) as client:
        before = process.memory_info().rss
        sent, chunk = 0, b"x" * (1024 * 1024)
        try:
            while sent <= MAX_MESSAGE + 8 * len(chunk):
                client.send(chunk)
                sent += len(chunk)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it need not listen to the end
        assert cluster.ok("gnt-cluster", "getmaster").status == 0
        answer = client.receive()
        assert answer["success"] is False and "longer" in json.dumps(answer["result"]), answer
        assert client.receive() is None
    assert process.memory_info().rss - before < 2 * MAX_MESSAGE


def test_clients_that_hang_up_halfway_disturb_nobody(cluster: QaCluster) -> None:
    whole = b'{"method": "QueryConfigValues", "args": [["cluster_name"]]}' + ETX
    with nothing_changes(cluster):
        for length in (0, 1, len(whole) // 2, len(whole) - 1):
            with Raw(cluster) as client:
                client.send(whole[:length])
        for _attempt in range(50):
            with Raw(cluster) as client:
                client.send(whole)  # and never reads the answer
        with Raw(cluster) as waiting:
            waiting.send(b'{"method": "WaitForJobChange", "args": [1, ["status"], ["success"], 99, 60]}' + ETX)
    assert cluster.call("QueryConfigValues", ["cluster_name"]) == [cluster.plan.cluster_name]
    assert "Traceback" not in log_of_master(cluster)


def test_slow_client_does_not_hold_up_others(cluster: QaCluster) -> None:
    with Raw(cluster) as slow:
        slow.send(b'{"method": "QueryJo')
        cluster.ok("gnt-instance", "list")
        slow.send(b'bs", "args": [[1], ["id"]]}')
        slow.send(ETX)
        assert slow.receive()["result"] == [[1]]


def test_job_whose_client_hung_up_is_done_once(cluster: QaCluster) -> None:
    before = {job.id for job in cluster.jobs()}
    request = {"method": "SubmitJob", "args": [[{"OP_ID": "OP_TEST_DELAY", "duration": 0, "comment": "gone"}]]}
    with Raw(cluster) as client:
        client.send(json.dumps(request).encode() + ETX)

    def fresh() -> list[int]:
        return [job.id for job in cluster.jobs() if job.id not in before and job.status.is_final]

    wait_until(fresh, timeout=10, interval=0.02, what="the job to be done")
    assert len(fresh()) == 1


def test_job_that_depends_on_one_that_never_was_fails(cluster: QaCluster) -> None:
    op = {"OP_ID": "OP_TEST_DELAY", "duration": 0, "depends": [[99999, ["success"]]]}
    job = cluster.wait_for_job(cluster.call("SubmitJob", [op]))
    assert job.status == "error" and "99999" in str(job.ops[0].result)


def test_commands_to_a_master_that_does_not_run_say_so(cluster: QaCluster) -> None:
    """Only a short wait is tested here: the real one is half a minute, since the daemon may just be restarted."""
    from ganeti.base.errors import Unreachable
    from ganeti.rpc.luxi_client import LuxiClient

    cluster.kill_daemon("masterd")
    try:
        client = LuxiClient(cluster.paths(), connect_timeout=0.2)
        with pytest.raises(Unreachable, match="ganeti-masterd"):
            client.call("QueryConfigValues", ["cluster_name"])
    finally:
        cluster.start_daemon("masterd")
    assert cluster.cell("instance", "i0", "status") == "running"


def test_second_master_daemon_on_the_same_node_ends_with_an_error(cluster: QaCluster) -> None:
    before = cluster.daemon("masterd")
    error = cluster.fails("ganeti-masterd")
    assert "already" in error or "running" in error, error
    assert cluster.daemon("masterd") == before


def test_master_daemon_does_not_start_on_another_node(cluster: QaCluster) -> None:
    assert cluster.node("node1").name in cluster.fails("ganeti-masterd", node="node2", status=11)
