"""What a node finds out about itself for `gnt-cluster verify`. It only looks; the master judges."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from ganeti.base import net, x509
from ganeti.base.errors import GanetiError
from ganeti.base.files import read_optional
from ganeti.base.paths import Paths
from ganeti.model.enums import NicMode
from ganeti.node import facts
from ganeti.node.osdef import definition as definitions
from ganeti.node.services import Services
from ganeti.rpc.node.replies import InstanceState, VerifyReply, VerifyRequest

CONNECT_TIMEOUT = 5.0
AT_ONCE = 16


def verify(services: Services, request: VerifyRequest) -> VerifyReply:
    """Answer everything that was asked."""
    paths = services.paths
    digest, expiry, setup = check_certificate(paths)
    states: list[InstanceState] = []
    hypervisors = {name: _text(_check_hypervisor(services, name, request, states)) for name in request.hypervisors}
    return VerifyReply(
        version=facts.version(services),
        time=time.time(),
        files={name: file_digest(_locate(paths, name)) for name in request.files},
        hypervisors=hypervisors,
        unreachable=find_unreachable(request.nodes, services.port),
        missing_bridges=[name for name in request.bridges if services.doors.net.check_link(NicMode.BRIDGED, name)],
        storage={path: problem for path in request.storage_dirs if (problem := check_storage_directory(paths, path))},
        instances=states,
        oses=[found.info() for found in definitions.find_all(paths.os_search_path)],
        certificate_digest=digest,
        certificate_expiry=expiry,
        setup=[*setup, *check_setup(paths)],
        has_master_ip=_has_address(request.master_ip) if request.master_ip else None,
    )


def _check_hypervisor(
    services: Services, name: str, request: VerifyRequest, states: list[InstanceState]
) -> Callable[[], str]:
    def check() -> str:
        hypervisor = services.hypervisors.get(name)
        states.extend(hypervisor.states())
        problem = hypervisor.verify()
        if not problem and name in request.hvparams:
            problem = hypervisor.validate(request.hvparams[name])
        return problem

    return check


def _text(check: Callable[[], str]) -> str:
    """The check's answer; an error is one too."""
    try:
        return check()
    except GanetiError as err:
        return err.message


def _locate(paths: Paths, name: str) -> str | None:
    """The real path of a file to be compared: absolute, or relative to the data directory without leaving it."""
    if os.path.isabs(name):
        return paths.below(os.path.normpath(name))
    return None if ".." in name.split("/") else os.path.join(paths.data, name)


def file_digest(path: str | None) -> str | None:
    """SHA-256 of a regular file; None if there is none."""
    if path is None or not os.path.isfile(path):
        return None
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def find_unreachable(nodes: list[tuple[str, str, str]], port: int) -> dict[str, str]:
    """Of nodes [name, primary ip, secondary ip], those whose agent cannot be reached by TCP on both, and why."""

    def probe(node: tuple[str, str, str]) -> tuple[str, str]:
        name, primary, secondary = node
        addresses = [primary] if secondary in ("", primary) else [primary, secondary]
        silent = [ip for ip in addresses if not net.is_reachable(ip, port, CONNECT_TIMEOUT)]
        return name, f"no answer from {' and '.join(silent)} port {port}" if silent else ""

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return {name: problem for name, problem in pool.map(probe, nodes) if problem}


def check_storage_directory(paths: Paths, directory: str) -> str:
    """Whether instance files can be kept in this (logical) directory: empty, or what is wrong."""
    real = paths.below(directory)
    if not os.path.isdir(real):
        return f"directory {directory} does not exist, or its file system is not mounted"
    if not os.access(real, os.W_OK | os.X_OK):
        return f"directory {directory} cannot be written"
    return ""


def check_certificate(paths: Paths) -> tuple[str, float, list[str]]:
    """Digest and expiry (seconds since 1970) of this node's certificate, and what is wrong with it."""
    pem = read_optional(paths.node_certificate)
    authority = read_optional(paths.ca_certificate)
    if pem is None or authority is None:
        missing = paths.node_certificate if pem is None else paths.ca_certificate
        return "", 0.0, [f"file {missing} is missing; re-add the node"]
    try:
        x509.verify_chain(pem, authority)
        return x509.digest(pem), x509.expiry(pem).timestamp(), []
    except GanetiError as err:
        return "", 0.0, [err.message]


def check_setup(paths: Paths) -> list[str]:
    """What is wrong with files that only root may read."""
    secret = (paths.node_certificate, paths.ca_key, paths.hmac_key, paths.domain_secret)
    open_to_others = [path for path in secret if os.path.exists(path) and os.stat(path).st_mode & 0o077]
    return [f"file {path} can be read by others than root; do 'chmod 600' on it" for path in open_to_others]


def _has_address(ip: str) -> bool:
    return any(found.ip == ip for found in net.own_addresses())
