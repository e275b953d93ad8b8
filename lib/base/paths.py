"""Where everything lies, below one root directory.

On an ordinary host the root is ``/``. Several nodes on one host (development clusters, tests) each have a root of their own:
the environment variable ``GANETI_ROOTDIR`` names it and ``GANETI_HOSTNAME`` (default: its last part) is the node's name.
Nothing else in the system spells a product path.
"""

from __future__ import annotations

import os


class Paths:
    """All product paths of one node. Attributes are absolute file names; nothing is created here."""

    def __init__(self, root: str = "/", hostname: str | None = None) -> None:
        self.root = os.path.normpath(root)
        self._hostname = hostname

    @classmethod
    def from_environment(cls, environ: dict[str, str] | None = None) -> Paths:
        """The paths that ``GANETI_ROOTDIR`` and ``GANETI_HOSTNAME`` choose."""
        env = os.environ if environ is None else environ
        root = env.get("GANETI_ROOTDIR") or "/"
        name = env.get("GANETI_HOSTNAME") or (os.path.basename(os.path.normpath(root)) if root != "/" else None)
        return cls(root, name or None)

    def below(self, path: str) -> str:
        """`path`, absolute on an ordinary host, moved below this root."""
        return path if self.root == "/" else os.path.join(self.root, path.lstrip("/"))

    @property
    def hostname(self) -> str:
        """This node's own name (fully qualified where the system knows it)."""
        return self._hostname or os.uname().nodename

    def environment(self) -> dict[str, str]:
        """What a child process needs in its environment to see the same paths."""
        if self.root == "/":
            return {}
        return {"GANETI_ROOTDIR": self.root, "GANETI_HOSTNAME": self.hostname}

    # --- directories
    @property
    def data(self) -> str:
        return self.below("/var/lib/ganeti")

    @property
    def run(self) -> str:
        return self.below("/var/run/ganeti")

    @property
    def log(self) -> str:
        return self.below("/var/log/ganeti")

    @property
    def conf(self) -> str:
        return self.below("/etc/ganeti")

    @property
    def lock(self) -> str:
        return self.below("/var/lock")

    @property
    def sockets(self) -> str:
        return self.run + "/socket"

    @property
    def livelocks(self) -> str:
        return self.run + "/livelocks"

    @property
    def hooks(self) -> str:
        return self.conf + "/hooks"

    @property
    def os_log(self) -> str:
        return self.log + "/os"

    @property
    def kvm(self) -> str:
        return self.run + "/kvm-hypervisor"

    @property
    def fake_hypervisor(self) -> str:
        return self.run + "/fake-hypervisor"

    @property
    def os_search_path(self) -> tuple[str, ...]:
        """Where OS definitions are looked for, in order."""
        roots = ("/srv/ganeti/os", "/usr/local/lib/ganeti/os", "/usr/lib/ganeti/os", "/usr/share/ganeti/os")
        return tuple(self.below(path) for path in roots)

    @property
    def extstorage_search_path(self) -> tuple[str, ...]:
        """Where providers of external storage are looked for, in order."""
        roots = ("/srv", "/usr/local/lib", "/usr/lib", "/usr/share")
        return tuple(self.below(f"{root}/ganeti/extstorage") for root in roots)

    # --- cluster state
    @property
    def store(self) -> str:
        """The cluster store (on master candidates)."""
        return self.data + "/cluster.db"

    @property
    def config_export(self) -> str:
        return self.data + "/config.data"

    @property
    def epoch(self) -> str:
        """The highest master epoch this node has seen."""
        return self.data + "/epoch"

    def ssconf(self, key: str) -> str:
        return f"{self.data}/ssconf_{key}"

    # --- secrets and certificates
    @property
    def ca_certificate(self) -> str:
        return self.data + "/ca.pem"

    @property
    def ca_key(self) -> str:
        """Private key of the cluster's authority (master candidates only)."""
        return self.data + "/ca.key"

    @property
    def node_certificate(self) -> str:
        """This node's private key and certificate, for both directions of node calls."""
        return self.data + "/server.pem"

    @property
    def rapi_certificate(self) -> str:
        return self.data + "/rapi.pem"

    @property
    def hmac_key(self) -> str:
        return self.data + "/hmac.key"

    @property
    def domain_secret(self) -> str:
        return self.data + "/cluster-domain-secret"

    @property
    def known_hosts(self) -> str:
        return self.data + "/known_hosts"

    @property
    def ssh_directory(self) -> str:
        return self.below("/root/.ssh")

    @property
    def ssh_host_keys(self) -> str:
        return self.below("/etc/ssh")

    @property
    def etc_hosts(self) -> str:
        return self.below("/etc/hosts")

    # --- sockets
    @property
    def luxi_socket(self) -> str:
        return self.sockets + "/ganeti-query"

    @property
    def job_socket(self) -> str:
        """Where job workers talk to the master daemon (mode 0600)."""
        return self.sockets + "/ganeti-jobs"

    # --- daemons
    def pid_file(self, daemon: str) -> str:
        return f"{self.run}/{daemon}.pid"

    def log_file(self, name: str) -> str:
        return f"{self.log}/{name}.log"
