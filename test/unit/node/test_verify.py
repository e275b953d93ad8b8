from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ganeti.base import files, x509
from ganeti.base.paths import Paths
from ganeti.node.services import Services, build_services
from ganeti.node.verify import check_certificate, check_setup, find_unreachable, verify
from ganeti.rpc.node.replies import VerifyRequest
from support.agent import Cluster, install
from support.doors import open_doors
from support.filled import filled_instance


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    paths = Paths(str(tmp_path / "root"), "node2.example.com")
    install(paths, Cluster(tmp_path / "ca"))
    with open_doors(paths) as doors:
        yield build_services(doors, 1811, lambda: None)


def test_only_what_was_asked_is_answered(services: Services) -> None:
    reply = verify(services, VerifyRequest())
    assert (reply.files, reply.hypervisors, reply.unreachable, reply.storage, reply.has_master_ip) == ({}, {}, {}, {}, None)
    assert (reply.missing_bridges, reply.instances, reply.oses, reply.setup) == ([], [], [], [])
    assert reply.version.hostname == "node2.example.com"


def test_certificate_is_told(services: Services) -> None:
    reply = verify(services, VerifyRequest())
    pem = files.read_text(services.paths.node_certificate)
    assert reply.certificate_digest == x509.digest(pem)
    assert reply.certificate_expiry == x509.expiry(pem).timestamp()


def test_files_are_told_by_digest(services: Services) -> None:
    Path(services.paths.data, "rapi").mkdir()
    Path(services.paths.data, "rapi", "users").write_text("jack abc123")
    Path(services.paths.etc_hosts).parent.mkdir(parents=True, exist_ok=True)
    Path(services.paths.etc_hosts).write_text("127.0.0.1 localhost\n")
    reply = verify(services, VerifyRequest(files=["rapi/users", "/etc/hosts", "known_hosts", "rapi", "../../../etc/hosts"]))
    assert reply.files == {
        "rapi/users": hashlib.sha256(b"jack abc123").hexdigest(),
        "/etc/hosts": hashlib.sha256(b"127.0.0.1 localhost\n").hexdigest(),
        "known_hosts": None,
        "rapi": None,
        "../../../etc/hosts": None,
    }


def test_hypervisors_are_judged_and_their_guests_listed(services: Services) -> None:
    services.hypervisors.get("fake").start(filled_instance("web"), [])
    request = VerifyRequest(hypervisors=["fake", "xen-pvm"], hvparams={"fake": {"acpi": True}})
    reply = verify(services, request)
    assert "no parameter acpi" in reply.hypervisors["fake"]
    assert "does not know hypervisor xen-pvm" in reply.hypervisors["xen-pvm"]
    assert [state.name for state in reply.instances] == ["web"]
    assert verify(services, replace(request, hvparams={})).hypervisors["fake"] == ""


def test_bridges_and_directories_that_are_missing_are_told(services: Services) -> None:
    request = VerifyRequest(bridges=["xen-br0", "br9"], storage_dirs=["/srv/ganeti/file-storage", "/srv/none"])
    reply = verify(services, request)
    assert reply.missing_bridges == ["br9"]
    assert reply.storage == {"/srv/none": "directory /srv/none does not exist, or its file system is not mounted"}


def test_own_addresses_are_known(services: Services) -> None:
    assert verify(services, VerifyRequest(master_ip="127.0.0.1")).has_master_ip is True
    assert verify(services, VerifyRequest(master_ip="192.0.2.99")).has_master_ip is False


def test_nodes_that_do_not_answer_are_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        nodes = [("a", "127.0.0.1", "127.0.0.1"), ("b", "127.0.0.1", "127.0.0.2"), ("c", "127.0.0.3", "")]
        assert find_unreachable(nodes, port) == {
            "b": f"no answer from 127.0.0.2 port {port}",
            "c": f"no answer from 127.0.0.3 port {port}",
        }


def test_missing_or_foreign_certificate_is_told(services: Services, tmp_path: Path) -> None:
    foreign = Cluster(tmp_path / "other", "other.example.com")
    files.write_atomic(services.paths.ca_certificate, foreign.authority.cert_pem)
    assert "is not valid" in check_certificate(services.paths)[2][0]
    os.unlink(services.paths.node_certificate)
    assert "re-add the node" in check_certificate(services.paths)[2][0]


def test_secret_that_others_can_read_is_told(services: Services) -> None:
    assert check_setup(services.paths) == []
    os.chmod(services.paths.node_certificate, 0o644)
    assert check_setup(services.paths) == [
        f"file {services.paths.node_certificate} can be read by others than root; do 'chmod 600' on it"
    ]
