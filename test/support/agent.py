"""A real node agent, as a process of its own with real TLS, below a temporary root directory."""

from __future__ import annotations

import hashlib
import os
import ssl
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from ganeti.base import files, net, x509
from ganeti.base.paths import Paths
from ganeti.base.retry import wait_until
from ganeti.model.ids import NodeUuid
from ganeti.node.ssconf import Ssconf
from ganeti.rpc.http import HttpsNodeCaller
from ganeti.rpc.nodes import NodeTarget
from ganeti.rpc.tls import Credentials

PROGRAM = Path(__file__).parents[2] / "daemons" / "ganeti-noded"
MASTER = NodeUuid("11111111-1111-4111-8111-111111111111")
NODE = NodeUuid("22222222-2222-4222-8222-222222222222")
NODE_NAME = "node2.example.com"


class Cluster:
    """Certificates of a cluster: an authority, a master that may call, and further nodes that may not."""

    def __init__(self, folder: Path, name: str = "cluster.example.com") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = name
        self._folder = folder
        self.authority = x509.create_authority(name, 10)
        self.ca_file = str(folder / "ca.pem")
        files.write_atomic(self.ca_file, self.authority.cert_pem)
        self.master = self.certificate("node1.example.com")

    def certificate(self, node: str) -> str:
        """A file with key and certificate of a node."""
        key, request = x509.create_request(node)
        path = str(self._folder / f"{node}.pem")
        files.write_atomic(path, key + x509.sign_request(self.authority, request, node, 10, [node]))
        return path

    def ssconf(self) -> dict[str, str]:
        """What a node needs to know of the cluster."""
        return {
            "cluster_name": self.name,
            "master_node": "node1.example.com",
            "master_candidates_certs": f"{MASTER}={x509.digest(files.read_text(self.master))}",
            "node_primary_ips": f"node1.example.com 127.0.0.1\n{NODE_NAME} 127.0.0.1",
            "hypervisor_list": "fake",
            "file_storage_dir": "/srv/ganeti/file-storage",
            "shared_file_storage_dir": "/srv/ganeti/shared-file-storage",
        }

    def client_context(self, certificate: str | None) -> ssl.SSLContext:
        """TLS settings of a caller, for sockets of our own."""
        return x509.client_context(certificate, self.ca_file, check_hostname=False)


def install(paths: Paths, cluster: Cluster) -> None:
    """Make the root directory look like that of a node of this cluster."""
    for path in (paths.data, paths.run, paths.log, paths.conf, paths.below("/srv/ganeti/file-storage")):
        files.ensure_directory(path)
    files.ensure_directory(paths.below("/srv/ganeti/shared-file-storage"))
    files.write_atomic(paths.ca_certificate, cluster.authority.cert_pem)
    files.write_atomic(paths.node_certificate, files.read_text(cluster.certificate(paths.hostname)))
    Ssconf(paths).write(cluster.ssconf())


class AgentProcess:
    """The program itself. Use as a context manager; `paths`, `port` and `process` may be looked at."""

    def __init__(self, root: Path, cluster: Cluster) -> None:
        self.cluster = cluster
        self.paths = Paths(str(root), NODE_NAME)
        self.port = net.free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._complaints = Path(self.paths.log, "stderr")
        install(self.paths, cluster)

    def start(self) -> None:
        environment = {"PATH": os.environ["PATH"], "LANG": "C", **self.paths.environment()}
        with open(self._complaints, "wb") as sink:
            self.process = subprocess.Popen(
                [sys.executable, str(PROGRAM), "--foreground", "--port", str(self.port)],
                env=environment,
                stderr=sink,
            )
        try:
            wait_until(self._is_up, timeout=30, interval=0.05, what="the agent to listen")
        except BaseException:
            self.stop(kill=True)
            raise

    def _is_up(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self._complaints.read_text()
        return net.is_reachable("127.0.0.1", self.port, 1.0)

    def stop(self, *, kill: bool = False) -> int:
        """End it; returns its exit status."""
        assert self.process is not None
        if kill:
            self.process.kill()
        else:
            self.process.terminate()
        status = self.process.wait(30)
        self.process = None
        return status

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.process is not None:
            self.stop()

    def caller(self, epoch: int = 1, certificate: str | None = None) -> HttpsNodeCaller:
        """Calls this agent as the master does."""
        return HttpsNodeCaller(
            lambda node: NodeTarget(NODE_NAME, "127.0.0.1"),
            Credentials(certificate or self.cluster.master, self.cluster.ca_file),
            lambda: epoch,
            self.port,
        )

    def fingerprint(self) -> str:
        """Changes when anything below the root does that a call could change; logs and locks apart."""
        digest = hashlib.sha256()
        for folder, _, names in sorted(os.walk(self.paths.root)):
            if folder.startswith((self.paths.log, self.paths.lock)):
                continue
            for name in sorted(names):
                path = os.path.join(folder, name)
                digest.update(path.encode())
                if os.path.isfile(path):
                    digest.update(Path(path).read_bytes())
        return digest.hexdigest()
