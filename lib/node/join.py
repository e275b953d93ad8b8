"""``ganeti-node-setup``: the new node's side of `gnt-node add`, run there over SSH.

One request as JSON on standard input, one answer as JSON on standard output; errors on standard error, exit status 12.

* ``prepare`` {cluster_name, node_name, force?, ssh_key_type?, ssh_key_bits?}: tells who this host is and makes the private key
  of its certificate, which never leaves it; the answer has the signing request.
* ``join`` {cluster_name, node_name, ca_certificate, certificate, ssconf, files, authorized_keys, epoch, port?}: installs all of
  it, or nothing, and starts the agent.
* ``leave`` {cluster_name?, authorized_keys?}: stops the agent and removes what makes this host a node. Guests are left alone.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TextIO

import ganeti
from ganeti.base import codec, daemon, net, ssh, x509
from ganeti.base.errors import Code, ExecError, GanetiError, PrereqError
from ganeti.base.files import read_optional, remove_quietly, write_atomic
from ganeti.base.paths import Paths
from ganeti.base.retry import wait_until
from ganeti.base.secret import Secret
from ganeti.base.undo import Undo
from ganeti.model.ssconf import KEYS
from ganeti.node import cluster_files, identity, programs
from ganeti.node.facts import PROTOCOL
from ganeti.node.main import NAME as AGENT
from ganeti.node.main import listen_address, make_directories
from ganeti.node.ssconf import Ssconf
from ganeti.rpc.nodes import PORT

EXIT_NODE_SETUP = 12
MASTER = "ganeti-masterd"
ANSWER_TIMEOUT = 30.0
STOP_TIMEOUT = 20.0
MAX_REQUEST = 64 * 1024 * 1024


@dataclass(frozen=True)
class PrepareRequest:
    cluster_name: str
    node_name: str
    force: bool = False
    ssh_key_type: str = "rsa"
    ssh_key_bits: int | None = None


@dataclass(frozen=True)
class JoinRequest:
    cluster_name: str
    node_name: str
    ca_certificate: str
    certificate: str
    ssconf: dict[str, str]
    epoch: int
    files: dict[str, Secret] = field(default_factory=dict)
    authorized_keys: list[str] = field(default_factory=list)
    port: int = PORT


@dataclass(frozen=True)
class LeaveRequest:
    cluster_name: str | None = None
    authorized_keys: list[str] = field(default_factory=list)


# --- prepare


def prepare(paths: Paths, request: PrepareRequest) -> dict[str, Any]:
    """Find out whether this host can join, and make its key. Raises `PrereqError`."""
    present = Ssconf(paths).value("cluster_name")
    check_host(paths.hostname, request, present, is_master=_runs(paths, MASTER))
    make_directories(paths)
    host_key = identity.host_key(paths)
    root_key, _ = identity.ensure_root_key(paths, request.ssh_key_type, request.ssh_key_bits)
    key, signing_request = x509.create_request(request.node_name)
    write_atomic(cluster_files.pending_key(paths), key)
    return {
        "version": ganeti.__version__,
        "protocol": PROTOCOL,
        "hostname": paths.hostname,
        "time": time.time(),
        "csr": signing_request,
        "ssh_host_key": host_key,
        "ssh_root_key": root_key,
        "in_cluster": present,
    }


def check_host(hostname: str, request: PrepareRequest, present: str | None, *, is_master: bool) -> None:
    """Whether a host of this name, now in cluster `present`, may join. Pure; raises `PrereqError`."""
    if hostname not in (request.node_name, request.node_name.partition(".")[0]):
        raise PrereqError(
            f"this host calls itself {hostname}, not {request.node_name}; set its host name, or add it under its own name"
        )
    if is_master:
        raise PrereqError(f"this host is the master of cluster {present}; destroy that cluster first", Code.STATE)
    if present is not None and present != request.cluster_name and not request.force:
        raise PrereqError(
            f"this host is a node of cluster {present}; remove it there ('gnt-node remove' on its master) or insist with --force",
            Code.STATE,
        )


# --- join


def join(paths: Paths, request: JoinRequest) -> dict[str, Any]:
    """Become a node; on failure everything is as before. Raises `GanetiError`."""
    key = read_optional(cluster_files.pending_key(paths))
    if key is None:
        raise PrereqError("this host was not prepared: there is no private key; send the action 'prepare' first", Code.STATE)
    check_join(request, key)
    make_directories(paths)
    was_running = daemon.stop_daemon(paths.pid_file(AGENT), STOP_TIMEOUT)
    try:
        with Undo() as undo:
            aside = _install(paths, request, key, undo)
            undo.push(daemon.stop_daemon, paths.pid_file(AGENT), STOP_TIMEOUT)
            _start_agent(paths, request.port)
            undo.commit()
    except BaseException:
        if was_running:
            programs.start(paths, AGENT)
        raise
    for path in (*aside, cluster_files.pending_key(paths)):
        remove_quietly(path)
    return {"hostname": paths.hostname, "certificate_digest": x509.digest(request.certificate)}


def check_join(request: JoinRequest, key: str) -> None:
    """Whether certificate, key and authority belong together and to this node. Raises `PrereqError`."""
    x509.verify_pair(x509.KeyPair(key, request.certificate))
    x509.verify_chain(request.certificate, request.ca_certificate)
    named = x509.common_name(request.certificate)
    if named != request.node_name[:64]:
        raise PrereqError(f"the certificate is for node {named}, not for {request.node_name}")
    for name in ("cluster_name", "master_candidates_certs"):
        if not request.ssconf.get(name, "").strip():
            raise PrereqError(f"the ssconf values lack {name}, without which nobody could call this node")
    if request.ssconf["cluster_name"].strip() != request.cluster_name:
        raise PrereqError(f"the ssconf values are of another cluster than {request.cluster_name}")


def _install(paths: Paths, request: JoinRequest, key: str, undo: Undo) -> list[str]:
    """Write all files; returns those of an earlier membership that were set aside, to be removed in the end."""
    ssconf = Ssconf(paths)
    rejoined = ssconf.value("cluster_name") == request.cluster_name
    known = int((read_optional(paths.epoch) or "0").strip() or 0) if rejoined else 0
    old_values = {name: text for name in request.ssconf if (text := read_optional(paths.ssconf(name))) is not None}
    outdated = [paths.ssconf(name) for name in KEYS - set(request.ssconf)]
    aside = _set_aside([*cluster_files.membership_files(paths), *outdated], cluster_files.pending_key(paths), undo)
    undo.push(_restore_ssconf, paths, list(request.ssconf), old_values)
    ssconf.write(request.ssconf)
    for name, content in request.files.items():
        undo.push(remove_quietly, os.path.join(paths.data, name))
        cluster_files.upload(paths, name, content)
    for path, text, mode in (
        (paths.epoch, f"{max(known, request.epoch)}\n", 0o644),
        (paths.ca_certificate, request.ca_certificate, 0o644),
        (paths.node_certificate, key + request.certificate, 0o600),
    ):
        undo.push(remove_quietly, path)
        write_atomic(path, text, mode=mode)
    authorized = paths.ssh_directory + "/authorized_keys"
    if not os.path.exists(authorized):
        undo.push(remove_quietly, authorized)
    for line in request.authorized_keys:
        if ssh.add_authorized_key(authorized, line):
            undo.push(ssh.remove_authorized_key, authorized, line)
    return aside


def _set_aside(paths: Sequence[str], keep: str, undo: Undo) -> list[str]:
    """Rename the files of an earlier membership, so that none of them is taken for this cluster's."""
    moved = []
    for path in paths:
        if path != keep and os.path.exists(path):
            os.replace(path, path + ".before-join")
            undo.push(os.replace, path + ".before-join", path)
            moved.append(path + ".before-join")
    return moved


def _restore_ssconf(paths: Paths, names: list[str], values: dict[str, str]) -> None:
    for name in names:
        if name not in values:
            remove_quietly(paths.ssconf(name))
    Ssconf(paths).write(values)


def _start_agent(paths: Paths, port: int) -> None:
    programs.start(paths, AGENT, () if port == PORT else ("--port", str(port)))
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(own := listen_address(paths), own)
    wait_until(
        lambda: net.is_reachable(address, port, timeout=2.0),
        timeout=ANSWER_TIMEOUT,
        what=f"the node agent to answer at {address} port {port} (see {paths.log_file(AGENT)} on node {paths.hostname})",
    )


# --- leave


def leave(paths: Paths, request: LeaveRequest) -> dict[str, Any]:
    """Stop being a node; not being one already is success. Raises `PrereqError` on a master or in another cluster."""
    present = Ssconf(paths).value("cluster_name")
    if request.cluster_name and present and present != request.cluster_name:
        raise PrereqError(f"this host is a node of cluster {present}, not of {request.cluster_name}; nothing was removed")
    if _runs(paths, MASTER):
        raise PrereqError("this host is the master of its cluster; use 'gnt-cluster destroy'", Code.STATE)
    stopped = daemon.stop_daemon(paths.pid_file(AGENT), STOP_TIMEOUT)
    cluster_files.forget_cluster(paths)
    for line in request.authorized_keys:
        ssh.remove_authorized_key(paths.ssh_directory + "/authorized_keys", line)
    return {"hostname": paths.hostname, "left": present, "agent_stopped": stopped}


def _runs(paths: Paths, name: str) -> bool:
    return daemon.read_pid(paths.pid_file(name)) is not None


# --- the program


def handle(paths: Paths, text: str) -> dict[str, Any]:
    """Answer one request. Raises `GanetiError`."""
    request = codec.loads(text)
    if not isinstance(request, dict):
        raise PrereqError("the request must be a JSON object")
    action = request.pop("action", None)
    if action == "prepare":
        return prepare(paths, codec.decode(PrepareRequest, request))
    if action == "join":
        return join(paths, codec.decode(JoinRequest, request))
    if action == "leave":
        return leave(paths, codec.decode(LeaveRequest, request))
    raise PrereqError(f"action {action!r} is none of prepare, join, leave")


def main(stdin: TextIO | None = None, stdout: TextIO | None = None, stderr: TextIO | None = None) -> int:
    """The program; returns its exit status."""
    source, sink, complaints = stdin or sys.stdin, stdout or sys.stdout, stderr or sys.stderr
    try:
        text = source.read(MAX_REQUEST + 1)
        if len(text) > MAX_REQUEST:
            raise ExecError("the request is too long")
        answer = handle(Paths.from_environment(), text)
    except (GanetiError, OSError) as err:
        complaints.write(f"Failure: {err}\n")
        return EXIT_NODE_SETUP
    sink.write(codec.dumps(answer) + "\n")
    return 0
