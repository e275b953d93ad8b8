from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import ganeti
from ganeti.base.errors import DecodeError, ExecError, PrereqError
from ganeti.base.paths import Paths
from ganeti.base.secret import Secret
from ganeti.model.objects import Put
from ganeti.node.calls.node import NodeCalls
from ganeti.node.services import Services, build_services
from ganeti.rpc.node.node import LogRange
from ganeti.rpc.node.replies import VerifyRequest
from ganeti.store.reader import Reader
from ganeti.store.replica import snapshot
from ganeti.store.writer import Store
from support.agent import Cluster, install
from support.doors import open_doors
from support.objects import make_group, small_cluster


class Stopped:
    """Whether the agent was told to stop."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


@pytest.fixture
def stopped() -> Stopped:
    return Stopped()


@pytest.fixture
def services(tmp_path: Path, stopped: Stopped) -> Iterator[Services]:
    paths = Paths(str(tmp_path / "root"), "node2.example.com")
    install(paths, Cluster(tmp_path / "ca"))
    with open_doors(paths) as doors:
        yield build_services(doors, 1811, stopped)


@pytest.fixture
def calls(services: Services) -> NodeCalls:
    return NodeCalls(services)


def test_version_tells_who_this_is(calls: NodeCalls, services: Services) -> None:
    services.epochs.admit(4)
    found = calls.version()
    assert (found.software, found.protocol, found.hostname, found.epoch) == (ganeti.__version__, 1, "node2.example.com", 4)


def test_node_info_has_memory_boot_and_space(calls: NodeCalls) -> None:
    found = calls.node_info([("file", "/srv/ganeti/file-storage")], ["fake"])
    assert found.hypervisors["fake"].memory_total > 0
    assert len(found.bootid) == 36
    assert (found.storage[0].total or 0) > 0


def test_verification_is_carried_out(calls: NodeCalls) -> None:
    assert calls.node_verify(VerifyRequest(hypervisors=["fake"])).hypervisors == {"fake": ""}


def test_definitions_are_listed(calls: NodeCalls, services: Services) -> None:
    Path(services.paths.os_search_path[1], "broken").mkdir(parents=True)
    (found,) = calls.os_list()
    assert (found.name, found.valid, found.message) == ("broken", False, "file ganeti_api_version is missing")


def test_cluster_files_are_written(calls: NodeCalls, services: Services) -> None:
    calls.write_ssconf({"master_ip": "192.0.2.9"})
    calls.upload_file("hmac.key", Secret("abc"))
    assert services.ssconf.value("master_ip") == "192.0.2.9"
    assert Path(services.paths.hmac_key).read_text() == "abc"
    with pytest.raises(PrereqError):
        calls.upload_file("server.pem", Secret("abc"))


def test_keys_are_let_in_and_out(calls: NodeCalls, services: Services) -> None:
    one = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBmF0qJ1yYuyCGJWZ8pBf0H1cCzG0Hq0mKp6Sxk0dPpD one"
    two = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE7o7cMJ9nCvyJm7sx0qVwGzZ3qk0t6gRz3bTjvGQ1Yh two"
    file = Path(services.paths.ssh_directory, "authorized_keys")
    calls.write_authorized_keys([one], [])
    calls.write_authorized_keys([two], [one])
    assert file.read_text() == two + "\n"


def test_replica_follows_the_master(calls: NodeCalls, services: Services, tmp_path: Path) -> None:
    path = str(tmp_path / "master.db")
    with Store.open(path, epoch=1, create=True) as store:
        store.commit(None, [Put(one) for one in small_cluster()]).result()
        content, serial = snapshot(path)
        assert calls.store_replace(base64.b64encode(content).decode(), serial) == serial
        store.commit(None, [Put(make_group())]).result()
        reader = Reader(path)
        rows = reader.log_rows(serial) or []
        reader.close()
        assert calls.store_append(LogRange(list(rows))) == serial + 1
    copy = Reader(services.paths.store)
    assert len(copy.config().groups) == 2
    copy.close()
    Path(services.paths.ca_key).touch()
    calls.store_remove()
    assert not os.path.exists(services.paths.store)
    assert not os.path.exists(services.paths.ca_key)


@pytest.mark.parametrize("text", ["no base64!", "é"])
def test_snapshot_that_is_no_base64_is_refused(calls: NodeCalls, text: str) -> None:
    with pytest.raises(DecodeError, match="not base64"):
        calls.store_replace(text, 1)


def test_hooks_are_run(calls: NodeCalls) -> None:
    assert calls.run_hooks("node-add", "pre", {}) == []


def test_leaving_forgets_the_cluster_and_stops_the_agent(calls: NodeCalls, services: Services, stopped: Stopped) -> None:
    calls.node_leave()
    assert stopped.times == 1
    assert not os.path.exists(services.paths.node_certificate)
    assert services.ssconf.value("cluster_name") is None


def test_delay_has_limits(calls: NodeCalls) -> None:
    calls.test_delay(0.0)
    for duration in (-1.0, 1e9, float("nan")):
        with pytest.raises(ExecError, match="cannot sleep"):
            calls.test_delay(duration)
