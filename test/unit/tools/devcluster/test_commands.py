"""The shell scripts that run the product's commands inside a node."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ganeti.tools.devcluster import commands, machine
from ganeti.tools.devcluster.plan import Plan


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    plan = Plan("demo", str(tmp_path / "a state"), "10.1.2.0/24", 2, "kvm")
    commands.write(plan, "")
    Path(plan.master_file).write_text("node1\n")
    (Path(plan.state) / "init").mkdir()
    return plan


def call(plan: Plan, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command with an `nsenter` that only tells how it was called."""
    folder = Path(plan.state) / "fake"
    folder.mkdir(exist_ok=True)
    (folder / "nsenter").write_text('#!/bin/sh\necho "$GANETI_ROOTDIR"\nprintf "<%s>" "$@"\n')
    (folder / "nsenter").chmod(0o755)
    (Path(plan.commands) / "gnt-test").symlink_to(".enter")
    return subprocess.run(
        [Path(plan.commands) / "gnt-test", "a", "b  c"],
        capture_output=True,
        text=True,
        check=False,
        cwd="/usr",
        env={"PATH": f"{folder}:/usr/bin:/bin", **environment},
    )


def claim_to_be_node(plan: Plan, short: str, started: int | None = None) -> None:
    stat = machine.read_stat(os.getpid())
    assert stat is not None
    (Path(plan.state) / "init" / short).write_text(f"{os.getpid()} {stat[2] if started is None else started}\n")


def test_command_enters_the_node_that_is_up(plan: Plan) -> None:
    claim_to_be_node(plan, "node2")
    done = call(plan, DEVCLUSTER_NODE="node2.demo")
    program = f"{machine.PROGRAMS}/gnt-test"
    assert done.stdout.splitlines() == [
        f"{plan.state}/nodes/node2.demo",
        f"<--target={os.getpid()}><--mount><--uts><--net><--pid><--wdns=/usr><--><{program}><a><b  c>",
    ], done.stderr


def test_node_that_is_off_is_an_error(plan: Plan) -> None:
    done = call(plan)
    assert done.returncode == 1 and "node node1 of cluster demo is off" in done.stderr


def test_number_of_another_process_is_not_taken_for_the_node(plan: Plan) -> None:
    claim_to_be_node(plan, "node1", started=1)
    assert "node node1 of cluster demo is off" in call(plan).stderr


def test_environment_goes_into_the_path_once(plan: Plan) -> None:
    code = commands.build_environment(plan)
    argv = ["/bin/sh", "-c", f'{code}{code}echo "$PATH"']
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env={"PATH": "/x"})
    assert done.stdout.strip() == f"{plan.commands}:/x"
