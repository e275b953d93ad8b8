"""Real nodes on this machine: made, reached, cut off, frozen, killed, started again, and gone without a trace."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ganeti.base.retry import wait_until
from ganeti.tools.devcluster import machine
from ganeti.tools.devcluster.plan import Plan, from_json, plan_file

pytestmark = pytest.mark.root

TOOL = Path(__file__).resolve().parents[2] / "tools" / "devcluster"


@dataclass(frozen=True)
class Tool:
    """The command `devcluster` for one cluster."""

    name: str
    state: Path

    def argv(self, verb: str, *words: str) -> list[str]:
        return [sys.executable, str(TOOL), "--name", self.name, "--state", str(self.state), verb, *words]

    def run(self, verb: str, *words: str, status: int = 0) -> str:
        done = subprocess.run(self.argv(verb, *words), capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def on(self, node: str, *argv: str, status: int = 0) -> str:
        return self.run("exec", node, *argv, status=status)

    @property
    def plan(self) -> Plan:
        return from_json(Path(plan_file(str(self.state))).read_text())


def unused_name() -> str:
    return f"t{os.getpid() % 10**6}"


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tool]:
    """Three machines without a cluster on them."""
    tool = Tool(unused_name(), tmp_path_factory.mktemp("devcluster") / "state")
    try:
        tool.run("up", "--bare", "--nodes", "3")
        yield tool
    finally:
        tool.run("down")


def states(tool: Tool) -> dict[str, str]:
    rows = [line.split() for line in tool.run("status").splitlines()[2:]]
    return {row[0].split(".")[0]: row[2] for row in rows}


def can_ping(tool: Tool, source: str, target: str) -> bool:
    command = tool.argv("exec", source, "ping", "-c", "1", "-W", "1", target)
    return subprocess.run(command, capture_output=True, check=False, timeout=30).returncode == 0


def ssh(tool: Tool, source: str, target: str, *command: str) -> str:
    done = subprocess.run(
        tool.argv("exec", source, "ssh", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR", target, *command),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.stdout.strip() if done.returncode == 0 else f"failed: {done.stderr}"


def test_each_node_has_its_own_name_address_and_files(nodes: Tool) -> None:
    for node in nodes.plan.nodes:
        assert nodes.on(node.short, "hostname").strip() == node.name
        assert node.address in nodes.on(node.short, "ip", "-o", "addr", "show", "br0")
        nodes.on(node.short, "touch", "/srv/ganeti/file-storage/mark", "/run/mark")
        assert (Path(node.root) / "srv/ganeti/file-storage/mark").exists()
    assert not Path("/run/mark").exists() and not Path("/srv/ganeti/file-storage/mark").exists()


def test_shared_storage_is_the_same_everywhere(nodes: Tool) -> None:
    nodes.on("node1", "sh", "-c", "echo hello >/srv/ganeti/shared-file-storage/greeting")
    assert nodes.on("node3", "cat", "/srv/ganeti/shared-file-storage/greeting") == "hello\n"


def test_first_node_reaches_the_others_by_ssh(nodes: Tool) -> None:
    plan = nodes.plan
    assert ssh(nodes, "node1", plan.nodes[1].name, "hostname") == plan.nodes[1].name
    assert ssh(nodes, "node1", "node3", "echo $GANETI_HOSTNAME") == plan.nodes[2].name
    assert ssh(nodes, "node1", "node3", "echo $GANETI_ROOTDIR") == plan.nodes[2].root


def test_other_nodes_have_no_key(nodes: Tool) -> None:
    assert ssh(nodes, "node2", "node1", "true").startswith("failed: root@node1")


def test_names_of_nodes_cluster_and_guests_resolve_and_others_fail_at_once(nodes: Tool) -> None:
    plan = nodes.plan
    found = nodes.on("node2", "getent", "hosts", "i3").split()
    assert found[:2] == [plan.guest_address(3), f"i3.{plan.name}"]
    assert nodes.on("node2", "getent", "hosts", plan.cluster_name).split()[0] == plan.cluster_address
    start = time.monotonic()
    nodes.on("node2", "getent", "hosts", "nowhere.example", status=2)
    assert time.monotonic() - start < 5


def test_os_definitions_are_where_the_product_looks(nodes: Tool) -> None:
    for node in nodes.plan.nodes:
        for path in node.paths.os_search_path[:1]:
            assert sorted(os.listdir(path)) == ["noop", "tiny"]
            assert (Path(path) / "noop" / "create").exists()


def test_exec_hands_on_the_exit_status(nodes: Tool) -> None:
    nodes.on("node1", "sh", "-c", "exit 7", status=7)


def test_command_from_env_runs_on_the_master_and_on_the_node_that_is_asked_for(nodes: Tool, tmp_path: Path) -> None:
    code = nodes.run("env")
    show = Path(nodes.plan.commands) / "gnt-show"
    show.symlink_to(".enter")
    program = Path(machine.PROGRAMS) / "gnt-show"
    try:
        program.write_text('#!/bin/sh\necho "$(hostname) $GANETI_ROOTDIR $PWD $*"\nexit 3\n')
        program.chmod(0o755)
        script = f'{code} gnt-show a "b  c"; echo $?; DEVCLUSTER_NODE=node2 gnt-show'
        done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path)
    finally:
        program.unlink(missing_ok=True)
        show.unlink()
    first, second, _third = nodes.plan.nodes
    assert done.stdout.splitlines() == [
        f"{first.name} {first.root} {tmp_path} a b  c",
        "3",
        f"{second.name} {second.root} {tmp_path} ",
    ]


def test_up_twice_says_that_it_is_up(nodes: Tool) -> None:
    assert "is up already: 3 nodes" in nodes.run("up", "--bare")


def test_cut_node_is_not_reached_until_it_is_healed(nodes: Tool) -> None:
    assert can_ping(nodes, "node1", "node2")
    nodes.run("cut-node", "node2")
    assert states(nodes) == {"node1": "up", "node2": "cut", "node3": "up"}
    assert not can_ping(nodes, "node1", "node2") and not can_ping(nodes, "node2", "node3")
    assert can_ping(nodes, "node1", "node3")
    nodes.run("heal-node", "node2")
    assert can_ping(nodes, "node1", "node2")


def test_frozen_node_does_nothing_and_goes_on_where_it_was(nodes: Tool) -> None:
    counting = "i=0; while :; do i=$((i+1)); echo $i >/srv/ganeti/shared-file-storage/count; sleep 0.02; done"
    nodes.on("node3", "sh", "-c", f"setsid sh -c '{counting}' >/dev/null 2>&1 &")
    count = Path(nodes.plan.shared_storage) / "count"

    def value() -> int:
        return int(wait_until(lambda: count.exists() and count.read_text(), timeout=5, interval=0.01))

    value()
    nodes.run("freeze-node", "node3")
    assert states(nodes)["node3"] == "frozen"
    frozen = value()
    time.sleep(0.3)
    assert value() == frozen
    nodes.run("thaw-node", "node3")
    wait_until(lambda: value() > frozen + 2, timeout=5, interval=0.01)
    assert states(nodes)["node3"] == "up"


def test_killed_node_loses_its_processes_and_keeps_its_disk(nodes: Tool) -> None:
    plan = nodes.plan
    node = plan.find("node2")
    nodes.on("node2", "sh", "-c", "setsid sleep 1234 >/dev/null 2>&1 & echo kept >/srv/ganeti/file-storage/kept")
    init = machine.require_init(plan, node)
    members = [member.pid for member in machine.find_members(init)]
    assert len(members) >= 3  # init, sshd, sleep
    nodes.run("kill-node", "node2")
    assert not any(process_runs(pid) for pid in members)
    assert states(nodes)["node2"] == "dead"
    assert not can_ping(nodes, "node1", "node2")
    assert "is off" in nodes.on("node2", "true", status=1)
    nodes.run("start-node", "node2")
    assert ssh(nodes, "node1", "node2", "cat /srv/ganeti/file-storage/kept") == "kept"
    assert "is on already" in nodes.run("start-node", "node2", status=1)


def process_runs(pid: int) -> bool:
    found = machine.read_stat(pid)
    return found is not None and found[0] not in "ZX"


def test_node_that_is_not_there_is_named(nodes: Tool) -> None:
    assert "no node 'node9'; its nodes are node1, node2, node3" in nodes.run("kill-node", "node9", status=1)


# --- no trace


@dataclass(frozen=True)
class Traces:
    """What a cluster could leave behind. Other things change on a shared machine: only what could be ours is looked at."""

    links: frozenset[str]
    mounts: frozenset[str]
    namespaces: frozenset[str]
    processes: frozenset[int]


def find_traces(tool: Tool) -> Traces:
    links = [name for name in os.listdir("/sys/class/net") if name.startswith((f"gnt-{tool.name}", f"gv-{tool.name}-"))]
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(tool.state) in line]
    ours = [pid for pid in machine.list_processes() if process_runs(pid) and str(tool.state) in " ".join(machine.read_argv(pid))]
    namespaces = set()
    for pid in ours:
        for kind in ("net", "mnt", "uts", "pid"):
            namespaces.add(os.readlink(f"/proc/{pid}/ns/{kind}"))
    return Traces(frozenset(links), frozenset(mounts), frozenset(namespaces), frozenset(ours))


NOTHING = Traces(frozenset(), frozenset(), frozenset(), frozenset())


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Tool]:
    """A second cluster, beside the first one."""
    tool = Tool(unused_name() + "b", tmp_path / "state")
    try:
        yield tool
    finally:
        tool.run("down")


def holders(namespaces: frozenset[str]) -> list[int]:
    """Processes that are in one of these namespaces, and not in ours."""
    shared = {os.readlink(f"/proc/self/ns/{kind}") for kind in ("net", "mnt", "uts", "pid")}
    found = []
    for pid in machine.list_processes():
        for kind in ("net", "mnt", "uts", "pid"):
            try:
                if os.readlink(f"/proc/{pid}/ns/{kind}") in namespaces - shared:
                    found.append(pid)
            except OSError:
                continue
    return found


def test_down_leaves_no_trace(nodes: Tool, other: Tool) -> None:
    before = set(os.listdir("/sys/class/net"))
    other.run("up", "--bare", "--nodes", "2")
    other.on("node2", "sh", "-c", "setsid sleep 1234 >/dev/null 2>&1 &")
    assert other.plan.subnet != nodes.plan.subnet
    during = find_traces(other)
    assert len(during.links) == 3 and during.processes
    other.run("down")
    assert find_traces(other) == NOTHING
    assert holders(during.namespaces) == []
    assert set(os.listdir("/sys/class/net")) - before == set()
    assert not other.state.exists()
    assert states(nodes)["node1"] == "up"


def test_down_twice_is_fine(other: Tool) -> None:
    assert "nothing to remove" in other.run("down")
    assert "nothing to remove" in other.run("down")


@pytest.mark.parametrize("delay", [0.15, 0.25, 0.35, 0.45, 0.6, 0.8])
def test_down_removes_what_a_killed_up_left(other: Tool, delay: float) -> None:
    with subprocess.Popen(other.argv("up", "--bare", "--nodes", "2"), stdout=subprocess.PIPE) as process:
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
    other.run("down")
    assert find_traces(other) == NOTHING and not other.state.exists()


def test_interrupted_up_undoes_what_it_did(other: Tool) -> None:
    # A shell without job control has its background commands ignore SIGINT, and the tests may be one.
    interruptible = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(
        other.argv("up", "--bare", "--nodes", "20"),  # enough for the signal to arrive in the middle on a busy machine
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=interruptible,  # noqa: PLW1509  # no other thread runs in this test
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if b"starting node2" in line:
                process.send_signal(signal.SIGINT)
        assert process.wait() == 130
    assert find_traces(other) == NOTHING and not other.state.exists()


def test_state_that_holds_other_files_is_refused_and_kept(other: Tool) -> None:
    other.state.mkdir()
    (other.state / "letter").write_text("mine")
    assert "holds files but no cluster" in other.run("up", "--bare", status=1)
    other.run("down")
    assert (other.state / "letter").read_text() == "mine"


def test_state_below_a_directory_that_nodes_hide_is_refused(tmp_path: Path) -> None:
    assert "below /srv" in Tool(unused_name(), Path("/srv/devcluster-test")).run("up", "--bare", status=1)


def test_impossible_names_and_sizes_are_refused(tmp_path: Path) -> None:
    assert "cannot be the name" in Tool("Much-too-long", tmp_path / "s").run("up", status=1)
    assert "choose 1 to 80" in Tool("t0", tmp_path / "s").run("up", "--bare", "--nodes", "0", status=1)


def test_user_without_rights_is_told_so(tmp_path: Path) -> None:
    # The checkout may be where only root can read.
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    user += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    command = [*user, *Tool("t0", tmp_path / "s").argv("up", "--bare")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env={"PATH": os.environ["PATH"]})
    assert done.returncode == 1 and "run it as root" in done.stderr, done.stderr
