"""The master's side of `gnt-node add`: prepare the new host over SSH, give it its certificate, start its agent.

The private key of the node's certificate is made on the node and never leaves it: it sends a signing request, which the
authority here signs. The opcode that makes the node a member (`ops.node.add`) runs after this, over node calls.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ganeti import __version__
from ganeti.base import codec, files, net, proc, ssh, x509
from ganeti.base.errors import Code, DecodeError, ExecError, PrereqError
from ganeti.base.paths import Paths
from ganeti.base.retry import wait_until
from ganeti.base.ssh import SshClient
from ganeti.bootstrap.init import NODE_PORT
from ganeti.master.ssconf import ssconf_values
from ganeti.model.config import Config
from ganeti.model.filled import fill_ndparams
from ganeti.model.names import normalize_host_name
from ganeti.node import identity
from ganeti.store.reader import Reader

PROGRAM = "ganeti-node-setup"
MAX_CLOCK_SKEW = 150.0
SETUP_TIMEOUT = 120.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Prepared:
    """What the opcode needs to know of a host that was prepared."""

    name: str
    primary_ip: str
    certificate_digest: str
    ssh_host_key: str
    ssh_root_key: str


@dataclass(frozen=True)
class JoinOptions:
    """How to go about it. Without `check_host_key` a host key that was never seen is accepted (and remembered)."""

    check_host_key: bool = True
    force: bool = False
    readd: bool = False


def prepare_node(paths: Paths, name: str, options: JoinOptions, say: Say = lambda _text: None) -> Prepared:
    """Set a host up as a node of this cluster, up to its running agent. `PrereqError` if it cannot be one."""
    reader = Reader(paths.store)
    try:
        config = reader.config()
        host = net.resolve(normalize_host_name(name), config.cluster.primary_ip_family)
        full = host.name if "." in host.name else name
        _check_membership(config, full, host.ip, options)
        say(f"Connecting to {full} ({host.ip}) over SSH")
        with _connect(paths, config, full, options) as client:
            answer = _setup(client, {"action": "prepare", **_names(config, full), "force": options.force})
            check_answer(full, answer, time.time())
            say(f"Installing the cluster's certificates on {full} and starting its agent")
            certificate = _sign(paths, full, answer["csr"])
            _setup(client, _join_request(paths, config, full, certificate, host.ip))
    finally:
        reader.close()
    wait_until(lambda: net.is_reachable(host.ip, NODE_PORT, timeout=2.0), timeout=30.0, interval=0.1)
    return Prepared(full, host.ip, x509.digest(certificate), answer["ssh_host_key"], answer["ssh_root_key"])


def _names(config: Config, full: str) -> dict[str, str]:
    return {"cluster_name": config.cluster.cluster_name, "node_name": full}


def _check_membership(config: Config, full: str, ip: str, options: JoinOptions) -> None:
    known = [node for node in config.nodes if full in (node.name, node.uuid)]
    if options.readd and not known:
        raise PrereqError(
            f"node {full} is not in the cluster, so it cannot be re-added; leave --readd out", Code.NOENT
        )
    if known and not options.readd:
        raise PrereqError(
            f"node {full} is in the cluster already; use --readd to set it up again", Code.EXISTS
        )
    taken = [
        node.name for node in config.nodes if ip in (node.primary_ip, node.secondary_ip) and node.name != full
    ]
    if taken:
        raise PrereqError(
            f"node {full} resolves to {ip}, which is the address of node {taken[0]}", Code.NOTUNIQUE
        )
    if known and known[0].uuid == config.cluster.master_node:
        raise PrereqError(f"node {full} is the master; it cannot be re-added", Code.STATE)


def _connect(paths: Paths, config: Config, full: str, options: JoinOptions) -> SshClient:
    port = int(config.cluster.ndparams.get("ssh_port", 22))
    if options.readd:
        port = int(fill_ndparams(config, config.find_node(full)).get("ssh_port", port))
    return SshClient.connect(
        full,
        port=port,
        key_files=ssh.find_private_keys(paths.ssh_directory),
        known_hosts_file=known_hosts_file(paths, full),
        accept_new_host_key=not options.check_host_key,
    )


def known_hosts_file(paths: Paths, host: str) -> str:
    """The cluster's list if it has the host (one that is set up again), else root's own, where a host key may have been checked
    by hand before. What is learned goes there too: the cluster's list is the same on all nodes."""
    listed = ssh.find_host_keys(paths.known_hosts, [host])
    return paths.known_hosts if listed else os.path.join(paths.ssh_directory, "known_hosts")


def _setup(client: SshClient, request: dict[str, Any]) -> dict[str, Any]:
    """Run one action of the set-up program on the node."""
    result = client.run([PROGRAM], input=codec.dumps(request), timeout=SETUP_TIMEOUT, ok=proc.ANY_STATUS)
    if result.status == 127:
        raise PrereqError(
            f"host {client.host}: {PROGRAM} is not in root's PATH there; install the same version ({__version__}) of this "
            "software on it first",
            Code.ENVIRON,
        )
    if result.status != 0:
        reason = (
            result.stderr.strip().removeprefix("Failure: ") or f"{PROGRAM} ended with status {result.status}"
        )
        raise PrereqError(f"host {client.host} cannot join: {reason}", Code.ENVIRON)
    try:
        answer = codec.loads(result.stdout)
    except DecodeError as err:
        raise ExecError(
            f"host {client.host}: {PROGRAM} gave no usable answer: {result.stdout[:200]!r}"
        ) from err
    if not isinstance(answer, dict):
        raise ExecError(f"host {client.host}: {PROGRAM} gave no usable answer: {result.stdout[:200]!r}")
    return answer


def check_answer(full: str, answer: dict[str, Any], now: float) -> None:
    """Whether a host that answered can join; `PrereqError` says why not. Pure."""
    if answer["version"] != __version__:
        raise PrereqError(
            f"host {full} has version {answer['version']} of this software, this cluster {__version__}; "
            "install the same one there",
            Code.ENVIRON,
        )
    if abs(answer["time"] - now) > MAX_CLOCK_SKEW:
        raise PrereqError(
            f"the clock of host {full} is {abs(answer['time'] - now):.0f} seconds off; "
            f"synchronise it (at most {MAX_CLOCK_SKEW:.0f})",
            Code.ENVIRON,
        )


def _sign(paths: Paths, full: str, request: str) -> str:
    authority = x509.KeyPair(files.read_text(paths.ca_key), files.read_text(paths.ca_certificate))
    return x509.sign_request(authority, request, full, identity.NODE_CERTIFICATE_DAYS, [full])


def _join_request(paths: Paths, config: Config, full: str, certificate: str, ip: str) -> dict[str, Any]:
    """Everything the node needs before its agent can answer."""
    values = ssconf_values(config)
    # The agent finds the address it listens on here, and the opcode that makes the node a member comes later.
    values["node_primary_ips"] += f"{full} {ip}\n"
    keys = [node.ssh_root_key for node in config.candidates if node.ssh_root_key]
    return {
        "action": "join",
        **_names(config, full),
        "ca_certificate": files.read_text(paths.ca_certificate),
        "certificate": certificate,
        "ssconf": values,
        "files": {"known_hosts": files.read_text(paths.known_hosts)},
        "authorized_keys": keys if config.cluster.modify_ssh_setup else [],
        "epoch": int(files.read_text(paths.epoch)),
    }
