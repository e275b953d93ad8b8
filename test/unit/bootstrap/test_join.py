"""The master's side of adding a node, as far as it needs no other host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ganeti import __version__
from ganeti.base.errors import PrereqError
from ganeti.base.files import write_atomic
from ganeti.base.paths import Paths
from ganeti.bootstrap.join import check_answer, known_hosts_file

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK5dMyVV5ZhQ3aGeVw1xfBlr7PLBAz8d5dWW4DCjTdfo"


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = Paths(str(tmp_path), "node1.example.com")
    Path(paths.data).mkdir(parents=True)
    write_atomic(paths.known_hosts, f"node2.example.com {KEY}\n")
    return paths


def test_host_key_of_a_node_is_the_one_that_the_cluster_knows(paths: Paths) -> None:
    assert known_hosts_file(paths, "node2.example.com") == paths.known_hosts


def test_host_key_of_a_new_host_is_remembered_by_root_and_not_in_the_cluster_s_list(paths: Paths) -> None:
    assert known_hosts_file(paths, "node3.example.com") == f"{paths.ssh_directory}/known_hosts"


@pytest.mark.parametrize(
    ("change", "problem"), [({"version": "3.0.2"}, "has version 3.0.2"), ({"time": 1000.0 + 151}, "151 seconds off")]
)
def test_host_that_does_not_fit_is_refused(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(PrereqError, match=problem):
        check_answer("node2", {"version": __version__, "time": 1000.0, **change}, 1000.0)


def test_host_that_fits_is_accepted() -> None:
    check_answer("node2", {"version": __version__, "time": 1149.0}, 1000.0)
