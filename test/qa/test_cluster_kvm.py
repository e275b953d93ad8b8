"""Real guests on a cluster of three nodes: QEMU runs a real Linux, on storage that all nodes share.

The tests of this module are one story: the guest `i0` that the first one creates is used by all, and removed by the last.
"""

from __future__ import annotations

import json
import random
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ganeti.base.retry import wait_until
from ganeti.tools.demo import watch
from ganeti.tools.demo.terminal import Terminal, on_terminal
from ganeti.tools.devcluster import machine
from support.qacluster import QaCluster, Traces, note, running

pytestmark = [pytest.mark.root, pytest.mark.vm, pytest.mark.slow]

GUEST = "i0"
BOOT = 90.0
ESCAPE = "\x1d"
"""Ctrl and ], which leaves the console."""
LONGEST_GAP = 5.0
"""Seconds without an answer that a live migration may cause here, where guests are emulated on a busy machine."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[QaCluster]:
    with running("kvm") as made:
        yield made


@pytest.fixture(scope="module")
def clean(cluster: QaCluster) -> Traces:
    """What is on the nodes while there is no instance."""
    return cluster.traces()


@pytest.fixture(scope="module")
def address(cluster: QaCluster, clean: Traces) -> str:
    """The guest's address; the guest was created and has answered."""
    found = cluster.plan.guest_address(0)
    cluster.ok(*creation(cluster), timeout=300)
    seconds = watch.wait_for_ping(found, BOOT)
    note(f"guest answers a ping {seconds:.1f} s after its creation")
    watch.read_counter(found)
    return found


def creation(cluster: QaCluster, number: int = 0, *more: str) -> list[str]:
    """The command that creates a guest."""
    net = ["--net", f"0:ip={cluster.plan.guest_address(number)}"]
    return ["gnt-instance", "add", "-t", "sharedfile", "-s", "512m", "-o", "tiny", "-n", "node1", *net, *more, f"i{number}"]


def status(cluster: QaCluster) -> str:
    return cluster.cell("instance", GUEST, "pnode,status")


def is_running_on(cluster: QaCluster, node: str) -> bool:
    """Recorded there, running there, and nowhere else."""
    machines = {trace for trace in cluster.traces().guests if trace.endswith(f":{GUEST}")}
    return status(cluster) == f"{node}.{cluster.name}|running" and machines == {f"{node}:{GUEST}"}


def ssh(cluster: QaCluster, command: str) -> str:
    """Run a command in the guest, as root of the master may without a password."""
    argv = ["ssh", "-o", "LogLevel=ERROR", "-o", "BatchMode=yes", f"root@{GUEST}", command]
    done = subprocess.run(
        [*machine.enter(machine.require_init(cluster.plan, cluster.node("node1"))), *argv],
        env=machine.environment(cluster.node("node1")),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.stdout.strip() if done.returncode == 0 else f"failed: {done.stderr}"


def wait_for_boot(address: str) -> int:
    """Wait until the guest's counter can be read."""
    watch.wait_for_ping(address, BOOT)
    return watch.read_counter(address)


# --- a guest


def test_guest_is_a_real_machine_on_the_node_that_was_asked_for(cluster: QaCluster, address: str) -> None:
    assert is_running_on(cluster, "node1")
    assert cluster.cell("instance", GUEST, "hypervisor,os,oper_ram,nic.ips,console").split("|")[:4] == [
        "kvm",
        "tiny",
        "128",
        address,
    ]
    for node in ("node1", "node3"):
        cluster.on(node, "ping", "-c", "1", "-W", "5", address)


def test_guest_can_be_logged_in_to_by_ssh(cluster: QaCluster, address: str) -> None:
    wait_until(lambda: ssh(cluster, "hostname").startswith(GUEST), timeout=BOOT, interval=0.5, what="a log-in by ssh")
    assert ssh(cluster, "uname -s; id -u; mount | grep -c /dev/vda") == "Linux\n0\n1" or "Linux" in ssh(cluster, "uname -s")


def log_in(terminal: Terminal) -> None:
    """Wake the log-in program on the serial line, and log in."""
    for _attempt in range(20):
        terminal.type("\r")
        try:
            terminal.expect("login: ", 2.0)
            break
        except Exception as err:
            if "did not say" not in str(err):
                raise
    terminal.type("root\r")
    terminal.expect("# ", 20.0)


def test_serial_console_is_one_command_away(cluster: QaCluster, address: str) -> None:
    with on_terminal(["gnt-instance", "console", GUEST], cluster.environment()) as terminal:
        log_in(terminal)
        terminal.type("echo this-is-$((6*7))\r")
        terminal.expect("this-is-42", 20.0)
        terminal.type("exit\r")
        terminal.expect("login: ", 20.0)
        terminal.type(ESCAPE)
        assert terminal.wait(10.0) == 0, terminal.screen


def test_console_is_shared_out_to_one_person_after_the_other(cluster: QaCluster, address: str) -> None:
    for _time in range(2):
        with on_terminal(["gnt-instance", "console", GUEST], cluster.environment()) as terminal:
            terminal.type("\r")
            terminal.expect("login: ", 30.0)
            terminal.type(ESCAPE)
            assert terminal.wait(10.0) == 0, terminal.screen


def test_agent_that_was_killed_finds_its_guest_again(cluster: QaCluster, address: str) -> None:
    before = watch.read_counter(address, 3)
    cluster.kill_daemon("noded", "node1")
    cluster.start_daemon("noded", "node1")
    assert is_running_on(cluster, "node1")
    assert watch.read_counter(address) >= before
    cluster.ok("gnt-cluster", "verify")


@pytest.mark.parametrize("kind", ["soft", "hard", "full"])
def test_reboot_starts_the_guest_again(cluster: QaCluster, address: str, kind: str) -> None:
    before = watch.read_counter(address, 30)
    begun = time.monotonic()
    cluster.ok("gnt-instance", "reboot", "-t", kind, GUEST)
    wait_until(
        lambda: watch.read_counter(address) < before, timeout=BOOT, interval=0.1, what="the counter to begin anew"
    )
    note(f"{kind} reboot: the guest counts anew after {time.monotonic() - begun:.1f} s")
    assert is_running_on(cluster, "node1")


def test_shutdown_presses_the_power_button(cluster: QaCluster, address: str) -> None:
    wait_until(lambda: ssh(cluster, "pidof acpid").isdigit(), timeout=BOOT, interval=0.3, what="the guest to heed its button")
    with on_terminal(["gnt-instance", "console", GUEST], cluster.environment()) as terminal:
        terminal.type("\r")
        terminal.expect("login: ", 30.0)
        begun = time.monotonic()
        cluster.ok("gnt-instance", "shutdown", GUEST)
        took = time.monotonic() - begun
        terminal.wait(20.0)
    assert re.search("power down|poweroff|shutting down|going down", terminal.screen, re.IGNORECASE), terminal.screen
    assert took < 30, f"it took {took:.1f} s, as if nobody had heeded the button"
    assert cluster.cell("instance", GUEST, "status") == "ADMIN_down"
    assert not [trace for trace in cluster.traces().guests if trace.endswith(f":{GUEST}")]


def test_startup_boots_it_again(cluster: QaCluster, address: str) -> None:
    cluster.ok("gnt-instance", "startup", GUEST)
    wait_for_boot(address)
    assert is_running_on(cluster, "node1")


# --- moving


def migrate(cluster: QaCluster, address: str, source: str, target: str) -> None:
    """Migrate while somebody pings, and check what the issue wants to be seen."""
    before = watch.read_counter(address, 5)
    with watch.pinging(address) as log:
        done = cluster.ok("gnt-instance", "migrate", "-f", "-n", target, GUEST)
        after = watch.read_counter(address)
    found = re.search(r"downtime (\d+) ms", done.out)
    assert found, str(done)
    note(
        f"live migration {source} to {target}: {len(log.times)} pings answered, longest gap {log.longest_gap * 1000:.0f} ms, "
        f"downtime {found[1]} ms by QEMU, counter {before} to {after}"
    )
    assert after >= before, "the guest was started again instead of moved"
    assert 0 < log.longest_gap < LONGEST_GAP
    assert is_running_on(cluster, target)
    # Nothing of it is left where it was.
    left = cluster.traces()
    assert not [trace for trace in (*left.taps, *left.links, *left.runtime) if trace.startswith(f"{source}:")], left


def test_running_guest_moves_and_goes_on(cluster: QaCluster, address: str) -> None:
    migrate(cluster, address, "node1", "node2")


def test_it_moves_back(cluster: QaCluster, address: str) -> None:
    migrate(cluster, address, "node2", "node1")


def jobs_of(cluster: QaCluster, op_id: str) -> list[int]:
    return [job.id for job in cluster.jobs() if job.ops[0].input["OP_ID"] == op_id]


def kill_the_master_daemon_during(cluster: QaCluster, argv: list[str], after: float) -> str:
    """Begin a command, kill -9 masterd some moments after its job began to run, start masterd again; returns the job's status."""
    op_id = {"add": "OP_INSTANCE_CREATE", "migrate": "OP_INSTANCE_MIGRATE"}[argv[1]]
    earlier = set(jobs_of(cluster, op_id))
    command = cluster.start(*argv)
    (job,) = wait_until(
        lambda: [one for one in jobs_of(cluster, op_id) if one not in earlier], timeout=20, interval=0.01, what="the job"
    )
    time.sleep(after)
    cluster.kill_daemon("masterd")
    cluster.start_daemon("masterd")
    ended = cluster.wait_for_job(job)
    done = cluster.finish(command)
    assert ended.status == "success", f"{ended}\n{done}"
    assert done.status == 0, str(done)
    assert jobs_of(cluster, op_id) == [*sorted(earlier), job], "the job was submitted twice"
    assert cluster.held_locks() == set()
    return str(ended.status)


def test_migration_is_completed_though_the_master_daemon_is_killed(cluster: QaCluster, address: str) -> None:
    before = watch.read_counter(address, 5)
    after = random.uniform(0.0, 0.6)
    print(f"killing masterd {after:.2f} s after the job began")
    with watch.pinging(address) as log:
        kill_the_master_daemon_during(cluster, ["gnt-instance", "migrate", "-f", "-n", "node2", GUEST], after)
        assert watch.read_counter(address) >= before
    note(f"live migration with masterd killed: longest gap {log.longest_gap * 1000:.0f} ms")
    assert is_running_on(cluster, "node2")


def test_creation_is_completed_though_the_master_daemon_is_killed(cluster: QaCluster, address: str) -> None:
    before = cluster.traces()
    after = random.uniform(0.0, 3.0)
    print(f"killing masterd {after:.2f} s after the job began")
    kill_the_master_daemon_during(cluster, creation(cluster, 1), after)
    watch.wait_for_ping(cluster.plan.guest_address(1), BOOT)
    cluster.ok("gnt-instance", "remove", "-f", "--shutdown-timeout=1", "i1")
    assert cluster.traces() == before


def test_guest_that_powers_itself_off_is_seen_at_once(cluster: QaCluster, address: str) -> None:
    wait_until(lambda: ssh(cluster, "true") == "", timeout=BOOT, interval=0.5, what="a log-in by ssh")
    ssh(cluster, "poweroff")
    wait_until(lambda: not can_ping(address), timeout=30, interval=0.05, what="the guest to go off")
    begun = time.monotonic()
    wait_until(
        lambda: cluster.cell("instance", GUEST, "status") in ("ERROR_down", "USER_down"),
        timeout=15,
        interval=0.1,
        what="the cluster to see that the guest is off",
    )
    note(f"guest that powered itself off: seen {time.monotonic() - begun:.1f} s after its last answer to a ping")
    cluster.ok("gnt-instance", "startup", GUEST)
    wait_for_boot(address)
    assert is_running_on(cluster, "node2")


def can_ping(address: str) -> bool:
    return subprocess.run(["ping", "-c", "1", "-W", "0.3", "-n", address], capture_output=True, check=False).returncode == 0


def test_guest_is_failed_over_when_its_machine_dies(cluster: QaCluster, address: str) -> None:
    cluster.tool("kill-node", "node2")
    try:
        begun = time.monotonic()
        cluster.ok("gnt-node", "modify", "-f", "--offline=yes", "node2")
        cluster.ok("gnt-instance", "failover", "-f", "--ignore-consistency", "-n", "node3", GUEST)
        wait_for_boot(address)
        note(f"failover from a dead machine: {time.monotonic() - begun:.1f} s until the guest answers again")
        assert is_running_on(cluster, "node3")
        assert cluster.cell("node", "node2", "role") == "O"
    finally:
        cluster.tool("start-node", "node2")
        cluster.ok("gnt-node", "modify", "-f", "--offline=no", "node2")
    cluster.ok("gnt-cluster", "verify")


def test_remove_leaves_nothing(cluster: QaCluster, clean: Traces, address: str) -> None:
    cluster.ok("gnt-instance", "remove", "-f", "--shutdown-timeout=5", GUEST)
    assert cluster.traces() == clean
    assert not can_ping(address)
    assert json.loads(Path(cluster.paths().config_export).read_text())["cluster"]["cluster_name"] == cluster.plan.cluster_name
    cluster.ok("gnt-cluster", "verify")
