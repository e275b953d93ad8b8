"""A whole cluster in one process: store, nodes, and the context in which an opcode runs; with faults at any step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ganeti.base.errors import Cancelled, Code, ConfigError, GanetiError, NodeError, NodeOffline, PrereqError
from ganeti.base.undo import Undo
from ganeti.model import parameters, params
from ganeti.model.config import Config
from ganeti.model.enums import DiskTemplate, HypervisorKind
from ganeti.model.ids import GroupUuid, NodeUuid, new_uuid
from ganeti.model.locks import BGL, LockName, Locks, level_of, lock
from ganeti.model.objects import AnyObject, Change, Cluster, Disk, Group, Instance, Node, Put
from ganeti.ops.base import HookRun, Op
from ganeti.rpc.call import call_of, implementation
from ganeti.rpc.node.blockdev import BlockdevApi, OsApi
from ganeti.rpc.node.instance import InstanceApi
from ganeti.rpc.node.node import NodeApi
from ganeti.rpc.node.replies import RunState
from support.fakenode import READ_ONLY, FakeNode, Shared
from support.memory_store import MemoryStore

ResultT = TypeVar("ResultT")

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
    it; ``die-after`` right after it; ``cancel`` the job is cancelled when it sleeps after that effect.
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
    armed: bool = False

    def around(self, name: str, action: Callable[[], Any], error: Callable[[str], GanetiError]) -> Any:
        if not self.armed:
            return action()
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

    def __init__(self, cluster: FakeCluster, effects: Effects) -> None:
        self._cluster = cluster
        self._effects = effects
        self.introduced: dict[str, Node] = {}

    def call(self, node: NodeUuid, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        call = call_of(method)
        name = self._cluster.name_of(node)
        row = self._cluster.rows_node(node) or self.introduced.get(node)
        if row is None:
            raise NodeError(node, "is not in the configuration")
        if row.offline and not call.offline:
            raise NodeOffline(name)

        def act() -> Any:
            if node in self._cluster.dead or node not in self._cluster.nodes:
                raise NodeError(name, "connection refused")
            target = self._cluster.nodes[node]
            table = {}
            for api in (InstanceApi, BlockdevApi, OsApi, NodeApi):
                table.update(implementation(api, target))
            declared, bound = table[call.name]
            try:
                result = bound(*declared.decode_arguments(call.encode_arguments(args, kwargs)))
            except GanetiError as err:
                raise NodeError(name, f"{call.name}: {err}") from err
            from ganeti.base import codec

            return call.decode_result(codec.loads(codec.dumps(codec.encode(result))))

        self._cluster.calls.append(f"{name}:{call.name}")
        if call.name in READ_ONLY:
            return act()
        return self._effects.around(f"{name}:{call.name}", act, lambda text: NodeError(name, text))

    def call_all(self, nodes: Iterable[NodeUuid], method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        result = {}
        for node in nodes:
            try:
                result[node] = self.call(node, method, *args, **kwargs)
            except NodeError as err:
                result[node] = err
        return result


class FakeLocks:
    """Locks that are always free; remembers what is held."""

    def __init__(self) -> None:
        self.names: set[LockName] = set()
        self.exclusive: set[LockName] = set()

    def take(self, wanted: Locks) -> None:
        self.names |= wanted.exclusive | wanted.shared | wanted.opportunistic
        self.exclusive |= wanted.exclusive | wanted.opportunistic

    def keep(self, names: Iterable[LockName]) -> None:
        self.names &= {*names, BGL}

    def release(self, names: Iterable[LockName]) -> None:
        self.names -= set(names)

    def downgrade(self, names: Iterable[LockName]) -> None:
        self.exclusive -= set(names)

    def held(self) -> frozenset[LockName]:
        return frozenset(self.names)

    def covers(self, level: str, name: str) -> bool:
        return lock(level, name) in self.names or lock(level) in self.names


class FakeContext:
    """The context of one operation."""

    job_id = 1

    def __init__(self, cluster: FakeCluster, effects: Effects, *, dry_run: bool = False) -> None:
        self._cluster = cluster
        self._effects = effects
        self.dry_run = dry_run
        self.nodes = FakeCaller(cluster, effects)
        self.locks = FakeLocks()
        self.undo = Undo()
        self.log: list[str] = []
        self.warnings: list[str] = []
        self.entries: list[tuple[str, Any]] = []
        self.reserved: list[tuple[str, str]] = []
        self.submitted: list[list[Op[Any, Any]]] = []

    @property
    def config(self) -> Config:
        return self._cluster.config

    def introduce(self, node: Node) -> None:
        self.nodes.introduced[node.uuid] = node

    def commit(self, changes: Sequence[Change]) -> list[AnyObject]:
        for change in changes:
            self._require_lock(change)

        def act() -> Any:
            return self._cluster.store.commit(changes)

        result = self._effects.around("commit", act, ConfigError)
        assert isinstance(result, list)
        return result

    def _require_lock(self, change: Change) -> None:
        """An instance or a node may only be changed under its lock."""
        obj = change.obj if isinstance(change, Put) else self.config.rows.get(change.object_kind, change.uuid)
        if BGL in self.locks.exclusive:
            return
        if isinstance(obj, Instance):
            assert self.locks.covers("instance", obj.name), f"instance {obj.name} changed without its lock"
        if isinstance(obj, Node):
            assert self.locks.covers("node", obj.uuid), f"node {obj.name} changed without its lock"

    def reserve(self, what: str, value: str) -> None:
        if (what, value) in self._cluster.reserved:
            raise PrereqError(f"{what} {value} is in use", Code.NOTUNIQUE)
        if what == "mac" and any(nic.mac == value for inst in self.config.instances for nic in inst.nics):
            raise PrereqError(f"mac {value} is in use", Code.NOTUNIQUE)
        if what == "instance-name" and any(inst.name == value for inst in self.config.instances):
            raise PrereqError(f"instance {value} exists", Code.EXISTS)
        self.reserved.append((what, value))

    def generate(self, what: str, hint: str = "") -> str:
        self._cluster.counter += 1
        number = self._cluster.counter
        if what == "mac":
            return f"{hint or 'aa:00:00'}:00:{number // 256:02x}:{number % 256:02x}"
        assert what == "port"
        return str(11000 + number)

    def info(self, message: str) -> None:
        self.log.append(message)

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    def sleep(self, seconds: float) -> None:
        if self._effects.armed and self._effects.cancels_now:
            raise Cancelled("the job was cancelled")
        self._cluster.clock += seconds

    def now(self) -> float:
        return self._cluster.clock

    def submit(self, jobs: Sequence[Sequence[Op[Any, Any]]]) -> list[tuple[bool, int | str]]:
        first = len(self.submitted) + 100
        self.submitted += [list(ops) for ops in jobs]
        return [(True, first + index) for index in range(len(jobs))]


@dataclass
class Run:
    """One operation that was run."""

    result: Any
    ctx: FakeContext
    plan: Any
    effects: list[str]
    pre: HookRun | None
    post: HookRun | None


class FakeCluster:
    """Three nodes (or so), one group, hypervisor `fake`, templates file, sharedfile and diskless."""

    def __init__(self, nodes: int = 3, *, memory: int = 4096, **cluster_settings: Any) -> None:
        self.shared = Shared()
        self.clock = 1000.0
        self.counter = 0
        self.dead: set[str] = set()
        self.calls: list[str] = []
        self.reserved: set[tuple[str, str]] = set()
        self.group = Group(uuid=GroupUuid(new_uuid()), name="default")
        rows = [self._node(number) for number in range(1, nodes + 1)]
        self.nodes = {row.uuid: FakeNode(row.name, self.shared, memory=memory) for row in rows}
        self.store = MemoryStore([self._cluster(rows[0], cluster_settings), self.group, *rows])

    def _node(self, number: int) -> Node:
        ip = f"192.0.2.{10 + number}"
        return Node(
            uuid=NodeUuid(new_uuid()),
            name=f"node{number}.example.com",
            primary_ip=ip,
            secondary_ip=ip,
            group=GroupUuid(self.group.uuid),
            master_candidate=True,
            certificate_digest=f"digest-node{number}.example.com",
        )

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
        return self.store.config

    def name_of(self, node: str) -> str:
        row = self.rows_node(node)
        return row.name if row else node

    def rows_node(self, node: str) -> Node | None:
        return next((row for row in self.config.nodes if row.uuid == node), None)

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
            self.name_of(uuid).partition(".")[0]
            for uuid, node in self.nodes.items()
            if uuid not in self.dead and name in node.guests and node.guests[name].state is RunState.RUNNING
        ]

    def present_on(self, name: str) -> list[str]:
        """Short names of the nodes that know a guest of this name in any state."""
        return [self.name_of(uuid).partition(".")[0] for uuid, node in self.nodes.items() if name in node.guests]

    # --- changing it behind the operations' back
    def change(self, obj: AnyObject, **values: Any) -> Any:
        """Store an object with other values."""
        return self.store.commit([Put(dataclasses.replace(obj, **values))])[0]

    def change_node(self, name: str, **values: Any) -> Any:
        return self.change(self.config.find_node(name), **values)

    def change_cluster(self, **values: Any) -> Any:
        return self.change(self.config.cluster, **values)

    # --- running operations
    def run(self, op: Op[Any, ResultT], fault: Fault | None = None) -> Run:
        """Run an operation as the executor does. With a fault of kind ``die`` the exception is `Died`."""
        effects = Effects(fault)
        ctx = FakeContext(self, effects, dry_run=bool(op.dry_run))
        ctx.locks.take(op.locks(self.config))
        plan = op.plan(ctx)  # type: ignore[arg-type]  # names of the protocol's properties are plain attributes here
        if op.dry_run:
            return Run(op.dry_run_result(plan), ctx, plan, [], None, None)
        pre = op.hook_run(self.config, plan)
        effects.armed = True
        try:
            result = op.run(ctx, plan)  # type: ignore[arg-type]  # as above
        except Exception as err:
            if fault is not None and not fault.lasts:
                effects.fault = None
            for line in ctx.undo.revert():
                err.add_note(line)
            raise
        ctx.undo.commit()
        effects.armed = False
        return Run(result, ctx, plan, effects.names, pre, op.hook_run(self.config, plan))

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
        from ganeti.model.enums import Kind

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
    return found
