"""``ganeti-node-setup`` on a host that is a directory: the real program, real keys, a real agent in the end."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ganeti
from ganeti.base import daemon, files, net, ssh, x509
from ganeti.base.paths import Paths
from ganeti.node.ssconf import Ssconf
from ganeti.rpc.http import HttpsNodeCaller
from ganeti.rpc.node.node import NodeApi
from ganeti.rpc.nodes import NodeTarget
from ganeti.rpc.tls import Credentials
from support.agent import NODE, NODE_NAME, Cluster

PROGRAM = os.path.join(os.path.dirname(sys.executable), "ganeti-node-setup")
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBmF0qJ1yYuyCGJWZ8pBf0H1cCzG0Hq0mKp6Sxk0dPpD root@node1"


class Host:
    """A host below a root of its own."""

    def __init__(self, root: Path) -> None:
        self.paths = Paths(str(root), NODE_NAME)
        self.port = net.free_port()
        files.ensure_directory(self.paths.ssh_host_keys)
        ssh.generate_key(self.paths.ssh_host_keys + "/ssh_host_ed25519_key", "ed25519")

    def run(self, **request: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PROGRAM],
            input=json.dumps(request),
            env={"PATH": os.environ["PATH"], **self.paths.environment()},
            capture_output=True,
            text=True,
            check=False,
        )

    def ask(self, **request: Any) -> dict[str, Any]:
        result = self.run(**request)
        assert result.returncode == 0, result.stderr
        answer: dict[str, Any] = json.loads(result.stdout)
        return answer

    def refusal(self, **request: Any) -> str:
        result = self.run(**request)
        assert result.returncode == 12
        assert result.stdout == ""
        return result.stderr

    def prepare(self, cluster: Cluster, **options: Any) -> dict[str, Any]:
        return self.ask(action="prepare", cluster_name=cluster.name, node_name=NODE_NAME, **options)

    def join_request(self, cluster: Cluster, csr: str, **changes: Any) -> dict[str, Any]:
        certificate = x509.sign_request(cluster.authority, csr, NODE_NAME, 10, [NODE_NAME])
        request = {
            "action": "join",
            "cluster_name": cluster.name,
            "node_name": NODE_NAME,
            "ca_certificate": cluster.authority.cert_pem,
            "certificate": certificate,
            "ssconf": cluster.ssconf(),
            "files": {"known_hosts": "cluster ssh-ed25519 AAAA\n"},
            "authorized_keys": [KEY],
            "epoch": 3,
            "port": self.port,
        }
        return {**request, **changes}

    def agent_runs(self) -> bool:
        return daemon.read_pid(self.paths.pid_file("ganeti-noded")) is not None

    def caller(self, cluster: Cluster) -> HttpsNodeCaller:
        target = NodeTarget(NODE_NAME, "127.0.0.1")
        return HttpsNodeCaller(lambda node: target, Credentials(cluster.master, cluster.ca_file), lambda: 3, self.port)

    def content(self) -> dict[str, bytes]:
        """Everything that makes a host a node."""
        found = {path: path.read_bytes() for path in Path(self.paths.data).iterdir()} if os.path.isdir(self.paths.data) else {}
        keys = Path(self.paths.ssh_directory, "authorized_keys")
        return {str(path): data for path, data in found.items()} | ({str(keys): keys.read_bytes()} if keys.exists() else {})


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path / "node2")
    yield host
    daemon.stop_daemon(host.paths.pid_file("ganeti-noded"))


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path / "ca")


def test_prepared_host_tells_who_it_is_and_keeps_its_key(host: Host, cluster: Cluster) -> None:
    answer = host.prepare(cluster)
    assert (answer["version"], answer["hostname"], answer["in_cluster"]) == (ganeti.__version__, NODE_NAME, None)
    assert answer["ssh_host_key"].startswith("ssh-ed25519 ")
    assert answer["ssh_root_key"].startswith("ssh-rsa ")
    key = Path(host.paths.node_certificate + ".key-new")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert "PRIVATE" not in json.dumps(answer)
    assert host.prepare(cluster)["ssh_root_key"] == answer["ssh_root_key"]


def test_host_becomes_a_node_and_leaves_again(host: Host, cluster: Cluster) -> None:
    csr = host.prepare(cluster)["csr"]
    answer = host.ask(**host.join_request(cluster, csr))
    assert answer["certificate_digest"] == x509.digest(files.read_text(host.paths.node_certificate))
    found = host.caller(cluster).call(NODE, NodeApi.version)
    assert (found.hostname, found.epoch) == (NODE_NAME, 3)
    assert stat.S_IMODE(os.stat(host.paths.node_certificate).st_mode) == 0o600
    assert KEY in Path(host.paths.ssh_directory, "authorized_keys").read_text()
    assert not os.path.exists(host.paths.node_certificate + ".key-new")
    left = host.ask(action="leave", cluster_name=cluster.name, authorized_keys=[KEY])
    assert left == {"hostname": NODE_NAME, "left": cluster.name, "agent_stopped": True}
    assert not host.agent_runs()
    assert list(host.content().values()) == [b""]
    assert host.ask(action="leave")["agent_stopped"] is False


def test_node_that_was_told_to_leave_stops_by_itself(host: Host, cluster: Cluster) -> None:
    host.ask(**host.join_request(cluster, host.prepare(cluster)["csr"]))
    host.caller(cluster).call(NODE, NodeApi.node_leave)
    daemon.stop_daemon(host.paths.pid_file("ganeti-noded"))
    assert Ssconf(host.paths).value("cluster_name") is None
    assert not os.path.exists(host.paths.node_certificate)


def test_node_joins_anew_while_its_agent_runs(host: Host, cluster: Cluster) -> None:
    host.ask(**host.join_request(cluster, host.prepare(cluster)["csr"], epoch=9))
    answer = host.prepare(cluster)
    assert answer["in_cluster"] == cluster.name
    host.ask(**host.join_request(cluster, answer["csr"]))
    assert host.agent_runs()
    assert Path(host.paths.epoch).read_text() == "9\n"


def test_node_of_another_cluster_is_kept_from_joining_unless_forced(host: Host, cluster: Cluster, tmp_path: Path) -> None:
    other = Cluster(tmp_path / "other", "other.example.com")
    host.ask(**host.join_request(cluster, host.prepare(cluster)["csr"], epoch=9))
    before = host.content()
    refused = host.refusal(action="prepare", cluster_name=other.name, node_name=NODE_NAME)
    assert f"this host is a node of cluster {cluster.name}" in refused
    assert host.content() == before
    Path(host.paths.store).write_text("replica of the first cluster")
    host.ask(**host.join_request(other, host.prepare(other, force=True)["csr"]))
    assert host.caller(other).call(NODE, NodeApi.version).epoch == 3
    assert not os.path.exists(host.paths.store)
    assert not [path for path in host.content() if "before-join" in path]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"certificate": "rubbish"}, "certificate"),
        ({"ssconf": {"cluster_name": "cluster.example.com"}}, "master_candidates_certs"),
        ({"files": {"../../evil": "x"}}, "is not a file that the master may replace"),
        ({"files": {"server.pem": "x"}}, "is not a file that the master may replace"),
        ({"authorized_keys": ["not a key"]}, "not a public SSH key"),
    ],
    ids=str,
)
def test_failed_join_leaves_the_host_as_it_was(host: Host, cluster: Cluster, changes: dict[str, Any], reason: str) -> None:
    csr = host.prepare(cluster)["csr"]
    before = host.content()
    assert reason in host.refusal(**host.join_request(cluster, csr, **changes))
    assert host.content() == before
    assert not host.agent_runs()


def test_agent_that_does_not_come_up_undoes_the_join(host: Host, cluster: Cluster) -> None:
    csr = host.prepare(cluster)["csr"]
    before = host.content()
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        port = somebody.getsockname()[1]
        refused = host.refusal(**host.join_request(cluster, csr, port=port))
    assert f"cannot listen at 127.0.0.1 port {port}" in refused
    assert host.content() == before


def test_failed_join_of_a_node_leaves_its_agent_running(host: Host, cluster: Cluster, tmp_path: Path) -> None:
    host.ask(**host.join_request(cluster, host.prepare(cluster)["csr"]))
    before = host.content()
    csr = host.prepare(cluster)["csr"]
    host.refusal(**host.join_request(cluster, csr, authorized_keys=["not a key"]))
    after = host.content()
    after.pop(host.paths.node_certificate + ".key-new")
    assert after == before
    assert host.agent_runs()


def test_join_without_preparation_is_refused(host: Host, cluster: Cluster) -> None:
    csr = x509.create_request(NODE_NAME)[1]
    assert "was not prepared" in host.refusal(**host.join_request(cluster, csr))


def test_leaving_another_cluster_is_refused(host: Host, cluster: Cluster) -> None:
    host.ask(**host.join_request(cluster, host.prepare(cluster)["csr"]))
    assert "nothing was removed" in host.refusal(action="leave", cluster_name="other.example.com")
    assert host.agent_runs()
