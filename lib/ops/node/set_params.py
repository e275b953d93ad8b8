"""Change a node: its role, what it may do, its parameters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ganeti.base.errors import Code, NodeError, PrereqError
from ganeti.model import candidates, params
from ganeti.model.config import Config
from ganeti.model.filled import fill_ndparams
from ganeti.model.locks import Locks, lock
from ganeti.model.objects import Node, Put
from ganeti.model.roles import Role, role_of, with_role
from ganeti.ops.base import HookRun, Hooks, Op, param
from ganeti.ops.checks import not_empty
from ganeti.ops.context import Context
from ganeti.ops.node.steps.addresses import check_free, check_homing, parse_ip
from ganeti.ops.node.steps.membership import distribute_ssh, drop_replica
from ganeti.ops.node.steps.overrides import node_overrides
from ganeti.ops.steps.hooks import texts
from ganeti.ops.steps.refuse import given, refuse_given
from ganeti.rpc.node.node import NodeApi

CHANGES = (
    "master_candidate",
    "offline",
    "drained",
    "master_capable",
    "vm_capable",
    "secondary_ip",
    "ndparams",
    "powered",
)
_UNSUPPORTED = {
    "hv_state": "recording the state of hypervisors is not supported yet",
    "disk_state": "recording the state of disks is not supported yet",
}


@dataclass(frozen=True)
class Plan:
    """The node as it is and as it will be, and those that become candidates in its place."""

    before: Node
    after: Node
    promoted: tuple[Node, ...] = ()


class NodeSetParams(
    Op[Plan, list[tuple[str, Any]]],
    command="gnt-node modify",
    route="PUT /2/nodes/{node_name}/modify",
    summary="node_name",
    hooks=Hooks("node-modify", "NODE"),
):
    """Change a node. The result lists [parameter, new value] for everything that changed."""

    node_name: str = param(help="Node to change", complete="node")
    node_uuid: str | None = param(default=None, help="The node, by uuid", check=not_empty)
    master_candidate: bool | None = param(
        default=None, help="Make it a master candidate, or none", flags="-C --master-candidate", metavar="yes|no"
    )
    offline: bool | None = param(
        default=None, help="Mark it offline: it is not contacted any more", flags="-O --offline", metavar="yes|no"
    )
    drained: bool | None = param(
        default=None, help="Mark it drained: it gets no more instances", flags="-D --drained", metavar="yes|no"
    )
    auto_promote: bool = param(
        default=False, help="Make other nodes master candidates in its place", flags="--auto-promote"
    )
    master_capable: bool | None = param(
        default=None, help="Whether it may become the master", flags="--master-capable", metavar="yes|no"
    )
    vm_capable: bool | None = param(
        default=None, help="Whether it may host instances", flags="--vm-capable", metavar="yes|no"
    )
    secondary_ip: str | None = param(
        default=None,
        help="Address for replication",
        flags="-s --secondary-ip",
        metavar="ADDRESS",
        check=not_empty,
    )
    ndparams: dict[str, Any] | None = param(
        default=None, help="Node parameters", flags="--node-parameters", metavar="NAME=VALUE,...", cli_type="keyval"
    )
    powered: bool | None = param(
        default=None, help="Record whether it is switched on", flags="--node-powered", metavar="yes|no"
    )
    force: bool = param(
        default=False, help="Accept too few master candidates, or an odd secondary IP", flags="-f --force"
    )
    hv_state: dict[str, Any] | None = param(
        default=None, help="State of hypervisors", flags="--hypervisor-state", cli_type="identkeyval"
    )
    disk_state: dict[str, Any] | None = param(
        default=None, help="State of disks", flags="--disk-state", cli_type="identkeyval"
    )

    def locks(self, config: Config) -> Locks:
        """The node exclusively; all nodes if others may have to be promoted."""
        node = config.find_node(self.node_uuid or self.node_name)
        return Locks.of(exclusive=[lock("node") if self.auto_promote else lock("node", node.uuid)])

    # --- plan
    def plan(self, ctx: Context) -> Plan:
        config = ctx.config
        refuse_given(self, _UNSUPPORTED)
        if not any(given(self, name) for name in CHANGES):
            raise PrereqError("nothing is to be changed; give at least one of the options", Code.INVAL)
        node = config.find_node(self.node_uuid or self.node_name)
        flags = [name for name in ("offline", "drained", "master_candidate") if getattr(self, name)]
        if len(flags) > 1:
            raise PrereqError(f"a node cannot be {' and '.join(flags)} at the same time", Code.INVAL)
        self._check_master(config, node)
        changed = self._change_properties(config, node)
        role = self._choose_role(config, node, changed)
        if role_of(node) is Role.OFFLINE and role is not Role.OFFLINE:
            self._check_back(ctx, node)
        after = with_role(changed, role)
        return Plan(node, after, self._replace_candidate(ctx, node, after))

    def _check_master(self, config: Config, node: Node) -> None:
        changes_role = any(
            (self.offline, self.drained, self.master_candidate is False, self.master_capable is False)
        )
        if node.uuid == config.cluster.master_node and changes_role:
            raise PrereqError(
                f"node {node.name} is the master, so it has to stay a capable, online master candidate; make another node the"
                " master first (gnt-cluster master-failover)",
                Code.STATE,
            )

    def _change_properties(self, config: Config, node: Node) -> Node:
        """Everything but the role."""
        if self.vm_capable is False:
            hosted = [*config.primary_instances(node.uuid), *config.secondary_instances(node.uuid)]
            if hosted:
                raise PrereqError(f"node {node.name} has instances, so it has to stay vm_capable", Code.STATE)
        return replace(
            node,
            master_capable=node.master_capable if self.master_capable is None else self.master_capable,
            vm_capable=node.vm_capable if self.vm_capable is None else self.vm_capable,
            ndparams=params.update(node.ndparams, node_overrides(self.ndparams or {})),
            powered=self._powered(config, node),
            secondary_ip=self._secondary(config, node),
        )

    def _powered(self, config: Config, node: Node) -> bool:
        if self.powered is None or self.powered == node.powered:
            return node.powered
        if not fill_ndparams(config, node).get("oob_program"):
            raise PrereqError(
                f"node {node.name} has no program for out-of-band control (oob_program), so nobody can know whether it is on",
                Code.STATE,
            )
        if not self.powered and not (node.offline or self.offline):
            raise PrereqError(f"node {node.name} is online, so it cannot be recorded as switched off", Code.STATE)
        return self.powered

    def _secondary(self, config: Config, node: Node) -> str:
        if self.secondary_ip is None:
            return node.secondary_ip
        secondary = parse_ip(self.secondary_ip, "secondary IP")
        check_free(config, {secondary}, node.uuid)
        if not self.force and node.uuid != config.cluster.master_node:
            check_homing(config, node.primary_ip, secondary)
        if config.secondary_instances(node.uuid):
            raise PrereqError(
                f"node {node.name} holds copies of disks that are replicated over its secondary IP; move them first", Code.STATE
            )
        return secondary

    def _choose_role(self, config: Config, node: Node, changed: Node) -> Role:
        """The role asked for; a node that becomes free of flags turns candidate if the pool has room."""
        old = role_of(node)
        if self.master_candidate and not changed.master_capable:
            raise PrereqError(f"node {node.name} is not master_capable, so it cannot be a master candidate", Code.STATE)
        for name, role in (
            ("master_candidate", Role.CANDIDATE),
            ("drained", Role.DRAINED),
            ("offline", Role.OFFLINE),
        ):
            if getattr(self, name):
                return role
            if getattr(self, name) is False and old is role:
                return Role.REGULAR if role is Role.CANDIDATE else self._free_role(config, changed)
        if old is Role.CANDIDATE and not changed.master_capable:
            return Role.REGULAR
        if old is Role.REGULAR and self.master_capable and not node.master_capable:
            return self._free_role(config, changed)
        return old

    def _free_role(self, config: Config, node: Node) -> Role:
        others = [other for other in config.nodes if other.uuid != node.uuid]
        wanted = node.master_capable and self.master_candidate is None and candidates.has_room(config.cluster, others)
        return Role.CANDIDATE if wanted else Role.REGULAR

    def _check_back(self, ctx: Context, node: Node) -> None:
        """A node that comes back online has to answer."""
        try:
            ctx.nodes.call(node.uuid, NodeApi.version)
        except NodeError as err:
            raise PrereqError(f"{err}. It cannot be marked online while its agent does not answer", Code.ENVIRON) from err
        ctx.warn(f"Node {node.name} comes back without being re-added; make sure that it is in good health")

    def _replace_candidate(self, ctx: Context, before: Node, after: Node) -> tuple[Node, ...]:
        """The nodes that become candidates because this one is none any more."""
        if not before.master_candidate or after.master_candidate:
            return ()
        config = ctx.config
        nodes = [after if node.uuid == after.uuid else node for node in config.nodes]
        missing = candidates.missing(config.cluster, nodes)
        if not missing:
            return ()
        promoted = candidates.to_promote(config.cluster, nodes, besides=[after.uuid]) if self.auto_promote else []
        if len(promoted) < missing and not self.force:
            hint = "no other node can take its place" if self.auto_promote else "use --auto-promote to have others take its place"
            raise PrereqError(
                f"without node {before.name} there would be {missing} master candidates too few; {hint}, or --force", Code.STATE
            )
        return tuple(promoted)

    # --- run
    def run(self, ctx: Context, plan: Plan) -> list[tuple[str, Any]]:
        before, after = plan.before, plan.after
        changed = [after] if after != before else []
        promoted = [replace(node, master_candidate=True) for node in plan.promoted]
        if changed or promoted:
            ctx.commit([Put(node) for node in [*changed, *promoted]])
        for node in promoted:
            ctx.info(f"Node {node.name} becomes a master candidate")
        if after.master_candidate != before.master_candidate or promoted:
            distribute_ssh(ctx)
        if role_of(after) in (Role.REGULAR, Role.DRAINED) and role_of(before) in (Role.CANDIDATE, Role.OFFLINE):
            drop_replica(ctx, after.uuid)
        return differences(before, after)

    def hook_run(self, config: Config, plan: Plan) -> HookRun:
        """On the master and the node, before and after."""
        asked = ("master_candidate", "offline", "drained", "master_capable", "vm_capable")
        environment = texts({name.upper(): getattr(self, name) for name in asked})
        return HookRun(plan.before.name, environment, (plan.before.uuid,), (plan.before.uuid,))


def differences(before: Node, after: Node) -> list[tuple[str, Any]]:
    """[parameter, new value] of everything that differs."""
    return [(name, getattr(after, name)) for name in CHANGES if getattr(before, name) != getattr(after, name)]
