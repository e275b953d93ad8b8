"""A cluster of three nodes whose guests are pretended: everything that its users do, by the commands that they type."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ganeti.base.retry import wait_until
from support.qacluster import QaCluster, running

pytestmark = pytest.mark.root

NODES = ("node1", "node2", "node3")


@pytest.fixture(scope="module")
def cluster() -> Iterator[QaCluster]:
    with running() as made:
        yield made


@pytest.fixture
def instance(cluster: QaCluster) -> Iterator[str]:
    """A running instance on node1 that all nodes can run."""
    cluster.add_instance("i0")
    yield "i0"
    cluster.remove_instances()


def full(cluster: QaCluster, short: str) -> str:
    """The name of a node."""
    return f"{short}.{cluster.name}"


def guest_file(cluster: QaCluster, node: str, name: str = "i0") -> Path:
    """The file that is a guest of the fake hypervisor."""
    return Path(cluster.paths(node).fake_hypervisor) / f"{name}.json"


# --- cluster


def test_new_cluster_has_its_nodes_as_master_candidates(cluster: QaCluster) -> None:
    rows = cluster.ok("gnt-node", "list", "--no-headers", "-o", "name,role,pip,offline,drained").rows
    addresses = [node.address for node in cluster.plan.nodes]
    roles = ["M", "C", "C"]
    assert rows == [
        [full(cluster, node), role, address, "N", "N"] for node, role, address in zip(NODES, roles, addresses, strict=True)
    ]


def test_new_cluster_verifies_clean(cluster: QaCluster) -> None:
    done = cluster.ok("gnt-cluster", "verify")
    assert "ERROR" not in done.out and "WARNING" not in done.out, str(done)


def test_verify_finds_a_file_that_differs(cluster: QaCluster) -> None:
    file = Path(cluster.paths("node2").known_hosts)
    before = file.read_bytes()
    file.write_bytes(before + b"# changed behind the cluster's back\n")
    try:
        done = cluster.run("gnt-cluster", "verify")
        assert done.status == 1 and re.search(r"ERROR.*known_hosts", done.out), str(done)
    finally:
        file.write_bytes(before)
    cluster.ok("gnt-cluster", "verify")


def test_master_name_and_address_are_where_they_should_be(cluster: QaCluster) -> None:
    plan = cluster.plan
    assert cluster.ok("gnt-cluster", "getmaster").out.strip() == full(cluster, "node1")
    assert cluster.ok("gnt-cluster", "getmaster", node="node3").out.strip() == full(cluster, "node1")
    assert plan.cluster_address in cluster.on("node1", "ip", "-o", "addr", "show", "br0")
    assert plan.cluster_address not in cluster.on("node2", "ip", "-o", "addr")
    cluster.on("node3", "ping", "-c", "1", "-W", "2", plan.cluster_address)


def test_cluster_info_tells_its_settings(cluster: QaCluster) -> None:
    out = cluster.ok("gnt-cluster", "info").out
    for line in (
        f"Cluster name: {cluster.plan.cluster_name}",
        f"Master node: {full(cluster, 'node1')}",
        "Enabled hypervisors: fake",
        "  enabled disk templates: sharedfile, file, diskless",
        "  master netdev: br0",
    ):
        assert line in out.splitlines(), out


def test_version_tells_its_parts(cluster: QaCluster) -> None:
    out = cluster.ok("gnt-cluster", "version").out
    assert "Software version:" in out and "OS api version: 20" in out


def test_every_candidate_has_the_store_and_the_export(cluster: QaCluster) -> None:
    cluster.ok("gnt-debug", "delay", "0")
    exported = Path(cluster.paths().config_export)

    def same() -> bool:
        files = [Path(cluster.paths(node).config_export) for node in NODES]
        return all(file.exists() for file in files) and len({file.read_bytes() for file in files}) == 1

    wait_until(same, timeout=10, interval=0.05, what="the export to reach all candidates")
    document = json.loads(exported.read_text())
    assert document["cluster"]["cluster_name"] == cluster.plan.cluster_name
    assert len(document["nodes"]) == 3
    for node in NODES:
        assert os.path.exists(cluster.paths(node).store)


def test_secrets_are_for_root_only(cluster: QaCluster) -> None:
    for node in cluster.plan.nodes:
        paths = node.paths
        for path in (paths.node_certificate, paths.ca_key, paths.store, paths.hmac_key, paths.domain_secret):
            assert os.stat(path).st_mode & 0o077 == 0, path
    for path in (cluster.paths().job_socket, cluster.paths().luxi_socket):
        assert os.stat(path).st_mode & 0o007 == 0, path


# --- nodes


def test_node_info_tells_about_one_node(cluster: QaCluster) -> None:
    out = cluster.ok("gnt-node", "info", "node2").out
    assert f"- Node name: {full(cluster, 'node2')}" in out and "master candidate: True" in out
    assert full(cluster, "node3") not in out


def test_node_list_shows_live_values(cluster: QaCluster) -> None:
    rows = cluster.ok("gnt-node", "list", "--no-headers", "--units=m", "-o", "name,mtotal,mfree,ctotal,bootid").rows
    assert [row[0] for row in rows] == [full(cluster, node) for node in NODES]
    assert all(int(row[1]) >= int(row[2]) > 0 and int(row[3]) > 0 for row in rows)


def test_offline_node_is_not_asked_and_comes_back(cluster: QaCluster) -> None:
    cluster.ok("gnt-node", "modify", "--offline=yes", "node3")
    try:
        assert cluster.cell("node", "node3", "role,mfree") == "O|*"
        assert cluster.fails("gnt-instance", "add", "-t", "diskless", "-o", "noop", "-n", "node3", "i1").count("offline")
    finally:
        cluster.ok("gnt-node", "modify", "--offline=no", "node3")
    assert cluster.cell("node", "node3", "role") == "C"
    cluster.ok("gnt-cluster", "verify")


def test_drained_node_gets_no_instance_and_comes_back(cluster: QaCluster) -> None:
    cluster.ok("gnt-node", "modify", "--drained=yes", "node2")
    try:
        assert cluster.cell("node", "node2", "role") == "D"
        assert "drained" in cluster.fails("gnt-instance", "add", "-t", "diskless", "-o", "noop", "-n", "node2", "i1")
    finally:
        cluster.ok("gnt-node", "modify", "--drained=no", "node2")
    assert cluster.cell("node", "node2", "role") == "C"


def test_node_that_is_no_candidate_has_no_store(cluster: QaCluster) -> None:
    store = Path(cluster.paths("node3").store)
    cluster.ok("gnt-node", "modify", "--master-candidate=no", "--force", "node3")
    try:
        assert cluster.cell("node", "node3", "role") == "R"
        wait_until(lambda: not store.exists(), timeout=10, interval=0.05, what="the store to go from node3")
        assert not os.path.exists(cluster.paths("node3").ca_key)
    finally:
        cluster.ok("gnt-node", "modify", "--master-candidate=yes", "node3")
    wait_until(store.exists, timeout=10, interval=0.05, what="the store to come to node3")
    cluster.ok("gnt-cluster", "verify")


def test_commands_on_another_node_say_which_one_is_the_master(cluster: QaCluster) -> None:
    error = cluster.fails("gnt-instance", "list", node="node2", status=11)
    assert full(cluster, "node1") in error


# --- instances


def test_os_list_shows_what_all_nodes_have(cluster: QaCluster) -> None:
    assert cluster.ok("gnt-os", "list", "--no-headers").out.split() == ["noop", "tiny"]


def test_instance_lives_from_add_to_remove(cluster: QaCluster) -> None:
    before = cluster.traces()
    added = cluster.add_instance("i0", "--net", f"0:ip={cluster.plan.guest_address(0)}")
    assert "Starting instance" in added.out
    fields = "name,status,pnode,os,hypervisor,nic.ips,disk.sizes,admin_state,oper_ram"
    assert cluster.cell("instance", "i0", fields).split("|") == [
        "i0",
        "running",
        full(cluster, "node1"),
        "noop",
        "fake",
        cluster.plan.guest_address(0),
        "8",
        "up",
        "128",
    ]
    assert guest_file(cluster, "node1").exists()
    info = cluster.ok("gnt-instance", "info", "i0").out
    assert "State: configured to be up, actual state is up" in info and "disk/0: sharedfile, size 8M" in info
    cluster.ok("gnt-instance", "shutdown", "i0")
    assert cluster.cell("instance", "i0", "status") == "ADMIN_down"
    cluster.ok("gnt-instance", "startup", "i0")
    for kind in ("soft", "hard", "full"):
        cluster.ok("gnt-instance", "reboot", "-t", kind, "i0")
        assert cluster.cell("instance", "i0", "status") == "running"
    cluster.ok("gnt-instance", "remove", "-f", "i0")
    assert cluster.traces() == before
    assert cluster.ok("gnt-instance", "list", "--no-headers").out == ""


def test_guest_that_stopped_by_itself_is_shown_and_started_again(cluster: QaCluster, instance: str) -> None:
    guest_file(cluster, "node1").with_suffix(".poweroff").touch()
    assert cluster.cell("instance", instance, "status") in ("ERROR_down", "USER_down")
    cluster.ok("gnt-instance", "startup", instance)
    assert cluster.cell("instance", instance, "status") == "running"


def test_several_instances_are_started_and_stopped_by_one_command(cluster: QaCluster, instance: str) -> None:
    cluster.add_instance("i1", node="node2")
    done = cluster.ok("gnt-instance", "shutdown", "i0", "i1")
    assert done.out.count("Waiting for job") == 2
    assert cluster.ok("gnt-instance", "list", "--no-headers", "-o", "status").out.split() == ["ADMIN_down", "ADMIN_down"]
    cluster.ok("gnt-instance", "startup", "i0", "i1")
    assert cluster.ok("gnt-instance", "list", "--no-headers", "-o", "status").out.split() == ["running", "running"]


def test_instance_migrates_while_it_runs(cluster: QaCluster, instance: str) -> None:
    boots = json.loads(guest_file(cluster, "node1").read_text())["boots"]
    done = cluster.ok("gnt-instance", "migrate", "-f", "-n", "node2", instance)
    assert re.search(r"downtime \d+ ms", done.out), str(done)
    guest = json.loads(guest_file(cluster, "node2").read_text())
    assert (guest["boots"], guest["migrations"], guest["status"]) == (boots, 1, "running")
    assert not guest_file(cluster, "node1").exists()
    assert cluster.cell("instance", instance, "pnode,status") == f"{full(cluster, 'node2')}|running"


def test_migration_tells_its_progress(cluster: QaCluster, instance: str) -> None:
    cluster.slow_down(migration_mib_per_second=22)  # a line of progress comes every 5 seconds
    try:
        done = cluster.ok("gnt-instance", "migrate", "-f", "-n", "node2", instance)
    finally:
        cluster.slow_down()
    assert re.search(r"\d+ ?%", done.out.partition("downtime")[0]), str(done)


def test_migration_that_fails_leaves_the_guest_where_it_was(cluster: QaCluster, instance: str) -> None:
    cluster.slow_down(fail=["migrate"])
    try:
        assert "settings.json" in cluster.fails("gnt-instance", "migrate", "-f", "-n", "node2", instance)
    finally:
        cluster.slow_down()
    assert cluster.cell("instance", instance, "pnode,status") == f"{full(cluster, 'node1')}|running"
    assert not guest_file(cluster, "node2").exists()
    assert cluster.held_locks() == set()


def test_instance_of_a_killed_node_is_failed_over_and_the_node_comes_back(cluster: QaCluster, instance: str) -> None:
    cluster.ok("gnt-instance", "migrate", "-f", "-n", "node2", instance)
    cluster.tool("kill-node", "node2")
    try:
        assert cluster.cell("instance", instance, "status") == "ERROR_nodedown"
        cluster.ok("gnt-node", "modify", "-f", "--offline=yes", "node2")
        assert cluster.cell("instance", instance, "status") == "ERROR_nodeoffline"
        cluster.ok("gnt-instance", "failover", "-f", "--ignore-consistency", "-n", "node3", instance)
        assert cluster.cell("instance", instance, "pnode,status") == f"{full(cluster, 'node3')}|running"
    finally:
        cluster.tool("start-node", "node2")
        cluster.ok("gnt-node", "modify", "-f", "--offline=no", "node2")
    assert cluster.cell("node", "node2", "role") == "C"
    assert "ERROR" not in cluster.ok("gnt-cluster", "verify").out


def test_failover_moves_a_running_instance_by_stopping_it(cluster: QaCluster, instance: str) -> None:
    cluster.ok("gnt-instance", "failover", "-f", "-n", "node3", instance)
    assert cluster.cell("instance", instance, "pnode,status") == f"{full(cluster, 'node3')}|running"
    assert json.loads(guest_file(cluster, "node3").read_text())["migrations"] == 0


def test_file_instance_cannot_leave_its_node(cluster: QaCluster) -> None:
    cluster.ok("gnt-instance", "add", "-t", "file", "-s", "8m", "-o", "noop", "-n", "node1", "i1")
    try:
        assert "file" in cluster.fails("gnt-instance", "migrate", "-f", "-n", "node2", "i1")
    finally:
        cluster.remove_instances()


# --- jobs and options


def job_id(text: str) -> int:
    found = re.search(r"JobID: (\d+)", text)
    assert found, text
    return int(found[1])


def test_submitted_job_is_waited_for_watched_and_listed(cluster: QaCluster) -> None:
    done = cluster.ok("gnt-debug", "delay", "--submit", "0.5")
    job = str(job_id(done.err))
    assert cluster.cell("job", job, "status") in ("queued", "waiting", "running")
    assert cluster.ok("gnt-job", "wait", job).out == ""
    assert cluster.cell("job", job, "id,status,summary") == f"{job}|success|TEST_DELAY(0.5)"
    assert f"Job {job} ended: success" in cluster.ok("gnt-job", "watch", job).out
    info = cluster.ok("gnt-job", "info", job).out
    assert f"- Job ID: {job}" in info and "OP_TEST_DELAY" in info and "Total processing time" in info


def test_watched_job_that_fails_has_its_error_and_status(cluster: QaCluster) -> None:
    done = cluster.ok("gnt-instance", "startup", "--submit", "nothere")
    job = done.out.partition(":")[0]
    assert job.isdigit(), str(done)
    assert "nothere" in cluster.fails("gnt-job", "wait", job)
    assert cluster.cell("job", job, "status") == "error"


def test_messages_of_a_job_are_shown_by_watch(cluster: QaCluster) -> None:
    words = ["-t", "sharedfile", "-s", "8m", "-o", "noop", "-n", "node1", "--submit", "i0"]
    job = str(job_id(cluster.ok("gnt-instance", "add", *words).err))
    try:
        assert "Creating instance" in cluster.ok("gnt-job", "watch", job).out
    finally:
        cluster.remove_instances()


def test_waiting_job_is_cancelled(cluster: QaCluster, instance: str) -> None:
    cluster.slow_down(stop_seconds=1)
    try:
        first = cluster.start("gnt-instance", "shutdown", instance)
        wait_until(cluster.held_locks, timeout=5, interval=0.02, what="the shutdown to hold its lock")
        done = cluster.ok("gnt-instance", "startup", "--submit", instance)
        waiting = done.out.partition(":")[0]
        wait_until(
            lambda: cluster.cell("job", waiting, "status") == "waiting", timeout=5, interval=0.05, what="the job to wait"
        )
        cluster.ok("gnt-job", "cancel", waiting)
        assert cluster.wait_for_job(int(waiting)).status == "canceled"
        assert cluster.finish(first).status == 0
    finally:
        cluster.slow_down()
    assert cluster.cell("instance", instance, "status") == "ADMIN_down"
    assert "cancelled" in cluster.fails("gnt-job", "wait", waiting)


def test_finished_job_cannot_be_cancelled(cluster: QaCluster) -> None:
    job = str(job_id(cluster.ok("gnt-debug", "delay", "--print-jobid", "0").err))
    assert job in cluster.fails("gnt-job", "cancel", job)


def test_unknown_job_is_named(cluster: QaCluster) -> None:
    for verb in ("wait", "watch", "info", "cancel"):
        assert "99999" in cluster.fails("gnt-job", verb, "99999")


def test_job_id_is_printed_and_the_job_waited_for(cluster: QaCluster) -> None:
    done = cluster.ok("gnt-debug", "delay", "--print-jobid", "0.1")
    assert cluster.cell("job", str(job_id(done.err)), "status") == "success"


def test_dry_run_changes_nothing(cluster: QaCluster, instance: str) -> None:
    before, things = cluster.objects(), cluster.traces()
    cluster.ok("gnt-instance", "shutdown", "--dry-run", instance)
    cluster.ok("gnt-instance", "remove", "-f", "--dry-run", instance)
    cluster.ok("gnt-instance", "migrate", "-f", "--dry-run", "-n", "node2", instance)
    cluster.ok("gnt-instance", "add", "-t", "sharedfile", "-s", "8m", "-o", "noop", "-n", "node1", "--dry-run", "i1")
    cluster.ok("gnt-node", "modify", "--drained=yes", "--dry-run", "node3")
    assert cluster.objects() == before and cluster.traces() == things


def test_urgent_job_goes_first(cluster: QaCluster, instance: str) -> None:
    cluster.slow_down(stop_seconds=1)
    try:
        first = cluster.start("gnt-instance", "shutdown", instance)
        wait_until(cluster.held_locks, timeout=5, interval=0.02, what="the shutdown to hold its lock")
        submitted = [
            cluster.ok("gnt-instance", "reboot", "--submit", f"--priority={word}", instance).out.partition(":")[0]
            for word in ("low", "normal", "high")
        ]
        cluster.finish(first)
        ends = [cluster.wait_for_job(int(job)).ops[0].execute or 0 for job in submitted]
    finally:
        cluster.slow_down()
    assert ends == sorted(ends, reverse=True)
    assert [cluster.job(int(job)).ops[0].priority for job in submitted] == [10, 0, -10]  # type: ignore[union-attr]


def test_lists_obey_fields_headers_separators_and_units(cluster: QaCluster, instance: str) -> None:
    fields = "name,be/memory,disk.sizes"
    plain = cluster.ok("gnt-instance", "list", "-o", fields).rows
    assert len(plain) == 2 and plain[0][0] == "Instance"
    done = cluster.ok("gnt-instance", "list", "-o", fields, "--no-headers", "--separator=,", "--units=m")
    assert done.out == "i0,128,8\n"
    assert cluster.ok("gnt-instance", "list", "-o", "be/memory", "--no-headers").out.strip() == "128M"
    assert cluster.ok("gnt-instance", "list", "-o", "be/memory", "--no-headers", "--units=g").out.strip() == "0.1"
    extra = cluster.ok("gnt-instance", "list", "-o", "+tags", "--no-headers", "--separator=|").out
    assert extra.count("|") == 6


def test_exit_status_tells_the_kind_of_failure(cluster: QaCluster) -> None:
    assert "nonsense" in cluster.fails("gnt-instance", "list", "-o", "nonsense", status=14)
    assert cluster.run("gnt-instance", "frobnicate").status == 1
    assert cluster.run("gnt-instance", "list", "--frobnicate").status == 1
    cluster.fails("gnt-instance", "startup", "nothere", status=1)
    cluster.fails("gnt-node", "list", node="node2", status=11)
    assert cluster.run("gnt-instance", "remove", "nothere").status == 1  # nobody could confirm


# --- the end


def test_host_without_a_cluster_says_so_and_a_cluster_that_was_destroyed_leaves_nothing() -> None:
    with running(size=2, bare=True) as cluster:
        error = cluster.fails("gnt-instance", "list", status=5)
        assert "cluster" in error
        clean = {node.short: product_files(cluster, node.short) for node in cluster.plan.nodes}
        cluster.initialise()
        assert cluster.fails("gnt-cluster", "init", cluster.plan.cluster_name)
        cluster.add_instance("i0", node="node2")
        assert "i0" in cluster.fails("gnt-node", "remove", "node2")
        assert cluster.run("gnt-cluster", "destroy").status == 1
        cluster.fails("gnt-cluster", "destroy", "--yes-do-it")
        cluster.remove_instances()
        cluster.ok("gnt-node", "remove", "node2")
        wait_until(lambda: cluster.daemon("noded", "node2") is None, timeout=10, interval=0.05, what="node2's agent to end")
        assert product_files(cluster, "node2") == clean["node2"]
        cluster.ok("gnt-cluster", "verify")
        cluster.ok("gnt-cluster", "destroy", "--yes-do-it")
        assert product_files(cluster, "node1") == clean["node1"]
        assert cluster.daemon("masterd") is None and cluster.daemon("noded") is None
        assert cluster.plan.cluster_address not in cluster.on("node1", "ip", "-o", "addr")
        cluster.fails("gnt-instance", "list", status=5)
        # Nothing is in the way of a new one.
        cluster.initialise()
        assert len(cluster.ok("gnt-node", "list", "--no-headers").rows) == 2


def product_files(cluster: QaCluster, node: str) -> set[str]:
    """Files of the product on a node, without its logs, and without pid files of daemons that ended: those are empty."""
    paths = cluster.paths(node)
    found = set()
    for folder in (paths.data, paths.run, paths.conf):
        for base, _folders, names in os.walk(folder):
            found |= {os.path.join(base, name) for name in names}
    return {path for path in found if not path.endswith(".pid") or os.path.getsize(path)}
