"""The command line of devcluster."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest

from ganeti.tools.devcluster import main
from ganeti.tools.devcluster.report import NodeStatus, build_table


def parse(*words: str) -> Namespace:
    return main.build_parser().parse_args(words, Namespace(name="demo", state=None))


@pytest.mark.parametrize("words", [("--name", "a", "status"), ("status", "--name", "a")])
def test_name_may_stand_on_either_side_of_the_command(words: tuple[str, ...]) -> None:
    assert parse(*words).name == "a"


def test_command_of_exec_is_handed_on_untouched() -> None:
    options = parse("exec", "node2", "ls", "--name", "x", "-l")
    assert (options.name, options.node, options.argv) == ("demo", "node2", ["ls", "--name", "x", "-l"])


def test_cluster_that_is_not_there_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["status", "--state", str(tmp_path)]) == 1
    assert "there is no cluster 'demo'" in capsys.readouterr().err


def test_table_shows_what_is_there_and_what_is_not(tmp_path: Path) -> None:
    from ganeti.tools.devcluster.plan import Plan

    first, second = Plan("demo", str(tmp_path), "10.1.2.0/24", 2, "kvm").nodes
    table = build_table([NodeStatus(first, "up", {"noded": 7, "masterd": 9}, ["i0", "i1"]), NodeStatus(second, "dead", {}, [])])
    assert table.splitlines() == [
        "Node       Address   State Daemons             Guests",
        "node1.demo 10.1.2.11 up    masterd(9) noded(7) i0 i1",
        "node2.demo 10.1.2.12 dead  -                   -",
    ]
