"""Starting `ganeti-masterd` as init scripts do: exit status, message, readiness."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ganeti.base import daemon, proc
from ganeti.base.paths import Paths
from ganeti.rpc.luxi_client import LuxiClient
from support.daemonprocess import ROOT, MasterProcess, eventually
from support.masterd import make_store
from support.objects import small_cluster


@pytest.fixture
def root() -> Iterator[str]:
    path = tempfile.mkdtemp(prefix="gnt")
    yield path
    shutil.rmtree(path)


def start(paths: Paths, *arguments: str) -> proc.Result:
    path = os.pathsep.join(entry for entry in sys.path if entry)
    environment = proc.clean_environment({**paths.environment(), "PYTHONPATH": path})
    command = [sys.executable, str(ROOT / "daemons" / "ganeti-masterd"), "--port", "1", *arguments]
    return proc.run(command, env=environment, timeout=30, ok=proc.ANY_STATUS)


def test_status_is_11_elsewhere_than_on_the_master(root: str) -> None:
    make_store(Paths(root, "node1"), small_cluster(2))
    result = start(Paths(root, "node2"))
    assert result.status == daemon.EXIT_NOT_MASTER
    assert "this node (node2) is not the master; the master is node1" in result.stderr


def test_host_without_a_cluster_is_told_so(root: str) -> None:
    result = start(Paths(root, "node1"))
    assert result.status == 1
    assert "belongs to no cluster" in result.stderr


def test_daemon_in_the_background_answers_when_its_parent_has_ended(root: str) -> None:
    master = MasterProcess(root)
    try:
        assert start(master.paths).status == 0
        with LuxiClient(master.paths, connect_timeout=0.1) as client:
            assert client.call("QueryConfigValues", ["master_node"]) == ["node1"]
        second = start(master.paths)
        assert second.status == 1 and "already running" in second.stderr
        assert daemon.stop_daemon(master.paths.pid_file("ganeti-masterd"))
        assert not os.path.exists(master.paths.luxi_socket) and not os.path.exists(master.paths.job_socket)
        assert "ganeti-masterd ends" in Path(master.paths.log_file("ganeti-masterd")).read_text()
    finally:
        daemon.stop_daemon(master.paths.pid_file("ganeti-masterd"))
        eventually(lambda: not master.processes(), "the end of all processes")


def test_daemon_that_was_killed_can_be_started_again(root: str) -> None:
    master = MasterProcess(root)
    try:
        master.start()
        master.client.call("QueryTags", "cluster", "")
        assert os.path.exists(master.paths.luxi_socket)
        master.restart()
        master.client.call("QueryTags", "cluster", "")
    finally:
        master.end_everything()
