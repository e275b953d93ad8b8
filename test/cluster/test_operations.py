"""Operations on three real nodes in one process: the real executor and the real node calls, with the fake hypervisor, real
files and real OS scripts below a root directory each. Only the network, the master daemon and TLS are left out."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ganeti.base import codec, files
from ganeti.base.errors import Cancelled, GanetiError, NodeError, PrereqError
from ganeti.base.paths import Paths
from ganeti.job.immediate import Immediate
from ganeti.master.ssconf import ssconf_values
from ganeti.model.enums import AdminState, DiskTemplate, HypervisorKind, RebootType
from ganeti.model.ids import NodeUuid
from ganeti.model.memory import MemoryStore
from ganeti.node.main import build_calls
from ganeti.node.net.memory import MemoryNet
from ganeti.node.services import Services, build_services
from ganeti.node.ssconf import Ssconf
from ganeti.ops.base import Op
from ganeti.ops.cluster.verify.codes import VerifyCode
from ganeti.ops.cluster.verify.group import ClusterVerifyGroup
from ganeti.ops.instance.failover import InstanceFailover
from ganeti.ops.instance.migrate import InstanceMigrate
from ganeti.ops.instance.query_data import InstanceQueryData
from ganeti.ops.instance.reboot import InstanceReboot
from ganeti.ops.instance.remove import InstanceRemove
from ganeti.ops.instance.shutdown import InstanceShutdown
from ganeti.ops.instance.startup import InstanceStartup
from ganeti.ops.node.set_params import NodeSetParams
from ganeti.ops.os.diagnose import OsDiagnose
from ganeti.rpc.memory import MemoryNode, MemoryNodeCaller
from ganeti.rpc.node.replies import RunState
from support.doors import open_doors
from support.fakecluster import FakeCluster
from support.instances import creating

NOOP = Path(__file__).parents[2] / "tools" / "os" / "noop"
SHARED = "/srv/ganeti/shared-file-storage"


class RealNodes:
    """The nodes, and what is needed to run operations on them."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        # The objects are those of the cluster in memory, with addresses that this host really has.
        template = FakeCluster(
            enabled_hypervisors=(HypervisorKind.FAKE,), candidate_pool_size=3, file_storage_dir="/srv/ganeti/file-storage"
        )
        for number, node in enumerate(template.config.nodes, start=1):
            ip = f"127.0.0.1{number}"
            template.change(node, primary_ip=ip, secondary_ip=ip)
        config = template.config
        self.store = MemoryStore([config.cluster, *config.groups, *config.nodes])
        self.shared = folder / "shared"
        self.shared.mkdir()
        self.services: dict[NodeUuid, Services] = {}
        for node in config.nodes:
            paths = Paths(str(folder / node.name), node.name)
            self._install(paths)
            doors = stack.enter_context(open_doors(paths, net=MemoryNet(("br0",))))
            self.services[node.uuid] = build_services(doors, 1811, lambda: None)
            Ssconf(paths).write(ssconf_values(self.config))
        self.nodes = MemoryNodeCaller(
            {
                node.uuid: MemoryNode(node.name, list(build_calls(self.services[node.uuid]).values()))
                for node in config.nodes
            }
        )
        self.immediate = Immediate(self.store, self.nodes)
        stack.callback(self.immediate.close)

    def restart(self, uuid: NodeUuid) -> None:
        """The agent of a node ends and comes back, having forgotten everything that is not in files."""
        self.services[uuid] = build_services(self.services[uuid].doors, 1811, lambda: None)
        name = self.config.node(uuid).name
        self.nodes.nodes[uuid] = MemoryNode(name, list(build_calls(self.services[uuid]).values()))

    def _install(self, paths: Paths) -> None:
        for directory in (paths.data, paths.run, paths.log, paths.conf, paths.below("/srv/ganeti/file-storage")):
            files.ensure_directory(directory)
        os.symlink(self.shared, paths.below(SHARED))
        shutil.copytree(NOOP, os.path.join(paths.os_search_path[0], "noop"))
        files.ensure_directory(paths.fake_hypervisor, 0o750)
        files.write_atomic(paths.fake_hypervisor + "/settings.json", codec.dumps({"memory": 2048, "cpus": 4}))

    @property
    def config(self) -> Any:
        return self.store.config()

    def run(self, op: Op[Any, Any]) -> Any:
        self.immediate.master.lines.clear()
        return self.immediate.run_op(op)

    @property
    def log(self) -> list[str]:
        return self.immediate.master.messages

    def paths(self, node: str) -> Paths:
        return self.services[self.config.find_node(node).uuid].paths

    def settings(self, node: str, **values: Any) -> None:
        """Change how the fake hypervisor of a node behaves."""
        path = self.paths(node).fake_hypervisor + "/settings.json"
        files.write_atomic(path, codec.dumps({"memory": 2048, "cpus": 4, **values}))

    def states(self, name: str) -> dict[str, RunState]:
        """What each node really has of the guest."""
        found = {}
        for uuid, services in self.services.items():
            state = services.hypervisors.get("fake").state(name).state
            if state is not RunState.ABSENT:
                found[self.config.node(uuid).name.partition(".")[0]] = state
        return found

    def files(self) -> list[str]:
        """Every file of a disk, on any node."""
        own = [str(path) for path in self.shared.rglob("*") if path.is_file()]
        for services in self.services.values():
            own += [str(path) for path in Path(services.paths.below("/srv/ganeti/file-storage")).rglob("*") if path.is_file()]
        return own

    def boots(self, node: str, name: str) -> int:
        """How often the guest was booted."""
        text = files.read_text(f"{self.paths(node).fake_hypervisor}/{name}.json")
        return int(codec.loads(text)["boots"])


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RealNodes]:
    with ExitStack() as stack:
        yield RealNodes(tmp_path, stack)


def make(cluster: RealNodes, **values: Any) -> None:
    cluster.run(creating("web", hypervisor=HypervisorKind.FAKE, **values))


@pytest.mark.parametrize("template", [DiskTemplate.SHAREDFILE, DiskTemplate.FILE, DiskTemplate.DISKLESS])
def test_life_of_an_instance(cluster: RealNodes, template: DiskTemplate) -> None:
    make(cluster, disk_template=template, disks=[] if template is DiskTemplate.DISKLESS else [{"size": 16}])
    assert cluster.states("web") == {"node1": RunState.RUNNING}
    assert len(cluster.files()) == (template is not DiskTemplate.DISKLESS)
    cluster.run(InstanceReboot(instance_name="web", reboot_type=RebootType.SOFT))
    assert cluster.boots("node1", "web") == 2
    cluster.run(InstanceReboot(instance_name="web", reboot_type=RebootType.HARD))
    cluster.run(InstanceReboot(instance_name="web", reboot_type=RebootType.FULL))
    cluster.run(InstanceShutdown(instance_name="web", timeout=0))
    assert cluster.states("web") == {}
    cluster.run(InstanceStartup(instance_name="web"))
    info = cluster.run(InstanceQueryData(instances=["web"]))["web"]
    assert (info["run_state"], len(info["disks"])) == ("up", len(cluster.files()))
    assert all(disk["pstatus"] is not None for disk in info["disks"])
    cluster.run(InstanceRemove(instance_name="web", shutdown_timeout=0))
    assert cluster.states("web") == {} and cluster.files() == [] and cluster.config.instances == []
    assert list(cluster.shared.iterdir()) == []


def test_a_running_guest_moves_with_its_state_and_comes_back(cluster: RealNodes) -> None:
    make(cluster, disks=[{"size": 16}])
    cluster.run(InstanceReboot(instance_name="web", reboot_type=RebootType.SOFT))
    cluster.run(InstanceMigrate(instance_name="web", target_node="node3"))
    assert cluster.states("web") == {"node3": RunState.RUNNING}
    assert cluster.boots("node3", "web") == 2
    assert "downtime" in cluster.log[-1] and "128 MiB sent" in cluster.log[-1]
    cluster.run(InstanceMigrate(instance_name="web", target_node="node1"))
    assert cluster.states("web") == {"node1": RunState.RUNNING}


def test_an_instance_of_a_dead_node_is_started_elsewhere(cluster: RealNodes) -> None:
    node2 = cluster.config.find_node("node2")
    make(cluster, pnode="node2", disks=[{"size": 16}])
    cluster.nodes.nodes[node2.uuid].faults.down = True
    cluster.run(NodeSetParams(node_name="node2", offline=True, force=True))
    cluster.nodes.nodes[node2.uuid].faults.offline = True
    cluster.run(InstanceFailover(instance_name="web", target_node="node3"))
    assert cluster.states("web")["node3"] is RunState.RUNNING
    assert cluster.config.find_instance("web").primary_node == cluster.config.find_node("node3").uuid


def test_a_migration_that_the_target_refuses_changes_nothing(cluster: RealNodes) -> None:
    make(cluster, disks=[{"size": 16}])
    cluster.settings("node2", fail=["accept"])
    with pytest.raises(NodeError, match="settings.json"):
        cluster.run(InstanceMigrate(instance_name="web", target_node="node2"))
    assert cluster.states("web") == {"node1": RunState.RUNNING}
    links = cluster.services[cluster.config.find_node("node2").uuid].links
    assert not os.path.lexists(links.path("web", 0))


def test_a_migration_that_is_cancelled_half_way_changes_nothing(cluster: RealNodes) -> None:
    make(cluster, disks=[{"size": 16}], beparams={"memory": 1024})
    cluster.settings("node1", migration_mib_per_second=500)
    polls = []

    def sleep(seconds: float) -> bool:
        polls.append(seconds)
        if len(polls) == 3:
            cluster.immediate.cancellation.set()
        return cluster.immediate.cancellation.wait(seconds)

    object.__setattr__(cluster.immediate.doors, "sleep", sleep)
    with pytest.raises(Cancelled):
        cluster.run(InstanceMigrate(instance_name="web", target_node="node2"))
    assert cluster.states("web") == {"node1": RunState.RUNNING}
    assert cluster.config.find_instance("web").primary_node == cluster.config.find_node("node1").uuid


@pytest.mark.parametrize("which", ["fail", "drop"])
@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize(
    "call",
    ["blockdev_assemble", "migration_accept", "migration_start", "migration_finish_target", "migration_finish_source"],
)
def test_a_migration_interrupted_at_any_call_is_repaired(cluster: RealNodes, which: str, side: str, call: str) -> None:
    make(cluster, disks=[{"size": 16}])
    node = cluster.config.find_node("node1" if side == "source" else "node2")
    faults = cluster.nodes.nodes[node.uuid].faults
    getattr(faults, which)[call] = [1]
    try:
        cluster.run(InstanceMigrate(instance_name="web", target_node="node2"))
    except GanetiError:
        pass
    faults.fail.clear()
    faults.drop.clear()
    cluster.run(InstanceMigrate(instance_name="web", cleanup=True))
    home = cluster.config.node(cluster.config.find_instance("web").primary_node).name.partition(".")[0]
    assert cluster.states("web") == {home: RunState.RUNNING}
    cluster.run(InstanceMigrate(instance_name="web", target_node="node3"))
    assert cluster.states("web") == {"node3": RunState.RUNNING}


def test_a_migration_is_repaired_also_when_the_agents_were_started_again(cluster: RealNodes) -> None:
    make(cluster, disks=[{"size": 16}])
    source = cluster.config.find_node("node1").uuid
    cluster.nodes.nodes[source].faults.fail["migration_finish_source"] = [1]
    target = cluster.config.find_node("node2").uuid
    cluster.nodes.nodes[target].faults.fail["migration_finish_target"] = [1, 2, 3]
    with pytest.raises(GanetiError):
        cluster.run(InstanceMigrate(instance_name="web", target_node="node2"))
    for uuid in (source, target):
        cluster.nodes.nodes[uuid].faults.fail.clear()
        cluster.restart(uuid)
    cluster.run(InstanceMigrate(instance_name="web", cleanup=True))
    assert len(cluster.states("web")) == 1 and list(cluster.states("web").values()) == [RunState.RUNNING]


def test_nothing_is_left_of_a_creation_that_fails(cluster: RealNodes) -> None:
    for node in ("node1", "node2", "node3"):
        script = Path(cluster.paths(node).os_search_path[0], "noop", "create")
        script.write_text("#!/bin/sh\necho the disk is on fire >&2\nexit 3\n")
    with pytest.raises(NodeError, match="the disk is on fire"):
        make(cluster, disks=[{"size": 16}])
    assert cluster.files() == [] and cluster.config.instances == [] and cluster.states("web") == {}
    assert list(cluster.shared.iterdir()) == []


def test_memory_that_no_node_has_is_refused(cluster: RealNodes) -> None:
    with pytest.raises(PrereqError, match="no node can take instance web: .*node1.*952 MiB more than the 2048"):
        make(cluster, disks=[{"size": 16}], pnode=None, beparams={"memory": 3000})
    make(cluster, disks=[{"size": 16}], pnode=None, beparams={"memory": 2000})


def test_operating_systems_are_found_and_the_cluster_is_in_order(cluster: RealNodes) -> None:
    make(cluster, disks=[{"size": 16}])
    assert cluster.run(OsDiagnose(output_fields=["name", "valid", "api_versions"])) == [["noop", True, [20]]]
    # There are neither certificates nor agents that could be reached, nor the cluster's address.
    ignored = [VerifyCode.ENODESETUP, VerifyCode.ENODENET]
    assert cluster.run(ClusterVerifyGroup(group_name="default", ignore_errors=ignored)) is True


def test_a_guest_that_powered_itself_off_is_started_again(cluster: RealNodes) -> None:
    make(cluster, disks=[{"size": 16}])
    Path(cluster.paths("node1").fake_hypervisor, "web.poweroff").touch()
    assert cluster.states("web") == {"node1": RunState.SHUTDOWN}
    cluster.run(InstanceStartup(instance_name="web", shutdown_timeout=0))
    assert cluster.states("web") == {"node1": RunState.RUNNING}
    assert cluster.config.find_instance("web").admin_state is AdminState.UP
