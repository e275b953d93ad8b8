from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ganeti.base.errors import PrereqError
from ganeti.base.paths import Paths
from ganeti.base.secret import Secret
from ganeti.node.cluster_files import forget_cluster, membership_files, upload
from ganeti.node.ssconf import Ssconf
from ganeti.rpc.node.node import CLUSTER_FILES


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = Paths(str(tmp_path), "node2")
    os.makedirs(paths.data)
    return paths


def test_every_listed_file_can_be_replaced(paths: Paths) -> None:
    for name in CLUSTER_FILES:
        upload(paths, name, Secret("old"))
        upload(paths, name, Secret("new"))
        assert Path(paths.data, name).read_text() == "new"


def test_secrets_are_for_root_alone(paths: Paths) -> None:
    for name, mode in {"ca.key": 0o600, "rapi/users": 0o600, "known_hosts": 0o644, "config.data": 0o640}.items():
        upload(paths, name, Secret("x"))
        assert stat.S_IMODE(os.stat(os.path.join(paths.data, name)).st_mode) == mode


@pytest.mark.parametrize("name", ["server.pem", "../../../etc/passwd", "/etc/passwd", "rapi/../server.pem", "", "cluster.db"])
def test_other_files_are_refused(paths: Paths, name: str) -> None:
    with pytest.raises(PrereqError, match="nothing was written"):
        upload(paths, name, Secret("x"))
    assert os.listdir(paths.data) == []


def test_forgetting_removes_all_of_it_and_nothing_else(paths: Paths) -> None:
    for name in CLUSTER_FILES:
        upload(paths, name, Secret("x"))
    for path in membership_files(paths):
        Path(path).touch()
    Ssconf(paths).write({"cluster_name": "c"})
    Path(paths.data, "note-of-the-operator").touch()
    forget_cluster(paths)
    forget_cluster(paths)
    assert os.listdir(paths.data) == ["note-of-the-operator"]
