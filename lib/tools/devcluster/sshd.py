"""SSH on the nodes: host keys, server and client settings, and the key by which an administrator of the first node gets in."""

from __future__ import annotations

import os
import socket

from ganeti.base import proc
from ganeti.base.errors import ExecError, Timeout
from ganeti.base.files import ensure_directory, read_optional, read_text, write_atomic
from ganeti.base.retry import wait_until
from ganeti.tools.devcluster import machine
from ganeti.tools.devcluster.plan import Node, Plan

HOST_KEYS = {"rsa": ["-b", "2048"], "ed25519": []}
BOOTSTRAP_KEY = "id_ed25519"
START_TIMEOUT = 20.0
SERVER = "/usr/sbin/sshd"


def build_server_settings(node: Node) -> str:
    """The node's sshd_config."""
    root = node.root
    variables = " ".join(f"{name}={value}" for name, value in machine.environment(node).items() if name not in ("HOME", "USER"))
    lines = [
        "ListenAddress 0.0.0.0",
        *(f"HostKey {root}/etc/ssh/ssh_host_{kind}_key" for kind in HOST_KEYS),
        f"AuthorizedKeysFile {root}/root/.ssh/authorized_keys",
        f"SetEnv {variables}",
        "PidFile /run/sshd.pid",
        "PermitRootLogin prohibit-password",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        # Its files lie below a directory of ours, whoever may write to the directories above.
        "StrictModes no",
        "UsePAM no",
        "UseDNS no",
        "MaxStartups 100",
        "Subsystem sftp internal-sftp",
    ]
    return "\n".join(lines) + "\n"


def build_client_settings(node: Node) -> str:
    """The node's ssh_config: its own keys, and host keys that are learned once and checked from then on."""
    directory = node.paths.ssh_directory
    keys = (BOOTSTRAP_KEY, "id_rsa", "id_ecdsa")
    lines = [
        "Host *",
        *(f"    IdentityFile {directory}/{name}" for name in dict.fromkeys(keys)),
        f"    UserKnownHostsFile {directory}/known_hosts",
        f"    GlobalKnownHostsFile {node.paths.known_hosts}",
        "    StrictHostKeyChecking accept-new",
        "    ConnectTimeout 10",
    ]
    return "\n".join(lines) + "\n"


def prepare(plan: Plan, node: Node) -> None:
    """Write keys and settings that a node needs before its first start. Keys that are there stay."""
    directory = node.paths.ssh_host_keys
    for kind, words in HOST_KEYS.items():
        _make_key(f"{directory}/ssh_host_{kind}_key", kind, words, node.name)
    write_atomic(f"{directory}/sshd_config", build_server_settings(node), mode=0o644)
    write_atomic(f"{directory}/ssh_config", build_client_settings(node), mode=0o644)
    ensure_directory(node.paths.ssh_directory, 0o700)
    if node.number == 1:
        _make_key(f"{node.paths.ssh_directory}/{BOOTSTRAP_KEY}", "ed25519", [], f"root@{node.name}")
    first = plan.nodes[0]
    key = read_text(f"{first.paths.ssh_directory}/{BOOTSTRAP_KEY}.pub")
    authorized = f"{node.paths.ssh_directory}/authorized_keys"
    present = read_optional(authorized) or ""
    if key not in present:
        write_atomic(authorized, present + key)


def _make_key(path: str, kind: str, words: list[str], comment: str) -> None:
    if not os.path.exists(path):
        proc.run(["ssh-keygen", "-q", "-t", kind, *words, "-N", "", "-C", comment, "-f", path])


def start(plan: Plan, node: Node) -> None:
    """Start the node's sshd and wait until it answers."""
    settings = f"{node.paths.ssh_host_keys}/sshd_config"
    machine.run(plan, node, [SERVER, "-f", settings, "-E", node.paths.below("/var/log/sshd.log")])

    def answers() -> bool:
        try:
            with socket.create_connection((node.address, 22), timeout=1.0) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    try:
        wait_until(answers, timeout=START_TIMEOUT, interval=0.02, backoff=1.5, max_interval=0.5)
    except Timeout:
        raise ExecError(
            f"node {node.name} ({node.address}) does not answer on port 22 across bridge {plan.bridge}. If the node's sshd runs "
            f"(see {node.root}/var/log/sshd.log), a firewall of this host stops bridged traffic: "
            "try 'sysctl net.bridge.bridge-nf-call-iptables=0'"
        ) from None
