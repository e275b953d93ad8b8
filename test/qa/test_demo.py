"""The demonstration from its first step to its last, then the way back: everything is removed by the product's own commands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ganeti.tools.demo.steps import STEPS
from ganeti.tools.devcluster import commands
from ganeti.tools.devcluster.plan import Plan, default_state, from_json, plan_file

pytestmark = [pytest.mark.root, pytest.mark.vm, pytest.mark.slow]

TOOLS = Path(__file__).resolve().parents[2] / "tools"


@pytest.fixture
def where() -> Iterator[list[str]]:
    """The options that name a cluster of our own."""
    options = ["--name", f"d{os.getpid() % 10**6}"]
    yield options
    subprocess.run([sys.executable, TOOLS / "devcluster", "down", *options], check=True, capture_output=True, timeout=120)


def gnt(plan: Plan, *argv: str) -> str:
    """A command as after `devcluster env`."""
    script = commands.build_environment(plan) + 'exec "$@"'
    done = subprocess.run(["sh", "-c", script, "sh", *argv], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_demonstration_runs_to_its_end_and_all_of_it_can_be_removed(where: list[str]) -> None:
    done = subprocess.run([sys.executable, TOOLS / "demo", *where], capture_output=True, text=True, check=False, timeout=900)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"^--- (\d+)/", done.stdout, re.MULTILINE) == [str(number) for number in range(1, len(STEPS) + 1)]
    gap = re.search(r"longest gap of (\d+) ms", done.stdout)
    assert gap is not None and int(gap[1]) < 5000

    plan = from_json(Path(plan_file(default_state(where[-1]))).read_text())
    assert gnt(plan, "gnt-instance", "list", "--no-headers", "-o", "pnode,status").split() == [plan.nodes[2].name, "running"]
    gnt(plan, "gnt-instance", "remove", "-f", "i0")
    assert list(Path(plan.shared_storage).iterdir()) == []
    for node in plan.nodes[1:]:
        gnt(plan, "gnt-node", "remove", node.short)
    assert gnt(plan, "gnt-node", "list", "--no-headers", "-o", "name").split() == [plan.nodes[0].name]
    gnt(plan, "gnt-cluster", "destroy", "--yes-do-it")
    for node in plan.nodes:
        assert not Path(node.paths.store).exists() and not Path(node.paths.node_certificate).exists()
