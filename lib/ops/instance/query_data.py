"""Everything about instances, for `gnt-instance info`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ganeti.base import codec
from ganeti.base.errors import NodeError
from ganeti.model import parameters, params
from ganeti.model.config import Config
from ganeti.model.filled import (
    fill_beparams,
    fill_disk,
    fill_hvparams,
    fill_nic,
    fill_osparams,
)
from ganeti.model.ids import NodeUuid
from ganeti.model.locks import Locks, lock
from ganeti.model.objects import Disk, Instance, Nic, Params
from ganeti.ops.base import Op, param
from ganeti.ops.context import Context
from ganeti.ops.instance.steps import guest
from ganeti.ops.instance.steps.lookup import find_instance
from ganeti.rpc.node.blockdev import BlockdevApi
from ganeti.rpc.node.instance import InstanceApi
from ganeti.rpc.node.replies import RunState

DISK_OK = 1
"""The status of a disk that works, as the public contract numbers it."""


@dataclass
class Live:
    """What nodes said: state by instance name, path by disk uuid. Missing: the node could not be asked."""

    states: dict[str, RunState] = field(default_factory=dict)
    paths: dict[str, str | None] = field(default_factory=dict)


class InstanceQueryData(Op[list[Instance], dict[str, dict[str, Any]]], changes_nothing=True):
    """Everything about instances, by name."""

    instances: list[str] = param(default_factory=list, help="Instances (none: all)", complete="instance")
    use_locking: bool = param(default=False, help="Wait until no other job works on them")
    static: bool = param(default=False, help="Do not ask nodes", flags="-s --static")

    def locks(self, config: Config) -> Locks:
        """None, unless asked for."""
        if not self.use_locking:
            return Locks.none()
        return Locks.of(shared=[lock("instance", instance.name) for instance in self._wanted(config)])

    def _wanted(self, config: Config) -> list[Instance]:
        found = [find_instance(config, name) for name in self.instances] or config.instances
        return list({instance.uuid: instance for instance in found}.values())

    def plan(self, ctx: Context) -> list[Instance]:
        return self._wanted(ctx.config)

    def run(self, ctx: Context, plan: list[Instance]) -> dict[str, dict[str, Any]]:
        live = None if self.static else gather(ctx, plan)
        return {instance.name: describe(ctx.config, instance, live) for instance in plan}


def gather(ctx: Context, instances: Sequence[Instance]) -> Live:
    """Ask each primary node once for its guests and once for its disks. A node that fails leaves a gap and a warning."""
    config, live = ctx.config, Live()
    by_node: dict[NodeUuid, list[Instance]] = {}
    for instance in instances:
        if not config.node(instance.primary_node).offline:
            by_node.setdefault(instance.primary_node, []).append(instance)
    kinds = [str(kind) for kind in config.cluster.enabled_hypervisors]
    for node, states in ctx.nodes.call_all(by_node, InstanceApi.instance_states, kinds).items():
        if isinstance(states, NodeError):
            ctx.warn(str(states))
            continue
        found = {state.name: state.state for state in states}
        live.states.update({instance.name: found.get(instance.name, RunState.ABSENT) for instance in by_node[node]})
        disks = [disk for instance in by_node[node] for disk in config.disks_of(instance)]
        live.paths.update(_find_disks(ctx, node, disks))
    return live


def _find_disks(ctx: Context, node: NodeUuid, disks: Sequence[Disk]) -> dict[str, str | None]:
    if not disks:
        return {}
    filled = [fill_disk(ctx.config, ctx.config.node(node), disk) for disk in disks]
    try:
        paths = ctx.nodes.call(node, BlockdevApi.blockdev_find, filled)
    except NodeError as err:
        ctx.warn(str(err))
        return {}
    return {disk.uuid: path for disk, path in zip(disks, paths, strict=True)}


def describe(config: Config, instance: Instance, live: Live | None) -> dict[str, Any]:
    """One instance, with the keys of the public contract. Pure."""
    cluster, node = config.cluster, config.node(instance.primary_node)
    group = config.group(node.group)
    secondaries = [config.node(uuid) for uuid in instance.secondary_nodes]
    groups = [config.group(secondary.group) for secondary in secondaries]
    return {
        "name": instance.name,
        "uuid": instance.uuid,
        "serial_no": instance.serial_no,
        "ctime": instance.ctime,
        "mtime": instance.mtime,
        "config_state": str(instance.admin_state),
        "run_state": run_state(instance, live),
        "pnode": node.name,
        "pnode_group_uuid": group.uuid,
        "pnode_group_name": group.name,
        "snodes": [secondary.name for secondary in secondaries],
        "snodes_group_uuids": [found.uuid for found in groups],
        "snodes_group_names": [found.name for found in groups],
        "os": instance.os,
        "os_instance": instance.osparams,
        "os_actual": fill_osparams(cluster, instance),
        "hypervisor": str(instance.hypervisor),
        "hv_instance": instance.hvparams,
        "hv_actual": without_globals(fill_hvparams(cluster, instance)),
        "be_instance": instance.beparams,
        "be_actual": with_memory(fill_beparams(cluster, instance)),
        "network_port": instance.network_port,
        "nics": [_nic(config, nic) for nic in instance.nics],
        "disk_template": str(instance.disk_template),
        "disks": [_disk(config, disk, live) for disk in config.disks_of(instance)],
        "disks_active": instance.disks_active,
        "forthcoming": instance.forthcoming,
        "tags": list(instance.tags),
    }


def run_state(instance: Instance, live: Live | None) -> str | None:
    """``up`` or ``down``; None if it was not asked or cannot be known."""
    if live is None or instance.name not in live.states:
        return None
    return "up" if guest.is_present(live.states[instance.name]) else "down"


def without_globals(hypervisor: Mapping[str, Any]) -> Params:
    """Hypervisor parameters that an instance can have of its own."""
    return {name: value for name, value in hypervisor.items() if name not in parameters.HYPERVISOR_GLOBALS}


def with_memory(backend: Mapping[str, Any]) -> Params:
    """Back-end parameters with the older name ``memory`` of ``maxmem``."""
    return params.fill(backend, {"memory": backend["maxmem"]})


def _nic(config: Config, nic: Nic) -> list[Any]:
    """[name, uuid, ip, mac, mode, link, vlan, network, network's facts]"""
    filled = fill_nic(config, nic)
    facts = None
    if filled.network_uuid is not None:
        facts = {
            name.removeprefix("network_"): value for name, value in codec.encode(filled).items() if name.startswith("network_")
        }
    return [
        filled.name,
        filled.uuid,
        filled.ip,
        filled.mac,
        str(filled.mode),
        filled.link,
        filled.vlan,
        filled.network_uuid,
        facts,
    ]


def _disk(config: Config, disk: Disk, live: Live | None) -> dict[str, Any]:
    path = live.paths.get(disk.uuid) if live is not None else None
    # [path, major, minor, sync percent, estimated seconds, degraded, status]
    status = [path, None, None, None, None, False, DISK_OK] if path is not None else None
    return {
        "iv_name": disk.iv_name,
        "uuid": disk.uuid,
        "name": disk.name,
        "dev_type": str(disk.dev_type),
        "logical_id": list(disk.logical_id),
        "size": disk.size,
        "spindles": disk.spindles,
        "mode": str(disk.mode),
        "drbd_info": None,
        "pstatus": status,
        "sstatus": None,
        "children": [_disk(config, child, live) for child in disk.children],
    }
