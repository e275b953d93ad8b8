"""A whole cluster in one process: store and nodes in memory, the real executor, and faults at any step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ganeti.base import codec
from ganeti.base.errors import ConfigError, GanetiError, NodeError, NodeOffline
from ganeti.job.immediate import Immediate
from ganeti.model import parameters, params
from ganeti.model.changes import Committed
from ganeti.model.config import Config
from ganeti.model.enums import DiskTemplate, HypervisorKind, Kind
from ganeti.model.ids import GroupUuid, NodeUuid, new_uuid
from ganeti.model.locks import BGL, LockName, level_of, lock
from ganeti.model.memory import MemoryRows, MemoryStore
from ganeti.model.objects import AnyObject, Change, Cluster, Disk, Group, Instance, Node, Put
from ganeti.ops.base import Op
from ganeti.rpc.call import Call, call_of, implementation
from ganeti.rpc.node.blockdev import BlockdevApi, OsApi
from ganeti.rpc.node.instance import InstanceApi
from ganeti.rpc.node.node import NodeApi
from ganeti.rpc.node.replies import RunState
from support.fakenode import READ_ONLY, FakeNode, Shared

POLICY = {
    "minmax": [
        {
            "min": {"memory-size": 64, "cpu-count": 1, "disk-count": 1, "disk-size": 4, "nic-count": 0, "spindle-use": 1},
            "max": {
                "memory-size": 8192,
                "cpu-count": 8,
                "disk-count": 4,
                "disk-size": 65536,
                "nic-count": 8,
                "spindle-use": 12,
            },
        }
    ],
    "std": {},
    "disk-templates": [str(template) for template in DiskTemplate],
    "vcpu-ratio": 4.0,
    "spindle-ratio": 32.0,
}


class Died(BaseException):
    """The worker was killed: nothing runs after it, no undo, no handler."""


@dataclass
class Fault:
    """What goes wrong, and at which effect (counted from 1).

    Kinds: ``fail`` the effect does not happen; ``lost`` it happens but its answer is lost; ``die`` the worker is killed before
    it; ``die-after`` right after it; ``cancel`` the job is cancelled when it next sleeps.
    """

    at: int
    kind: str
    lasts: bool = False
    """Every effect from there on is hit, those of undoing included."""


@dataclass
class Effects:
    """Counts effects and lets the fault happen."""

    fault: Fault | None = None
    names: list[str] = field(default_factory=list)

    def around(self, name: str, action: Callable[[], Any], error: Callable[[str], GanetiError]) -> Any:
        self.names.append(name)
        count = len(self.names)
        if self.fault is None or not (count == self.fault.at or (self.fault.lasts and count > self.fault.at)):
            return action()
        if self.fault.kind == "fail":
            raise error(f"{name} failed on purpose")
        if self.fault.kind == "die":
            raise Died(name)
        result = action()
        if self.fault.kind == "die-after":
            raise Died(name)
        if self.fault.kind == "lost":
            raise error(f"the answer of {name} was lost on purpose")
        return result

    @property
    def cancels_now(self) -> bool:
        return self.fault is not None and self.fault.kind == "cancel" and len(self.names) >= self.fault.at


class FakeCaller:
    """Node calls in memory. Arguments and results travel in their wire form, so that their types are really checked."""

    def __init__(self, cluster: FakeCluster, run: Run) -> None:
        self._cluster = cluster
        self._run = run

    def call(self, node: NodeUuid, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        call = call_of(method)
        target = self._run.immediate.doors.current.find_target(node)
        if target.offline and not call.offline:
            raise NodeOffline(target.name)
        self._cluster.calls.append(f"{target.name}:{call.name}")

        def act() -> Any:
            return self._answer(node, target.name, call, args, kwargs)

        if call.name in READ_ONLY:
            return act()
        return self._run.effects.around(
            f"{target.name}:{call.name}", act, lambda text: NodeError(target.name, text)
        )

    def _answer(self, node: str, name: str, call: Call, args: Any, kwargs: Any) -> Any:
        if node in self._cluster.dead or node not in self._cluster.nodes:
            raise NodeError(name, "connection refused")
        table = {}
        for api in (InstanceApi, BlockdevApi, OsApi, NodeApi):
            table.update(implementation(api, self._cluster.nodes[NodeUuid(node)]))
        declared, bound = table[call.name]
        try:
            result = bound(*declared.decode_arguments(call.encode_arguments(args, kwargs)))
        except GanetiError as err:
            raise NodeError(name, f"{call.name}: {err}") from err
        return call.decode_result(codec.loads(codec.dumps(codec.encode(result))))

    def call_all(self, nodes: Iterable[NodeUuid], method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        result = {}
        for node in nodes:
            try:
                result[node] = self.call(node, method, *args, **kwargs)
            except NodeError as err:
                result[node] = err
        return result


class FaultyStore:
    """The cluster's store as one run sees it: commits are effects, and need the locks of what they change."""

    def __init__(self, cluster: FakeCluster, run: Run) -> None:
        self._cluster = cluster
        self._run = run

    def config(self) -> Config:
        return self._cluster.config

    def snapshot(self) -> MemoryRows:
        return self._cluster.store.snapshot()

    def commit(self, token: str | None, changes: Sequence[Change]) -> Committed:
        for change in changes:
            self._require_lock(change)
        result = self._run.effects.around(
            "commit", lambda: self._cluster.store.commit(token, changes), ConfigError
        )
        assert isinstance(result, Committed)
        return result

    def _require_lock(self, change: Change) -> None:
        """An instance or a node may only be changed under its lock."""
        obj = change.obj if isinstance(change, Put) else self.snapshot().get(change.object_kind, change.uuid)
        held = self._run.immediate.master.held
        if BGL in held.exclusive:
            return
        assert BGL in held.shared, "the configuration is changed without the big lock"
        if isinstance(obj, Instance):
            assert {lock("instance", obj.name), lock("instance")} & held.exclusive, f"{obj.name} is changed without its lock"
        if isinstance(obj, Node):
            assert {lock("node", obj.uuid), lock("node")} & held.exclusive, f"{obj.name} is changed without its lock"


class Run:
    """One operation that was run: its result, and what it did on the way."""

    def __init__(self, cluster: FakeCluster, op: Op[Any, Any], fault: Fault | None) -> None:
        self.effects = Effects(fault)
        self.op = op
        self._cluster = cluster
        self.immediate = Immediate(
            FaultyStore(cluster, self), FakeCaller(cluster, self), clock=lambda: cluster.clock, sleep=self._sleep
        )
        self.result: Any = None
        self.held: frozenset[LockName] = frozenset()

    def _sleep(self, seconds: float) -> bool:
        self._cluster.clock += seconds
        if self.effects.cancels_now:
            self.immediate.cancellation.set()
            return True
        return False

    def perform(self, busy: Iterable[LockName] = ()) -> Run:
        master = self.immediate.master
        master.busy = set(busy)
        try:
            self.result = self.immediate.executor.perform(self.op, 1)
            self.held = master.held.names
        finally:
            master.release()
            self.immediate.close()
        return self

    @property
    def log(self) -> list[str]:
        """Lines of the job's log."""
        return self.immediate.master.messages

    @property
    def submitted(self) -> list[list[dict[str, Any]]]:
        return self.immediate.master.submitted


class FakeCluster:
    """Three nodes (or so), one group, hypervisors fake and KVM, templates sharedfile, file and diskless."""

    def __init__(
        self, nodes: int = 3, *, memory: int = 4096, runs_on_arrival: bool = True, **cluster_settings: Any
    ) -> None:
        self.shared = Shared(runs_on_arrival=runs_on_arrival)
        self.clock = 1000.0
        self.dead: set[str] = set()
        self.calls: list[str] = []
        self.group = Group(uuid=GroupUuid(new_uuid()), name="default")
        rows = [self.node_row(number) for number in range(1, nodes + 1)]
        self.nodes = {row.uuid: FakeNode(row.name, self.shared, memory=memory) for row in rows}
        self.nodes[rows[0].uuid].has_master_ip = True
        self.store = MemoryStore(
            [self._cluster(rows[0], cluster_settings), self.group, *rows], clock=lambda: self.clock
        )

    def node_row(self, number: int, **values: Any) -> Node:
        """A node as it would stand in the configuration."""
        ip = f"192.0.2.{10 + number}"
        defaults: dict[str, Any] = {
            "uuid": NodeUuid(new_uuid()),
            "name": f"node{number}.example.com",
            "primary_ip": ip,
            "secondary_ip": ip,
            "group": GroupUuid(self.group.uuid),
            "master_candidate": True,
            "certificate_digest": f"digest-node{number}.example.com",
        }
        return Node(**{**defaults, **values})

    def _cluster(self, master: Node, settings: dict[str, Any]) -> Cluster:
        defaults: dict[str, Any] = {
            "cluster_name": "cluster.example.com",
            "master_node": master.uuid,
            "master_ip": "192.0.2.1",
            "master_netdev": "br0",
            "master_netmask": 32,
            "enabled_hypervisors": (HypervisorKind.FAKE, HypervisorKind.KVM),
            "enabled_disk_templates": (DiskTemplate.SHAREDFILE, DiskTemplate.FILE, DiskTemplate.DISKLESS),
            "file_storage_dir": "/srv/ganeti/file-storage",
            "shared_file_storage_dir": "/srv/ganeti/shared-file-storage",
            "hvparams": {str(kind): params.defaults(table) for kind, table in parameters.HYPERVISOR.items()},
            "beparams": {"default": params.defaults(parameters.BACKEND)},
            "nicparams": {"default": {**params.defaults(parameters.NIC), "link": "br0"}},
            "ndparams": params.defaults(parameters.NODE),
            "diskparams": {str(kind): params.defaults(table) for kind, table in parameters.DISK.items()},
            "ipolicy": POLICY,
        }
        return Cluster(uuid=new_uuid(), **{**defaults, **settings})

    # --- looking at it
    @property
    def config(self) -> Config:
        return self.store.config()

    def node(self, name: str) -> FakeNode:
        """The fake behind a node's name."""
        return self.nodes[self.config.find_node(name).uuid]

    def uuid(self, name: str) -> NodeUuid:
        return self.config.find_node(name).uuid

    def instance(self, name: str) -> Instance:
        return self.config.find_instance(name)

    def running_on(self, name: str) -> list[str]:
        """Short names of the nodes where a guest of this name runs (not merely waits)."""
        return [
            node.name.partition(".")[0]
            for uuid, node in self.nodes.items()
            if uuid not in self.dead and name in node.guests and node.guests[name].state is RunState.RUNNING
        ]

    def home_of(self, name: str) -> str:
        """Short name of the instance's primary node."""
        return self.config.node(self.instance(name).primary_node).name.partition(".")[0]

    # --- changing it behind the operations' back
    def put(self, *objects: AnyObject) -> None:
        """Store objects."""
        self.store.commit(None, [Put(obj) for obj in objects])

    def change(self, obj: AnyObject, **values: Any) -> None:
        """Store an object with other values."""
        self.put(dataclasses.replace(obj, **values))

    def change_node(self, name: str, **values: Any) -> None:
        self.change(self.config.find_node(name), **values)

    def change_cluster(self, **values: Any) -> None:
        self.change(self.config.cluster, **values)

    def change_master(self, name: str) -> None:
        """Another node becomes the master."""
        for node in self.nodes.values():
            node.has_master_ip = node is self.node(name)
        self.change_cluster(master_node=self.uuid(name))

    def add_fake(self, row: Node, **values: Any) -> FakeNode:
        """A host that is no member yet, with its agent running."""
        self.nodes[row.uuid] = FakeNode(row.name, self.shared, **values)
        return self.nodes[row.uuid]

    # --- running operations
    def run(self, op: Op[Any, Any], fault: Fault | None = None, busy: Iterable[LockName] = ()) -> Run:
        """Run an operation by the real executor. A fault of kind ``die`` raises `Died`."""
        return Run(self, op, fault).perform(busy)

    # --- invariants
    def problems(self) -> list[str]:
        """Everything that must never be, however an operation ended."""
        return [*self._double_runs(), *self._undescribed_files(), *self._undescribed_guests(), *self._dangling()]

    def leftovers(self) -> list[str]:
        """What must not be when nothing was interrupted: unfinished objects, waiting guests, disks in use for nothing."""
        found = [f"instance {inst.name} is forthcoming" for inst in self.config.instances if inst.forthcoming]
        for uuid, node in self.nodes.items():
            for name, guest in node.guests.items():
                if guest.state is not RunState.RUNNING:
                    found.append(f"{name} is {guest.state} on {node.name}")
            wanted = {
                disk
                for inst in self.config.instances
                if inst.primary_node == uuid and inst.disks_active
                for disk in inst.disks
            }
            found += [f"disk {disk} is assembled on {node.name}" for disk in sorted(node.assembled - wanted)]
        described = {
            str(disk.logical_id[1]).rpartition("/")[0] for inst in self.config.instances for disk in self.config.disks_of(inst)
        }
        directories = {path for node in self.nodes.values() for path in node.directories} | self.shared.directories
        found += [f"directory {path} is left" for path in sorted(directories - described)]
        return found

    def _double_runs(self) -> list[str]:
        names = {name for node in self.nodes.values() for name in node.guests}
        return [f"{name} runs on {self.running_on(name)}" for name in sorted(names) if len(self.running_on(name)) > 1]

    def _undescribed_files(self) -> list[str]:
        paths: dict[str, set[str]] = {}
        for inst in self.config.instances:
            for disk in self.config.disks_of(inst):
                node = inst.primary_node if disk.dev_type is DiskTemplate.FILE else "shared"
                paths.setdefault(node, set()).add(str(disk.logical_id[1]))
        found = [f"shared file {path} belongs to nothing" for path in sorted(set(self.shared.files) - paths.get("shared", set()))]
        for uuid, node in self.nodes.items():
            found += [f"{path} on {node.name} belongs to nothing" for path in sorted(set(node.files) - paths.get(uuid, set()))]
        return found

    def _undescribed_guests(self) -> list[str]:
        known = {inst.name for inst in self.config.instances}
        return [
            f"guest {name} on {node.name} belongs to nothing"
            for node in self.nodes.values()
            for name in node.guests
            if name not in known
        ]

    def _dangling(self) -> list[str]:
        used = {disk for inst in self.config.instances for disk in inst.disks}
        stored = {disk.uuid for disk in self.config.rows.all(Kind.DISK) if isinstance(disk, Disk)}
        return [f"disk {uuid} has no instance" for uuid in sorted(stored - used)] + [
            f"disk {uuid} is missing" for uuid in sorted(used - stored)
        ]


def locks_of(op: Op[Any, Any], config: Config) -> dict[str, list[str]]:
    """Levels that an operation locks: {"exclusive node": [names]} with uuids of nodes turned into names."""
    wanted = op.locks(config)
    found: dict[str, list[str]] = {}
    for mode, names in (("exclusive", wanted.exclusive), ("shared", wanted.shared), ("opportunistic", wanted.opportunistic)):
        for name in sorted(names):
            level, rest = level_of(name), str(name).partition("/")[2]
            row = next((node for node in config.nodes if node.uuid == rest), None)
            found.setdefault(f"{mode} {level}", []).append(row.name.partition(".")[0] if row else rest)
    return {key: sorted(names) for key, names in found.items()}
