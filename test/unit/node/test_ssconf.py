from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ganeti.base.errors import LockTimeout, PrereqError
from ganeti.base.flock import FileLock
from ganeti.base.paths import Paths
from ganeti.model.ssconf import KEYS, MAX_SIZE
from ganeti.node.ssconf import Ssconf


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(str(tmp_path), "node2")


def test_values_are_written_with_an_end_of_line_and_read_only(paths: Paths) -> None:
    Ssconf(paths).write({"cluster_name": "c.example.com", "node_list": "a\nb\n"})
    path = Path(paths.ssconf("cluster_name"))
    assert path.read_text() == "c.example.com\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert Ssconf(paths).value("cluster_name") == "c.example.com"
    assert Ssconf(paths).lines("node_list") == ["a", "b"]


def test_unchanged_file_is_left_alone(paths: Paths) -> None:
    Ssconf(paths).write({"cluster_name": "c"})
    before = os.stat(paths.ssconf("cluster_name")).st_ino
    Ssconf(paths).write({"cluster_name": "c", "master_ip": "192.0.2.1"})
    assert os.stat(paths.ssconf("cluster_name")).st_ino == before


@pytest.mark.parametrize("bad", [{"../passwd": "x"}, {"cluster": "x"}, {"node_list": "x" * (MAX_SIZE + 1)}])
def test_nothing_is_written_if_one_value_is_refused(paths: Paths, bad: dict[str, str]) -> None:
    with pytest.raises(PrereqError, match="nothing was written"):
        Ssconf(paths).write({"cluster_name": "c", **bad})
    assert not os.path.exists(paths.ssconf("cluster_name"))


def test_missing_files_have_no_value(paths: Paths) -> None:
    facts = Ssconf(paths)
    assert (facts.value("cluster_name"), facts.lines("node_list"), facts.flag("enabled_user_shutdown")) == (None, [], False)


def test_mappings_and_flags_are_read(paths: Paths) -> None:
    facts = Ssconf(paths)
    facts.write({"node_primary_ips": "a 192.0.2.1\nb 192.0.2.2", "node_vm_capable": "a=True", "enabled_user_shutdown": "True"})
    assert facts.mapping("node_primary_ips") == {"a": "192.0.2.1", "b": "192.0.2.2"}
    assert facts.mapping("node_vm_capable", "=") == {"a": "True"}
    assert facts.flag("enabled_user_shutdown")


def test_writers_wait_for_one_another(paths: Paths) -> None:
    os.makedirs(paths.lock)
    with FileLock(f"{paths.lock}/ganeti-ssconf.lock"), pytest.raises(LockTimeout):
        Ssconf(paths, lock_timeout=0.05).write({"cluster_name": "c"})
    Ssconf(paths).write({"cluster_name": "c"})


def test_forgetting_removes_every_file(paths: Paths) -> None:
    Ssconf(paths).write(dict.fromkeys(KEYS, "x"))
    Ssconf(paths).remove()
    assert os.listdir(paths.data) == []


def test_public_keys_are_all_there() -> None:
    assert {"cluster_name", "hvparams_kvm", "hvparams_xen-hvm", "uid_pool", "master_candidates_certs"} <= KEYS
    assert len(KEYS) == 34
