"""The three opcodes of verification, and each check."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from ganeti.base.errors import ExecError, PrereqError
from ganeti.model.enums import AdminState, DiskTemplate
from ganeti.model.ids import GroupUuid
from ganeti.model.objects import Group
from ganeti.ops.base import from_wire
from ganeti.ops.cluster.verify.cluster import ClusterVerify
from ganeti.ops.cluster.verify.codes import VerifyCode
from ganeti.ops.cluster.verify.config import ClusterVerifyConfig
from ganeti.ops.cluster.verify.gather import neighbours
from ganeti.ops.cluster.verify.group import ClusterVerifyGroup
from ganeti.ops.registry import find
from ganeti.rpc.node.replies import OsVariantInfo, RunState
from support.fakecluster import FakeCluster, locks_of
from support.fakenode import Guest
from support.instances import created


@pytest.fixture
def cluster() -> FakeCluster:
    cluster = FakeCluster()
    cluster.clock = 0.0
    created(cluster, "web", pnode="node1")
    created(cluster, "cold", pnode="node2", start=False, disk_template=DiskTemplate.FILE)
    return cluster


def problems(cluster: FakeCluster, **values: Any) -> list[str]:
    """The lines of what a group's verification found; also checks that its result fits them."""
    run = cluster.run(ClusterVerifyGroup(group_name="default", **values))
    lines = [line.strip().removeprefix("- ") for line in run.log if line.startswith("  - ")]
    assert run.result is not any(line.startswith("ERROR") for line in lines)
    return lines


# --- the opcodes


def test_a_cluster_in_order_is_clean(cluster: FakeCluster) -> None:
    assert problems(cluster) == []
    run = cluster.run(ClusterVerifyConfig())
    assert run.result is True and run.log == ["* Verifying the configuration"]


def test_one_job_is_for_the_configuration_and_one_for_each_group_after_it(cluster: FakeCluster) -> None:
    cluster.put(Group(uuid=GroupUuid("g2"), name="other"))
    run = cluster.run(ClusterVerify(error_codes=True, skip_checks=["nplusone_mem"]))
    assert run.result == {"jobs": [[True, 1], [True, 2], [True, 3]]}
    ops = [from_wire(op, find) for (op,) in run.submitted]
    assert isinstance(ops[0], ClusterVerifyConfig) and ops[0].error_codes
    groups = [op for op in ops[1:] if isinstance(op, ClusterVerifyGroup)]
    assert [(op.group_name, op.depends, op.skip_checks) for op in groups] == [
        ("default", [(-1, [])], ["nplusone_mem"]),
        ("other", [(-2, [])], ["nplusone_mem"]),
    ]


def test_a_single_group_is_verified_without_the_configuration(cluster: FakeCluster) -> None:
    run = cluster.run(ClusterVerify(group_name="default"))
    assert [op["OP_ID"] for (op,) in run.submitted] == ["OP_CLUSTER_VERIFY_GROUP"]
    assert run.submitted[0][0]["depends"] is None


def test_looking_for_clutter_is_refused(cluster: FakeCluster) -> None:
    for op in (ClusterVerify(verify_clutter=True), ClusterVerifyGroup(group_name="default", verify_clutter=True)):
        with pytest.raises(PrereqError, match="not supported yet"):
            cluster.run(op)


def test_what_is_wrong_in_the_configuration_is_told(cluster: FakeCluster) -> None:
    cluster.change_cluster(enabled_disk_templates=(DiskTemplate.SHAREDFILE,))
    run = cluster.run(ClusterVerifyConfig(error_codes=True))
    assert run.result is False
    assert run.log[1:] == ["  - ERROR:ECLUSTERCFG:instance:cold:its disk template file is not enabled"]


def test_lines_are_for_people_or_for_programs_and_errors_may_be_ignored(cluster: FakeCluster) -> None:
    cluster.node("node1").guests.clear()
    text = "it should run on node1.example.com, but does not"
    assert problems(cluster) == [f"ERROR: instance web: {text}"]
    assert problems(cluster, error_codes=True) == [f"ERROR:EINSTANCEDOWN:instance:web:{text}"]
    ignored = {"error_codes": True, "ignore_errors": [VerifyCode.EINSTANCEDOWN]}
    assert problems(cluster, **ignored) == [f"WARNING:EINSTANCEDOWN:instance:web:{text}"]


def test_simulated_errors_are_one_of_each_sort(cluster: FakeCluster) -> None:
    config = cluster.run(ClusterVerifyConfig(debug_simulate_errors=True, error_codes=True))
    assert config.result is False
    lines = problems(cluster, debug_simulate_errors=True, error_codes=True)
    seen = {line.split(":")[1] for line in [*config.log[2:], *lines]}
    assert {f"{code}" for code in VerifyCode} == {word.strip() for word in seen if word.isupper()}


def test_the_group_is_locked_shared(cluster: FakeCluster) -> None:
    locks = locks_of(ClusterVerifyGroup(group_name="default"), cluster.config)
    assert locks["shared instance"] == ["cold", "web"] and len(locks["shared node"]) == 3
    assert not [key for key in locks if key.startswith("exclusive")]


def test_hooks_run_afterwards_on_the_group_s_nodes(cluster: FakeCluster) -> None:
    cluster.change_node("node2", tags=("rack-1", "ssd"))
    cluster.node("node2").hooks_run.clear()
    problems(cluster)
    ((path, phase, environment),) = cluster.node("node2").hooks_run
    assert (path, phase) == ("cluster-verify", "post")
    assert environment["GANETI_NODE_TAGS_node2.example.com"] == "rack-1 ssd"


def test_many_nodes_are_thinned_out() -> None:
    rows = [FakeCluster(nodes=1).node_row(number) for number in range(1, 101)]
    assert neighbours(rows[:3], rows[3:5]) == rows[:4]
    assert 20 <= len(neighbours(rows, [])) <= 32


# --- agents, certificates, files


def test_an_agent_that_does_not_answer_is_told_once(cluster: FakeCluster) -> None:
    cluster.dead.add(cluster.uuid("node3"))
    assert problems(cluster) == ["ERROR: node node3.example.com: its agent cannot be asked: connection refused"]


def test_offline_nodes_are_not_asked(cluster: FakeCluster) -> None:
    cluster.dead.add(cluster.uuid("node3"))
    cluster.change_node("node3", offline=True, master_candidate=False)
    assert problems(cluster) == []


def test_version_clock_and_name_are_compared_with_the_master_s(cluster: FakeCluster) -> None:
    node = cluster.node("node2")
    node.version_reply = dataclasses.replace(node.version_reply, software="3.1.0", time=500.0, hostname="other")
    assert problems(cluster, error_codes=True) == [
        "ERROR:ENODEVERSION:node:node2.example.com:it has version 3.1.0 of the software, the master 3.2.0",
        "ERROR:ENODESETUP:node:node2.example.com:its agent calls itself other",
        "ERROR:ENODETIME:node:node2.example.com:its clock is 500.0 seconds off, more than the 150 allowed",
    ]


def test_certificates_are_the_known_ones_and_do_not_expire_soon(cluster: FakeCluster) -> None:
    day = 86400.0
    for name, days in (("node1", 29), ("node2", 3), ("node3", -1)):
        cluster.node(name).verify_overrides = {"certificate_expiry": days * day}
    cluster.node("node3").digest = "digest-node2.example.com"
    assert problems(cluster, error_codes=True) == [
        "WARNING:ECLUSTERCERT:node:node1.example.com:its certificate expires in 29 days",
        "ERROR:ECLUSTERCERT:node:node2.example.com:its certificate expires in 3 days",
        "ERROR:ECLUSTERCLIENTCERT:node:node3.example.com:it has another certificate than the configuration says; re-add the node",
        "ERROR:ECLUSTERCLIENTCERT:node:node3.example.com:it has the same certificate as node node2.example.com",
        "ERROR:ECLUSTERCERT:node:node3.example.com:its certificate has expired; re-add the node",
    ]


def test_files_are_where_they_should_be_and_the_same(cluster: FakeCluster) -> None:
    everything = dict.fromkeys(("ca.pem", "known_hosts", "ca.key", "hmac.key"), "0" * 64)
    cluster.node("node1").verify_overrides = {"files": everything}
    cluster.node("node2").verify_overrides = {"files": {**everything, "ca.pem": None, "known_hosts": "1" * 64}}
    cluster.change_node("node3", master_candidate=False)
    cluster.node("node3").verify_overrides = {"files": {**everything, "hmac.key": None}}
    assert problems(cluster, error_codes=True) == [
        "ERROR:ENODEFILECHECK:node:node2.example.com:file ca.pem is missing",
        "ERROR:ENODEFILECHECK:node:node2.example.com:file known_hosts differs from the master's",
        "ERROR:ENODEFILECHECK:node:node3.example.com:file ca.key should not be there: the node is no master candidate",
    ]


# --- network, hypervisors, storage, operating systems


def test_the_network_is_checked(cluster: FakeCluster) -> None:
    cluster.node("node1").verify_overrides = {"has_master_ip": False}
    cluster.node("node2").verify_overrides = {"has_master_ip": True, "unreachable": {"node3.example.com": "no answer"}}
    cluster.node("node3").verify_overrides = {"has_master_ip": False}
    cluster.node("node3").bridges.clear()
    assert problems(cluster, error_codes=True) == [
        "ERROR:ENODENET:node:node1.example.com:it is the master, but lacks the address 192.0.2.1",
        "ERROR:ENODENET:node:node2.example.com:it cannot reach node node3.example.com: no answer",
        "ERROR:ENODENET:node:node2.example.com:it has the cluster's address 192.0.2.1, but is not the master",
        "ERROR:ENODENET:node:node3.example.com:bridges are missing: br0",
    ]


def test_hypervisors_work_also_with_the_parameters_of_instances(cluster: FakeCluster) -> None:
    cluster.node("node2").hypervisor_error = "no /dev/kvm"
    created(cluster, "odd", pnode="node3", hypervisor="kvm", start=False)
    cluster.change(cluster.instance("odd"), hvparams={"kernel_path": "/nowhere"})
    lines = problems(cluster)
    assert "ERROR: node node2.example.com: hypervisor kvm: no /dev/kvm" in lines
    assert "ERROR: node node3.example.com: hypervisor parameters of odd: /nowhere" in lines
    assert not [line for line in problems(cluster, skip_checks=["hvparam_assessment"]) if "/nowhere" in line]


def test_directories_for_disks_are_usable(cluster: FakeCluster) -> None:
    shared, own = "/srv/ganeti/shared-file-storage", "/srv/ganeti/file-storage"
    cluster.node("node2").verify_overrides = {"storage": {shared: "it does not exist", own: "it cannot be written"}}
    lines = problems(cluster, error_codes=True)
    assert [line.split(":")[1] for line in lines] == [
        "ENODEFILESTORAGEPATHUNUSABLE",
        "ENODESHAREDFILESTORAGEPATHUNUSABLE",
    ]


def test_operating_systems_are_the_same_everywhere(cluster: FakeCluster) -> None:
    cluster.node("node1").oses["only"] = OsVariantInfo("only", "/os/only", True, api_versions=[20])
    cluster.node("node2").oses["noop"] = OsVariantInfo("noop", "/os/noop", False, "create is missing")
    cluster.node("node3").oses["noop"] = OsVariantInfo("noop", "/os/noop", True, api_versions=[20], variants=["gold"])
    cluster.node("node2").oses["same"] = cluster.node("node1").oses["same"] = OsVariantInfo("same", "/os/same", True)
    cluster.node("node3").oses["same"] = OsVariantInfo("same", "/elsewhere/same", True)
    lines = problems(cluster)
    assert "ERROR: node node2.example.com: OS noop in /os/noop is not valid: create is missing" in lines
    assert "ERROR: node node2.example.com: OS only is missing; other nodes have it" in lines
    assert [line for line in lines if "same" in line] == []


# --- instances, disks, policy, memory


def test_guests_run_where_they_belong_and_nowhere_else(cluster: FakeCluster) -> None:
    cluster.node("node3").guests["web"] = Guest("x", 128, 1, RunState.PAUSED, incoming=True)
    cluster.node("node3").guests["stray"] = Guest("y", 128, 1)
    cluster.node("node2").guests["cold"] = Guest("z", 128, 1)
    elsewhere = "it is paused on node3.example.com, but belongs on node1.example.com"
    assert problems(cluster, error_codes=True) == [
        "WARNING:EINSTANCEWRONGNODE:instance:cold:it runs on node2.example.com, but is marked down",
        "ERROR:ENODEORPHANINSTANCE:node:node3.example.com:guest stray is running here, but is no instance of this cluster",
        f"ERROR:EINSTANCEWRONGNODE:instance:web:{elsewhere}; see gnt-instance migrate --cleanup",
    ]


def test_instances_of_nodes_that_cannot_run_them_are_told(cluster: FakeCluster) -> None:
    cluster.change_master("node3")
    cluster.change_node("node1", offline=True, master_candidate=False)
    cluster.change_node("node2", vm_capable=False)
    lines = problems(cluster)
    assert "ERROR: instance cold: its primary node node2.example.com is not vm_capable" in lines
    assert "ERROR: instance web: its primary node node1.example.com is marked offline; fail it over" in lines


def test_an_instance_that_was_not_made_completely_is_a_warning(cluster: FakeCluster) -> None:
    cluster.change(cluster.instance("cold"), forthcoming=True)
    (line,) = problems(cluster)
    assert line.startswith("WARNING: instance cold: it has not been made completely")


def test_a_migration_that_was_interrupted_is_a_warning(cluster: FakeCluster) -> None:
    cluster.change(cluster.instance("web"), migration_peer=cluster.uuid("node2"))
    assert problems(cluster) == [
        "WARNING: instance web: a migration of it was interrupted; settle it with gnt-instance migrate --cleanup web"
    ]


def test_missing_disks_are_told(cluster: FakeCluster) -> None:
    path = next(iter(cluster.node("node2").files))
    cluster.node("node2").files.clear()
    assert problems(cluster) == [f"ERROR: instance cold: disk/0 ({path}) is missing on node2.example.com"]


def test_instances_outside_the_policy_are_warnings(cluster: FakeCluster) -> None:
    cluster.change(cluster.instance("web"), beparams={"vcpus": 9})
    assert problems(cluster) == ["WARNING: instance web: cpu-count of 9 is above the maximum of 8"]


def test_memory_for_taking_over_is_checked_unless_skipped(cluster: FakeCluster) -> None:
    cluster.change(
        cluster.instance("web"),
        secondary_nodes=(cluster.uuid("node3"),),
        beparams={"minmem": 4000, "maxmem": 4000},
        admin_state=AdminState.UP,
    )
    (line,) = problems(cluster, error_codes=True)
    assert line == (
        "ERROR:ENODEN1:node:node3.example.com:if node node1.example.com failed, 4000 MiB would have to start here,"
        " 160 MiB more than there are"
    )
    assert problems(cluster, skip_checks=["nplusone_mem"]) == []


def test_a_node_that_fails_while_disks_are_looked_for_is_no_missing_disk(cluster: FakeCluster) -> None:
    def refuse(disks: object) -> Any:
        raise ExecError("busy")

    cluster.node("node2").blockdev_find = refuse  # type: ignore[method-assign]  # this one node behaves differently
    assert problems(cluster) == []
