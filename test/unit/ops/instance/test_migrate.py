from __future__ import annotations

from typing import Any

import pytest

from ganeti.base.errors import Code, ExecError, NodeError, PrereqError
from ganeti.model.enums import AdminState, DiskTemplate, MigrationMode, RebootType
from ganeti.model.filled import fill_instance
from ganeti.ops.instance.failover import InstanceFailover
from ganeti.ops.instance.migrate import InstanceMigrate, is_older
from ganeti.ops.instance.reboot import InstanceReboot
from ganeti.ops.instance.remove import InstanceRemove
from ganeti.ops.instance.shutdown import InstanceShutdown
from ganeti.ops.instance.startup import InstanceStartup
from ganeti.ops.node.remove import NodeRemove
from ganeti.rpc.node.replies import RunState
from support.fakecluster import Died, FakeCluster, Fault, locks_of
from support.instances import created


@pytest.fixture
def cluster() -> FakeCluster:
    cluster = FakeCluster()
    created(cluster)
    return cluster


def migrating(**values: Any) -> InstanceMigrate:
    return InstanceMigrate(instance_name="web", **values)


def refused(cluster: FakeCluster, match: str, code: str = Code.STATE, **values: Any) -> None:
    serial = cluster.config.serial
    with pytest.raises(PrereqError, match=match) as caught:
        cluster.run(migrating(**values))
    assert caught.value.code == code
    assert cluster.config.serial == serial


def test_running_instance_moves_to_the_node_named_without_being_started_anew(cluster: FakeCluster) -> None:
    cluster.run(migrating(target_node="node3"))
    assert (cluster.running_on("web"), cluster.home_of("web")) == (["node3"], "node3")
    assert cluster.node("node3").guests["web"].starts == 1
    instance = cluster.instance("web")
    assert (instance.admin_state, instance.disks_active) == (AdminState.UP, True)
    assert cluster.problems() == cluster.leftovers() == []


def test_without_a_target_the_node_with_most_memory_left_is_chosen(cluster: FakeCluster) -> None:
    created(cluster, "big", pnode="node2", beparams={"memory": 1024})
    run = cluster.run(migrating())
    assert cluster.home_of("web") == "node3"
    assert "Chose node node3.example.com for instance web" in run.log


def test_the_last_line_tells_total_time_and_the_downtime_that_was_measured(cluster: FakeCluster) -> None:
    run = cluster.run(migrating(target_node="node2"))
    assert run.log[0] == "Migrating instance web from node1.example.com to node2.example.com"
    assert run.log[-1] == "Migration of web to node2.example.com done in 1.2 s, downtime 42 ms, 128 MiB sent"


def test_progress_is_told_every_few_seconds(cluster: FakeCluster) -> None:
    node = cluster.node("node1")
    original = node.migration_status

    def slow(instance: Any) -> Any:
        cluster.clock += 6
        return original(instance)

    node.migration_status = slow  # type: ignore[method-assign]  # this one node behaves differently
    run = cluster.run(migrating(target_node="node2"))
    assert run.log[1:-1] == ["Migration of web: 85 of 128 MiB left, 33 %", "Migration of web: 42 of 128 MiB left, 66 %"]


def test_the_address_is_the_target_s_secondary_one(cluster: FakeCluster) -> None:
    cluster.change_node("node2", secondary_ip="198.51.100.2")
    cluster.run(migrating(target_node="node2"))
    assert list(cluster.shared.listening) == ["tcp:198.51.100.2:8102"]


def test_an_instance_that_does_not_run_is_refused_or_failed_over(cluster: FakeCluster) -> None:
    cluster.node("node1").guests.clear()
    refused(cluster, r"does not run \(its state is absent\).*--allow-failover", target_node="node2")
    run = cluster.run(migrating(target_node="node2", allow_failover=True))
    assert cluster.running_on("web") == ["node2"]
    assert "Instance web does not run, so it is failed over" in run.log


def test_an_instance_set_so_is_always_failed_over(cluster: FakeCluster) -> None:
    created(cluster, "cold", beparams={"always_failover": True})
    cluster.run(InstanceMigrate(instance_name="cold", target_node="node2"))
    assert cluster.running_on("cold") == ["node2"]
    assert "migration_start" not in str(cluster.calls)


def test_data_on_one_node_only_are_refused(cluster: FakeCluster) -> None:
    created(cluster, "local", disk_template=DiskTemplate.FILE)
    with pytest.raises(PrereqError, match=r"its disks \(template file\) are on node1\.example\.com only"):
        cluster.run(InstanceMigrate(instance_name="local"))


def test_targets_that_cannot_take_it_are_refused(cluster: FakeCluster) -> None:
    refused(cluster, "is on node node1.example.com already", target_node="node1")
    refused(cluster, "node 'node9' is not known", Code.NOENT, target_node="node9")
    cluster.change_node("node2", drained=True, master_candidate=False)
    refused(cluster, "node node2.example.com is drained", target_node="node2")
    cluster.node("node3").bridges.clear()
    refused(cluster, "bridge br0 is missing on node node3", Code.ENVIRON, target_node="node3")
    refused(
        cluster,
        r"no node can take instance web: node2\.example\.com: is drained; node3\.example\.com: bridge br0 is missing",
        Code.NORES,
    )


def test_memory_that_the_target_lacks_is_refused_saying_by_how_much(cluster: FakeCluster) -> None:
    created(cluster, "big", pnode="node2", beparams={"memory": 3800})
    refused(cluster, "needs 128 MiB of memory, 88 MiB more than the 40 MiB", Code.NORES, target_node="node2")


def test_an_older_hypervisor_on_the_target_is_refused_unless_ignored(cluster: FakeCluster) -> None:
    cluster.node("node2").hypervisor_version = "6.2.0"
    refused(cluster, r"has version 7\.2\.22 on node1\.example\.com, but the older 6\.2\.0 on node2", target_node="node2")
    cluster.run(migrating(target_node="node2", ignore_hvversions=True))


@pytest.mark.parametrize(
    ("version", "than", "older"),
    [("6.2", "7.2", True), ("7.2.19", "7.2.22", False), ("8.0", "7.2", False), ("", "7.2", False), ("fake", "7", False)],
)
def test_versions_are_compared_by_their_first_two_numbers(version: str, than: str, older: bool) -> None:
    assert is_older(version, than) is older


def test_what_the_hypervisor_cannot_migrate_is_refused(cluster: FakeCluster) -> None:
    cluster.node("node1").not_migratable = "it has a USB device of the host"
    refused(cluster, "cannot be migrated: it has a USB device", target_node="node2")


def test_what_is_not_supported_or_contradicts_itself_is_refused(cluster: FakeCluster) -> None:
    refused(cluster, "iallocator cannot be used", Code.INVAL, iallocator="hail")
    refused(cluster, "mode and live say the same", Code.INVAL, mode=MigrationMode.LIVE, live=True)
    refused(cluster, "ask for one of them", Code.INVAL, cleanup=True, allow_failover=True)


@pytest.mark.parametrize(
    ("values", "live"),
    [({}, True), ({"mode": MigrationMode.NON_LIVE}, False), ({"live": False}, False), ({"live": True}, True)],
)
def test_the_mode_is_the_one_asked_for_or_the_hypervisor_s(
    cluster: FakeCluster, values: dict[str, Any], live: bool
) -> None:
    seen = []
    node = cluster.node("node1")
    original = node.migration_start

    def start(instance: Any, uri: str, live: bool) -> None:
        seen.append(live)
        original(instance, uri, live)

    node.migration_start = start  # type: ignore[method-assign]  # this one node only watches
    cluster.run(migrating(target_node="node2", **values))
    assert seen == [live]


def test_a_source_that_is_offline_is_refused(cluster: FakeCluster) -> None:
    cluster.change_master("node2")
    cluster.change_node("node1", offline=True, master_candidate=False)
    refused(cluster, "is marked offline, so instance web cannot be migrated from there; fail it over")


def test_a_migration_that_fails_leaves_everything_as_it_was(cluster: FakeCluster) -> None:
    cluster.node("node1").migration_error = "out of cheese"
    with pytest.raises(ExecError, match="migration of instance web to node2.example.com failed: out of cheese"):
        cluster.run(migrating(target_node="node2"))
    assert (cluster.running_on("web"), cluster.home_of("web")) == (["node1"], "node1")
    assert cluster.problems() == cluster.leftovers() == []


def test_a_status_that_cannot_be_asked_for_a_moment_is_asked_again(cluster: FakeCluster) -> None:
    node = cluster.node("node1")
    original, left = node.migration_status, [3]

    def flaky(instance: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise NodeError("node1", "timeout")
        return original(instance)

    node.migration_status = flaky  # type: ignore[method-assign]  # this one node behaves differently
    run = cluster.run(migrating(target_node="node2"))
    assert sum("Asking for the migration's status again" in line for line in run.log) == 3
    assert cluster.running_on("web") == ["node2"]


# --- cleaning up


def test_cleanup_records_where_it_runs(cluster: FakeCluster) -> None:
    guests = cluster.node("node1").guests
    cluster.node("node3").guests["web"] = guests.pop("web")
    cluster.node("node3").assembled |= cluster.node("node1").assembled
    run = cluster.run(migrating(cleanup=True))
    assert cluster.home_of("web") == "node3"
    assert "WARNING: Instance web runs on node3.example.com: recording that" in run.log
    assert cluster.problems() == cluster.leftovers() == []


def test_cleanup_ends_a_guest_that_waits_in_vain(cluster: FakeCluster) -> None:
    from support.fakenode import Guest

    cluster.node("node2").guests["web"] = Guest("x", 128, 1, RunState.PAUSED, incoming=True)
    cluster.run(migrating(cleanup=True, target_node="node2"))
    assert cluster.running_on("web") == ["node1"]
    assert cluster.problems() == cluster.leftovers() == []


def test_cleanup_of_an_instance_that_runs_twice_is_left_to_people(cluster: FakeCluster) -> None:
    from support.fakenode import Guest

    cluster.node("node2").guests["web"] = Guest("x", 128, 1)
    refused(cluster, "runs on node1.example.com and node2.example.com at the same time", cleanup=True)


def test_cleanup_does_not_let_an_old_copy_go_on_that_may_have_run_elsewhere(cluster: FakeCluster) -> None:
    from support.fakenode import Outgoing

    node = cluster.node("node1")
    node.guests["web"].state = RunState.PAUSED
    node.outgoing["web"] = Outgoing(cluster.node("node2"), "web", status="completed")
    refused(cluster, "its state was sent to another node; but it is on none", cleanup=True)
    assert cluster.running_on("web") == []


def test_cleanup_of_an_instance_that_runs_nowhere_says_so(cluster: FakeCluster) -> None:
    cluster.node("node1").guests.clear()
    run = cluster.run(migrating(cleanup=True))
    assert run.log[-1] == "WARNING: Instance web runs nowhere; start it with gnt-instance startup"


def test_cleanup_needs_every_node_that_is_not_offline(cluster: FakeCluster) -> None:
    cluster.dead.add(cluster.uuid("node3"))
    refused(cluster, "cannot be found out: node node3", Code.ENVIRON, cleanup=True)
    cluster.change_node("node3", offline=True, master_candidate=False)
    cluster.run(migrating(cleanup=True))


def interrupted(cluster: FakeCluster, at: int) -> None:
    with pytest.raises(Died):
        cluster.run(migrating(target_node="node2"), Fault(at, "die-after"))


def test_an_interrupted_migration_is_recorded_and_only_cleanup_touches_the_instance(cluster: FakeCluster) -> None:
    interrupted(cluster, 4)
    assert cluster.instance("web").migration_peer == cluster.uuid("node2")
    name = {"instance_name": "web"}
    for op in (
        migrating(),
        InstanceFailover(**name),
        InstanceStartup(**name),
        InstanceShutdown(**name),
        InstanceReboot(reboot_type=RebootType.HARD, **name),
        InstanceRemove(**name),
    ):
        with pytest.raises(PrereqError, match="settle that first: gnt-instance migrate --cleanup web"):
            cluster.run(op)
    with pytest.raises(PrereqError, match=r"node node2\.example\.com still has instances \(web\)"):
        cluster.run(NodeRemove(node_name="node2"))
    cluster.run(migrating(cleanup=True))
    assert cluster.instance("web").migration_peer is None
    cluster.run(InstanceRemove(**name))
    assert cluster.problems() == cluster.leftovers() == []


def test_cleanup_asks_the_recorded_nodes_only(cluster: FakeCluster) -> None:
    interrupted(cluster, 4)
    cluster.dead.add(cluster.uuid("node3"))
    assert locks_of(migrating(cleanup=True), cluster.config)["shared node"] == ["node1", "node2"]
    cluster.run(migrating(cleanup=True))
    assert cluster.running_on("web") == [cluster.home_of("web")]


@pytest.mark.parametrize("at", range(1, 9))
def test_a_source_that_died_in_the_middle_does_not_make_the_guest_run_twice(cluster: FakeCluster, at: int) -> None:
    cluster.change_master("node3")
    interrupted(cluster, at)
    old = cluster.node("node1")
    if at < 5:
        while "web" in old.outgoing and old.outgoing["web"].status == "active":
            old.migration_status(fill_instance(cluster.config, cluster.instance("web")))
    old.guests.clear()
    old.assembled.clear()
    cluster.dead.add(cluster.uuid("node1"))
    cluster.change_node("node1", offline=True, master_candidate=False)
    cluster.run(InstanceFailover(instance_name="web", cleanup=True))
    if not cluster.running_on("web"):
        op = InstanceFailover if cluster.home_of("web") == "node1" else InstanceStartup
        cluster.run(op(instance_name="web"))
    assert cluster.running_on("web") == [cluster.home_of("web")] != ["node1"]
    assert cluster.problems() == cluster.leftovers() == []


# --- locks and hooks


def test_targets_are_locked_with_their_resources_until_one_is_chosen(cluster: FakeCluster) -> None:
    assert locks_of(migrating(), cluster.config) == {
        "exclusive instance": ["web"],
        "exclusive node-res": ["node2", "node3"],
        "shared cluster": ["BGL"],
        "shared node": ["node1", "node2", "node3"],
    }
    assert locks_of(migrating(target_node="node2"), cluster.config)["exclusive node-res"] == ["node2"]
    assert "exclusive node-res" not in locks_of(migrating(cleanup=True), cluster.config)
    run = cluster.run(migrating())
    assert sorted(str(name).partition("/")[0] for name in run.held) == ["cluster", "instance", "node", "node", "node-res"]


def test_hooks_are_told_both_nodes(cluster: FakeCluster) -> None:
    cluster.run(migrating(target_node="node2"))
    before, after = cluster.node("node2").hooks_run
    assert [before[0], before[1], after[1]] == ["instance-migrate", "pre", "post"]
    environment = before[2]
    assert environment["GANETI_OLD_PRIMARY"] == "node1.example.com"
    assert environment["GANETI_NEW_PRIMARY"] == "node2.example.com"
    assert environment["GANETI_MIGRATE_LIVE"] == "True"
    assert environment["GANETI_INSTANCE_PRIMARY"] == "node1.example.com"
    assert after[2]["GANETI_POST_INSTANCE_PRIMARY"] == "node2.example.com"
