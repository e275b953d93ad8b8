from __future__ import annotations

import os
import resource
import stat
from pathlib import Path

import pytest

from ganeti.base.paths import Paths
from ganeti.node.dispatch import build_table
from ganeti.node.main import build_calls, listen_address, main, make_directories, raise_file_limit
from ganeti.node.services import build_services
from ganeti.node.ssconf import Ssconf
from support.doors import open_doors

ADDRESSES = "node1.example.com 192.0.2.1\nnode2.example.com 192.0.2.2"


@pytest.mark.parametrize("hostname", ["node2.example.com", "node2"])
def test_agent_listens_at_the_nodes_primary_address(tmp_path: Path, hostname: str) -> None:
    paths = Paths(str(tmp_path), hostname)
    Ssconf(paths).write({"node_primary_ips": ADDRESSES})
    assert listen_address(paths) == "192.0.2.2"


@pytest.mark.parametrize(("family", "address"), [("2", "0.0.0.0"), ("10", "::")])
def test_agent_of_a_node_that_is_not_known_yet_listens_everywhere(tmp_path: Path, family: str, address: str) -> None:
    paths = Paths(str(tmp_path), "node9")
    assert listen_address(paths) == "0.0.0.0"
    Ssconf(paths).write({"node_primary_ips": ADDRESSES, "primary_ip_family": family})
    assert listen_address(paths) == address


def test_every_declared_call_is_implemented(tmp_path: Path) -> None:
    with open_doors(Paths(str(tmp_path))) as doors:
        table = build_table(build_calls(build_services(doors, 1811, lambda: None)))
    assert {"version", "instance_start", "blockdev_create", "os_create"} <= set(table)
    assert {name: entry.lane for name, entry in table.items() if name.startswith("store_")} == {
        "store_append": "cluster",
        "store_replace": "cluster",
        "store_remove": "cluster",
    }


def test_changes_of_a_guest_exclude_one_another_and_looks_do_not(tmp_path: Path) -> None:
    with open_doors(Paths(str(tmp_path))) as doors:
        table = build_table(build_calls(build_services(doors, 1811, lambda: None)))
    ordered = {name for name, entry in table.items() if entry.order in ("instance", "name")}
    assert ordered == {
        "instance_start",
        "instance_stop",
        "instance_reboot",
        "migration_accept",
        "migration_start",
        "migration_finish_source",
        "migration_finish_target",
        "os_create",
        "os_rename",
    }


def test_directories_are_made_and_those_there_keep_their_modes(tmp_path: Path) -> None:
    paths = Paths(str(tmp_path))
    os.makedirs(paths.lock)
    os.chmod(paths.lock, 0o1777)
    make_directories(paths)
    assert stat.S_IMODE(os.stat(paths.lock).st_mode) == 0o1777
    assert stat.S_IMODE(os.stat(paths.data).st_mode) == 0o750
    assert stat.S_IMODE(os.stat(paths.run).st_mode) == 0o755


def test_link_into_an_empty_run_is_followed(tmp_path: Path) -> None:
    paths = Paths(str(tmp_path))
    os.makedirs(os.path.dirname(paths.lock))
    os.symlink(tmp_path / "run/lock", paths.lock)
    make_directories(paths)
    assert (tmp_path / "run/lock").is_dir()


def test_help_makes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("GANETI_ROOTDIR", str(tmp_path))
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0 and "node agent" in capsys.readouterr().out.lower()
    assert not list(tmp_path.iterdir())


def test_file_limit_is_raised_as_far_as_allowed() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        raise_file_limit()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert soft == (65536 if hard == resource.RLIM_INFINITY else min(65536, hard))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
