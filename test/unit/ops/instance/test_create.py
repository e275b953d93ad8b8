from __future__ import annotations

from typing import Any

import pytest

from ganeti.base import codec
from ganeti.base.errors import Code, NodeError, PrereqError
from ganeti.base.secret import Secret
from ganeti.model.enums import AdminState, AllocPolicy, DiskMode, DiskTemplate, HypervisorKind
from ganeti.model.ids import NetworkUuid
from ganeti.model.locks import lock
from ganeti.model.objects import Group, Network
from ganeti.ops.base import from_wire, redacted, to_wire
from ganeti.ops.registry import find
from ganeti.rpc.node.replies import OsVariantInfo, RunState
from support.fakecluster import FakeCluster, locks_of
from support.instances import created, creating


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


def refused(cluster: FakeCluster, match: str, code: str = Code.INVAL, **values: Any) -> None:
    """The creation is refused with one clear error, and nothing was changed."""
    before, calls = cluster.config.serial, len(cluster.calls)
    with pytest.raises(PrereqError, match=match) as caught:
        cluster.run(creating(**values))
    assert caught.value.code == code
    assert cluster.config.serial == before
    assert not [call for call in cluster.calls[calls:] if "create" in call or "start" in call]


# --- what it makes


def test_an_instance_runs_on_the_node_named(cluster: FakeCluster) -> None:
    run = cluster.run(creating("web.example.com"))
    instance = cluster.instance("web")
    assert run.result == ["node1.example.com"]
    assert cluster.running_on("web.example.com") == ["node1"]
    assert (instance.admin_state, instance.disks_active, instance.forthcoming) == (AdminState.UP, True, False)
    assert cluster.problems() == cluster.leftovers() == []


def test_shared_disks_lie_below_the_shared_directory_in_one_of_the_instances_own(cluster: FakeCluster) -> None:
    instance = created(cluster, "web", disks=[{"size": 512}, {"size": "1g", "mode": "ro", "name": "data"}])
    first, second = cluster.config.disks_of(instance)
    assert list(cluster.shared.files.values()) == [512, 1024]
    directory = "/srv/ganeti/shared-file-storage/web"
    assert str(first.logical_id[1]).startswith(f"{directory}/") and str(first.logical_id[1]).endswith(".file.disk0")
    assert (first.logical_id[0], first.iv_name, first.nodes, first.forthcoming) == ("loop", "disk/0", (), False)
    assert (second.mode, second.name, second.size) == (DiskMode.READ_ONLY, "data", 1024)


def test_file_disks_belong_to_the_node_and_may_lie_in_a_directory_below(cluster: FakeCluster) -> None:
    instance = created(cluster, disk_template=DiskTemplate.FILE, file_storage_dir="gold/a", pnode="node2")
    (disk,) = cluster.config.disks_of(instance)
    assert disk.nodes == (cluster.uuid("node2"),)
    assert str(disk.logical_id[1]).startswith("/srv/ganeti/file-storage/gold/a/web/")
    assert list(cluster.node("node2").files) == [disk.logical_id[1]]


def test_a_diskless_instance_has_no_disks(cluster: FakeCluster) -> None:
    instance = created(cluster, disk_template=DiskTemplate.DISKLESS)
    assert instance.disks == ()
    assert cluster.running_on("web") == ["node1"]


def test_the_first_enabled_template_and_hypervisor_are_the_defaults(cluster: FakeCluster) -> None:
    instance = created(cluster, disk_template=None)
    assert (instance.disk_template, instance.hypervisor) == (DiskTemplate.SHAREDFILE, HypervisorKind.FAKE)
    assert instance.network_port is None


def test_a_kvm_instance_gets_a_port_for_its_graphical_console(cluster: FakeCluster) -> None:
    assert created(cluster, hypervisor=HypervisorKind.KVM).network_port >= 11000


def test_parameters_are_converted_and_only_overrides_are_kept(cluster: FakeCluster) -> None:
    instance = created(
        cluster,
        hypervisor=HypervisorKind.KVM,
        hvparams={"acpi": "no", "cpu_type": "default", "serial_speed": "9600"},
        beparams={"memory": "256m", "vcpus": "2", "auto_balance": "default"},
    )
    assert instance.hvparams == {"acpi": False, "serial_speed": 9600}
    assert instance.beparams == {"minmem": 256, "maxmem": 256, "vcpus": 2}


def test_nics_get_free_addresses_and_keep_what_was_given(cluster: FakeCluster) -> None:
    nics = [{}, {"mac": "AA:00:00:01:02:03", "ip": "192.0.2.99", "link": "br0", "name": "front", "vlan": "100"}]
    instance = created(cluster, nics=nics)
    first, second = instance.nics
    assert first.mac.startswith("aa:00:00:") and first.nicparams == {}
    assert (second.mac, second.ip, second.name) == ("aa:00:00:01:02:03", "192.0.2.99", "front")
    assert second.nicparams == {"link": "br0", "vlan": "100"}


def test_private_parameters_are_stored_and_secret_ones_only_reach_the_os(cluster: FakeCluster) -> None:
    parameters = [("a", ""), ("b", ""), ("c", "")]
    cluster.node("node1").oses["noop"] = OsVariantInfo("noop", "/os", True, api_versions=[20], parameters=parameters)
    op = creating(osparams={"a": "1"}, osparams_private={"b": Secret("2")}, osparams_secret={"c": Secret("3")})
    cluster.run(op)
    instance = cluster.instance("web")
    assert (instance.osparams, instance.osparams_private) == ({"a": "1"}, {"b": "2"})
    assert cluster.node("node1").os_secrets == {"c": "3"}
    assert '"3"' not in codec.dumps(redacted(to_wire(op), find)) and "Secret" not in repr(to_wire(op))


def test_without_installing_it_is_neither_installed_nor_started(cluster: FakeCluster) -> None:
    run = cluster.run(creating(no_install=True))
    assert cluster.node("node1").installed == []
    assert cluster.running_on("web") == []
    assert cluster.instance("web").admin_state is AdminState.DOWN
    assert "not started" in run.log[0]


def test_without_start_it_is_installed_and_its_disks_are_released(cluster: FakeCluster) -> None:
    created(cluster, start=False)
    assert [name for name, _ in cluster.node("node1").installed] == ["web"]
    assert cluster.leftovers() == []
    assert not cluster.instance("web").disks_active


def test_disks_are_wiped_where_the_cluster_wants_it(cluster: FakeCluster) -> None:
    cluster.change_cluster(prealloc_wipe_disks=True)
    run = cluster.run(creating(disks=[{"size": 2048}]))
    wipes = [call for call in cluster.calls if call.endswith("blockdev_wipe")]
    assert len(wipes) == 11
    assert "Wiping disk/0 of web: 2048 of 2048 MiB" in run.log


# --- where it is put


def test_without_a_node_the_one_with_most_memory_is_chosen(cluster: FakeCluster) -> None:
    created(cluster, "big", pnode="node1", beparams={"memory": 1024})
    created(cluster, "small", pnode="node3", beparams={"memory": 512})
    run = cluster.run(creating(pnode=None))
    assert run.result == ["node2.example.com"]
    assert run.log[0] == "Chose node node2.example.com for instance web"
    assert {str(name).partition("/")[0] for name in run.held} == {"cluster", "instance"}


def test_nodes_that_are_offline_or_not_capable_are_not_chosen(cluster: FakeCluster) -> None:
    cluster.change_master("node3")
    cluster.change_node("node1", offline=True, master_candidate=False)
    cluster.change_node("node2", vm_capable=False)
    assert cluster.run(creating(pnode=None)).result == ["node3.example.com"]
    cluster.change_node("node3", vm_capable=False)
    refused(
        cluster,
        r"no node can take instance two: node1\.example\.com: is marked offline; node2\.example\.com: is not vm_capable; "
        r"node3\.example\.com: is not vm_capable",
        Code.NORES,
        name="two",
        pnode=None,
    )


def test_nodes_without_the_bridge_are_not_chosen(cluster: FakeCluster) -> None:
    cluster.node("node3").bridges.add("br7")
    assert cluster.run(creating(pnode=None, nics=[{"link": "br7"}])).result == ["node3.example.com"]


def test_a_node_that_does_not_answer_is_not_chosen(cluster: FakeCluster) -> None:
    cluster.dead |= {cluster.uuid("node1"), cluster.uuid("node2")}
    assert cluster.run(creating(pnode=None)).result == ["node3.example.com"]


def test_a_group_limits_the_choice_and_unallocable_ones_are_never_chosen(cluster: FakeCluster) -> None:
    other = Group(uuid="g2", name="other", alloc_policy=AllocPolicy.UNALLOCABLE)
    cluster.put(other)
    cluster.change_node("node2", group="g2")
    refused(cluster, "its group is unallocable", Code.NORES, pnode=None, group_name="other")
    refused(cluster, r"node node1\.example\.com is not in node group other", group_name="other")
    cluster.change(cluster.config.find_group("other"), alloc_policy=AllocPolicy.LAST_RESORT)
    cluster.run(creating(pnode=None, group_name="other"))
    assert cluster.running_on("web") == ["node2"]
    for number in range(3):
        cluster.run(creating(f"more{number}", pnode=None))
    assert cluster.config.primary_instances("g2") == []
    assert len(cluster.config.primary_instances(cluster.uuid("node2"))) == 1


def test_locks_are_those_of_the_node_or_of_all_candidates(cluster: FakeCluster) -> None:
    group = cluster.group.uuid
    assert locks_of(creating(), cluster.config) == {
        "exclusive instance": ["web"],
        "exclusive node-res": ["node1"],
        "shared cluster": ["BGL"],
        "shared node": ["node1"],
        "shared nodegroup": [group],
    }
    busy = locks_of(creating(pnode=None, opportunistic_locking=True), cluster.config)
    assert sorted(busy["opportunistic node-res"]) == ["node1", "node2", "node3"]
    assert busy["exclusive instance"] == ["web"]
    assert "exclusive node-res" not in busy


def test_busy_nodes_are_left_out_and_waited_for_only_if_the_others_are_full(cluster: FakeCluster) -> None:
    op = creating(pnode=None, opportunistic_locking=True)
    first_two = [lock("node-res", cluster.uuid(name)) for name in ("node1", "node2")]
    assert cluster.run(op, busy=first_two).result == ["node3.example.com"]
    big = creating("big", pnode=None, opportunistic_locking=True, beparams={"memory": 3800})
    assert cluster.run(big, busy=first_two).result == ["node1.example.com"]


# --- what is refused, each with one clear error


def test_a_name_that_exists_is_refused(cluster: FakeCluster) -> None:
    created(cluster)
    refused(cluster, "instance web exists already", Code.EXISTS, name="WEB.")


@pytest.mark.parametrize("name", ["", "a..b", "-x", "with space", "a" * 300, "b" * 64, "ü"])
def test_what_is_no_host_name_is_refused(cluster: FakeCluster, name: str) -> None:
    refused(cluster, "is not a host name", name=name)


def test_a_name_that_resolves_nowhere_is_refused_where_names_are_checked(cluster: FakeCluster) -> None:
    refused(cluster, "nowhere.invalid", Code.RESOLVER, name="nowhere.invalid", name_check=True)


def test_an_unknown_node_is_refused(cluster: FakeCluster) -> None:
    refused(cluster, "node 'node9' is not known", Code.NOENT, pnode="node9")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"offline": True, "master_candidate": False}, "is marked offline"),
        ({"drained": True, "master_candidate": False}, "is drained"),
        ({"vm_capable": False}, "is not vm_capable"),
    ],
)
def test_a_node_that_may_not_host_is_refused(cluster: FakeCluster, change: dict[str, Any], reason: str) -> None:
    cluster.change_node("node2", **change)
    refused(cluster, rf"node node2\.example\.com {reason}, so it cannot host instance web", Code.STATE, pnode="node2")


def test_a_node_that_does_not_answer_is_refused(cluster: FakeCluster) -> None:
    cluster.dead.add(cluster.uuid("node1"))
    refused(cluster, r"node node1\.example\.com: connection refused", Code.ENVIRON)


def test_memory_that_is_not_there_is_refused_saying_by_how_much(cluster: FakeCluster) -> None:
    refused(
        cluster,
        r"it needs 5000 MiB of memory, 1160 MiB more than the 3840 MiB available",
        Code.NORES,
        beparams={"memory": 5000},
    )
    refused(
        cluster, "no node can take instance web: .*1160 MiB more", Code.NORES, beparams={"memory": 5000}, pnode=None
    )
    assert cluster.run(creating(beparams={"memory": 5000}, start=False)).result == ["node1.example.com"]


def test_memory_promised_to_instances_that_are_down_by_accident_is_not_given_away(cluster: FakeCluster) -> None:
    created(cluster, "first", beparams={"memory": 3000})
    cluster.node("node1").guests.clear()
    refused(cluster, "1160 MiB more than the 840 MiB available", Code.NORES, beparams={"memory": 2000})


def test_disk_space_that_is_not_there_is_refused_saying_by_how_much(cluster: FakeCluster) -> None:
    cluster.node("node1").disk_total = 1000
    refused(
        cluster,
        "need 1500 MiB in file storage /srv/ganeti/file-storage, 500 MiB more than the 1000 MiB free there",
        Code.NORES,
        disk_template=DiskTemplate.FILE,
        disks=[{"size": 1500}],
    )


def test_templates_that_are_not_enabled_or_not_supported_are_refused(cluster: FakeCluster) -> None:
    refused(cluster, r"disk template plain is not enabled .*enabled: sharedfile, file", disk_template=DiskTemplate.PLAIN)
    cluster.change_cluster(enabled_disk_templates=(DiskTemplate.PLAIN,))
    refused(cluster, "disk template plain is not supported yet", disk_template=DiskTemplate.PLAIN)


def test_a_hypervisor_that_is_not_enabled_is_refused(cluster: FakeCluster) -> None:
    refused(cluster, "hypervisor lxc is not enabled", hypervisor=HypervisorKind.LXC)


def test_an_os_that_is_not_there_or_a_variant_it_does_not_have_is_refused(cluster: FakeCluster) -> None:
    refused(cluster, "OS windows cannot be used on node node1.*is not there", os_type="windows")
    refused(cluster, r"no variant 'gold'", os_type="noop+gold")
    refused(cluster, r"no parameter colour", osparams={"colour": "red"})
    refused(cluster, "no operating system is given", os_type=None)
    cluster.run(creating(os_type="noop+gold", force_variant=True))


def test_hypervisor_parameters_that_cannot_work_on_the_node_are_refused(cluster: FakeCluster) -> None:
    refused(cluster, "cannot use these parameters", hypervisor=HypervisorKind.KVM, hvparams={"kernel_path": "/nowhere"})
    refused(cluster, "has no parameter 'colour'", hvparams={"colour": "red"})
    refused(cluster, "migration_port hold for the whole cluster", hypervisor=HypervisorKind.KVM, hvparams={"migration_port": 1})


@pytest.mark.parametrize(
    ("beparams", "reason"),
    [
        ({"memory": "64", "maxmem": "128"}, "memory sets both"),
        ({"minmem": 512}, r"minmem \(512 MiB\) must not be larger"),
        ({"vcpus": 0}, "vcpus must be at least 1"),
        ({"memory": "lots"}, "wants a value of type size"),
    ],
)
def test_back_end_parameters_that_make_no_sense_are_refused(
    cluster: FakeCluster, beparams: dict[str, Any], reason: str
) -> None:
    refused(cluster, reason, beparams=beparams)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"beparams": {"vcpus": 9}}, "cpu-count of 9 is above the maximum of 8"),
        ({"disks": [{"size": 2}]}, r"disk-size \(disk/0\) of 2 MiB is below the minimum of 4 MiB"),
        ({"disks": [{"size": 8}] * 5}, "disk-count of 5 is above the maximum of 4"),
    ],
)
def test_what_the_policy_does_not_allow_is_refused_naming_the_bound(
    cluster: FakeCluster, values: dict[str, Any], reason: str
) -> None:
    refused(cluster, reason, **values)
    cluster.run(creating(ignore_ipolicy=True, **values))


def test_a_missing_bridge_is_refused(cluster: FakeCluster) -> None:
    refused(cluster, r"bridge br7 is missing on node node1", Code.ENVIRON, nics=[{"link": "br7"}])
    created(cluster, nics=[{"mode": "routed", "link": "100", "ip": "192.0.2.77"}])


@pytest.mark.parametrize(
    ("nic", "reason"),
    [
        ({"mac": "aa:bb"}, "is not the MAC address"),
        ({"mac": "01:00:5e:00:00:01"}, "is not the MAC address"),
        ({"ip": "300.1.1.1"}, "is not an IP address"),
        ({"ip": "auto"}, "add --name-check"),
        ({"ip": "pool"}, "not supported yet"),
        ({"network": "blue"}, "not supported yet"),
        ({"mode": "routed"}, "needs an IP address"),
        ({"mode": "weird"}, "there is no mode 'weird'"),
        ({"mode": "openvswitch"}, "not supported yet"),
        ({"bridge": "br0", "link": "br1"}, "another word for link"),
        ({"vlan": "x"}, "is not a VLAN"),
        ({"colour": "red"}, "there is no parameter colour"),
        ({"ip": "192.0.2.12"}, r"belongs to node node2"),
        ({"ip": "192.0.2.1"}, "belongs to the cluster"),
    ],
)
def test_nics_that_make_no_sense_are_refused(cluster: FakeCluster, nic: dict[str, str | None], reason: str) -> None:
    code = Code.NOTUNIQUE if "belongs" in reason else Code.INVAL
    refused(cluster, reason, code, nics=[nic])


def test_addresses_of_other_instances_are_refused(cluster: FakeCluster) -> None:
    created(cluster, "first", nics=[{"mac": "aa:00:00:00:00:77", "ip": "192.0.2.88"}])
    refused(cluster, "belongs to instance first", Code.NOTUNIQUE, nics=[{"ip": "192.0.2.88"}])
    refused(cluster, "in use", Code.NOTUNIQUE, nics=[{"mac": "aa:00:00:00:00:77"}])
    created(cluster, "second", nics=[{"ip": "192.0.2.88", "link": "br1", "mode": "routed"}])


def test_addresses_of_networks_are_refused_unless_conflicts_are_accepted(cluster: FakeCluster) -> None:
    cluster.put(Network(uuid=NetworkUuid("n1"), name="blue", network="198.51.100.0/24"))
    refused(cluster, "lies in network blue", Code.NOTUNIQUE, nics=[{"ip": "198.51.100.7"}])
    created(cluster, nics=[{"ip": "198.51.100.7"}], conflicts_check=False)


@pytest.mark.parametrize(
    ("disks", "reason"),
    [
        ([], "needs at least one disk"),
        ([{}], "disk/0: the size is missing"),
        ([{"size": "big"}], "'big' is not a size"),
        ([{"size": 0}], "must be more than 0"),
        ([{"size": 8, "mode": "w"}], "must be rw or ro"),
        ([{"size": 8, "vg": "x"}], "only templates plain and drbd"),
        ([{"size": 8, "adopt": "x"}], "can adopt volumes"),
        ([{"size": 8, "colour": "red"}], "there is no parameter colour"),
        ([{"size": 8}] * 17, "16 disks at most"),
        ([{"size": 8, "name": "a"}, {"size": 8, "name": "a"}], "several disks are called a"),
    ],
)
def test_disks_that_make_no_sense_are_refused(cluster: FakeCluster, disks: Any, reason: str) -> None:
    code = Code.NOTUNIQUE if "several" in reason else Code.INVAL
    refused(cluster, reason, code, disks=disks)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"mode": "import"}, "mode import is not supported yet"),
        ({"iallocator": "hail"}, "parameter iallocator cannot be used: .* leave both out"),
        ({"snode": "node2"}, "have no secondary node"),
        ({"forthcoming": True}, "not supported yet"),
        ({"commit": True}, "not supported yet"),
        ({"src_node": "node2"}, "it belongs to imports"),
        ({"instance_communication": True}, "not supported yet"),
        ({"file_driver": "blktap"}, "only for Xen"),
        ({"file_storage_dir": "../x"}, "must be a plain relative path"),
        ({"file_storage_dir": "/x"}, "must be a plain relative path"),
        ({"disk_template": DiskTemplate.DISKLESS, "file_storage_dir": "x"}, "its disks are not files"),
        ({"tags": ["no space"]}, "is not a tag"),
        ({"osparams": {"os-image": "x"}}, "os-image"),
        ({"osparams": {"a": "1"}, "osparams_private": {"a": Secret("1")}}, "is given more than once"),
    ],
)
def test_what_is_not_supported_is_refused_not_ignored(cluster: FakeCluster, values: dict[str, Any], reason: str) -> None:
    refused(cluster, reason, **values)


# --- how it fails


def test_nothing_is_left_when_the_os_cannot_be_installed(cluster: FakeCluster) -> None:
    cluster.node("node1").broken_oses.add("noop")
    with pytest.raises(NodeError, match="disk is on fire"):
        cluster.run(creating())
    assert cluster.config.instances == [] and cluster.shared.files == {}
    assert cluster.problems() == cluster.leftovers() == []


def test_nothing_is_left_when_it_does_not_start(cluster: FakeCluster) -> None:
    cluster.node("node1").hypervisor_error = "no KVM here"
    with pytest.raises(NodeError, match="no KVM here"):
        cluster.run(creating())
    assert cluster.config.instances == [] and cluster.shared.files == {}
    assert cluster.problems() == cluster.leftovers() == []


def test_what_cannot_be_removed_stays_described(cluster: FakeCluster) -> None:
    node = cluster.node("node1")
    node.broken_oses.add("noop")

    class Dying(set[str]):
        """The node dies while the OS is being installed."""

        def __contains__(self, item: object) -> bool:
            cluster.dead.add(cluster.uuid("node1"))
            return True

    node.broken_oses = Dying()
    with pytest.raises(NodeError) as caught:
        cluster.run(creating())
    assert any("stays in the configuration as forthcoming" in note for note in caught.value.__notes__)
    (instance,) = cluster.config.instances
    assert instance.forthcoming and instance.admin_state is AdminState.DOWN
    assert cluster.problems() == []


def test_a_dry_run_names_the_node_and_changes_nothing(cluster: FakeCluster) -> None:
    serial = cluster.config.serial
    assert cluster.run(creating(pnode=None, dry_run=True)).result == ["node1.example.com"]
    assert (cluster.config.serial, cluster.config.instances, cluster.shared.files) == (serial, [], {})


def test_hooks_are_told_everything_and_run_on_the_node(cluster: FakeCluster) -> None:
    cluster.run(creating(nics=[{"ip": "192.0.2.50"}], tags=["b", "a"], pnode="node2"))
    (_, _, environment), (path, phase, after) = cluster.node("node2").hooks_run
    assert (path, phase) == ("instance-add", "post")
    expected = {
        "GANETI_OP_TARGET": "web",
        "GANETI_ADD_MODE": "create",
        "GANETI_INSTANCE_PRIMARY": "node2.example.com",
        "GANETI_INSTANCE_SECONDARIES": "",
        "GANETI_INSTANCE_STATUS": "down",
        "GANETI_INSTANCE_MEMORY": "128",
        "GANETI_INSTANCE_NIC_COUNT": "1",
        "GANETI_INSTANCE_NIC0_IP": "192.0.2.50",
        "GANETI_INSTANCE_NIC0_BRIDGE": "br0",
        "GANETI_INSTANCE_DISK_COUNT": "1",
        "GANETI_INSTANCE_DISK0_SIZE": "512",
        "GANETI_INSTANCE_DISK0_DRIVER": "loop",
        "GANETI_INSTANCE_TAGS": "a b",
        "GANETI_INSTANCE_BE_maxmem": "128",
        "GANETI_INSTANCE_HV_migration_mode": "live",
    }
    assert {key: environment[key] for key in expected} == expected
    assert after["GANETI_POST_INSTANCE_STATUS"] == "up"


def test_the_wire_form_is_understood(cluster: FakeCluster) -> None:
    op = from_wire(
        {
            "OP_ID": "OP_INSTANCE_CREATE",
            "instance_name": "web",
            "mode": "create",
            "disks": [{"size": 64}],
            "nics": [{"ip": None, "link": "br0"}],
            "os_type": "noop",
            "pnode": "node2",
            "disk_template": "file",
            "reason": [],
        },
        find,
    )
    cluster.run(op)
    assert cluster.node("node2").guests["web"].state is RunState.RUNNING
