"""Make a prepared host a member of the cluster, or a member that was set up anew one again.

The command line has prepared the host over SSH: it has its certificate, and its agent runs (`bootstrap.join`). Here it is
asked whether it fits, then one commit makes it a member.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ganeti.base import net
from ganeti.base.errors import Code, NodeError, PrereqError
from ganeti.model import candidates, names, params
from ganeti.model.config import Config
from ganeti.model.ids import GroupUuid, NodeUuid, new_uuid
from ganeti.model.locks import BGL, Locks
from ganeti.model.objects import Group, Node, Put
from ganeti.ops.base import HookRun, Hooks, Op, param
from ganeti.ops.checks import not_empty
from ganeti.ops.context import Context
from ganeti.ops.node.steps.addresses import check_free, check_homing, parse_ip
from ganeti.ops.node.steps.membership import distribute_ssh
from ganeti.ops.node.steps.overrides import node_overrides
from ganeti.ops.steps.hooks import texts
from ganeti.ops.steps.refuse import refuse_given
from ganeti.ops.steps.versions import clock_difference, version_differences
from ganeti.rpc.node.node import NodeApi
from ganeti.rpc.node.replies import VerifyRequest

_UNSUPPORTED = {
    "hv_state": "recording the state of hypervisors is not supported yet",
    "disk_state": "recording the state of disks is not supported yet",
    "node_setup": "the host is prepared by gnt-node add before this job; the job itself does not log in there",
}


class NodeAdd(Op[Node, None], command="gnt-node add", summary="node_name", hooks=Hooks("node-add", "NODE")):
    """Add a node to the cluster, or (with readd) take up one again that was repaired or installed anew."""

    node_name: str = param(help="Host to add")
    primary_ip: str | None = param(default=None, help="Its address (default: what its name resolves to)", check=not_empty)
    secondary_ip: str | None = param(
        default=None,
        help="Its address for replication",
        flags="-s --secondary-ip",
        metavar="ADDRESS",
        check=not_empty,
    )
    readd: bool = param(default=False, help="Take up a node again that is a member already", flags="--readd")
    group: str | None = param(
        default=None, help="Node group", flags="-g --node-group", metavar="GROUP", complete="group", check=not_empty
    )
    master_capable: bool | None = param(
        default=None, help="Whether it may become the master", flags="--master-capable", metavar="yes|no"
    )
    vm_capable: bool | None = param(
        default=None, help="Whether it may host instances", flags="--vm-capable", metavar="yes|no"
    )
    ndparams: dict[str, Any] | None = param(
        default=None, help="Node parameters", flags="--node-parameters", metavar="NAME=VALUE,...", cli_type="keyval"
    )
    hv_state: dict[str, Any] | None = param(
        default=None, help="State of hypervisors", flags="--hypervisor-state", cli_type="identkeyval"
    )
    disk_state: dict[str, Any] | None = param(
        default=None, help="State of disks", flags="--disk-state", cli_type="identkeyval"
    )
    node_setup: bool = param(default=False, help="Prepare the host over SSH")
    certificate_digest: str | None = param(
        default=None, help="SHA-256 of the certificate it was given (default: it is asked)", check=not_empty
    )
    ssh_host_key: str | None = param(default=None, help="Its SSH host key, as type and base64 text")
    ssh_root_key: str | None = param(default=None, help="Public SSH key of its root user")

    def locks(self, config: Config) -> Locks:
        """Everything stands still while the membership changes."""
        return Locks.of(exclusive=[BGL])

    # --- plan
    def plan(self, ctx: Context) -> Node:
        config = ctx.config
        refuse_given(self, _UNSUPPORTED)
        name, primary = self._resolve(config)
        known = config.rows.by_name(Node.KIND, name)
        known = known if isinstance(known, Node) else None
        self._check_membership(config, name, known)
        secondary = self._secondary(config, primary, known)
        check_free(config, {primary, secondary}, known.uuid if known else None)
        check_homing(config, primary, secondary)
        node = self._build(config, name, primary, secondary, known)
        ctx.introduce(node)
        return self._check_agent(ctx, node, known)

    def _resolve(self, config: Config) -> tuple[str, str]:
        name, family = names.normalize_host_name(self.node_name), config.cluster.primary_ip_family
        if self.primary_ip is not None:
            return name, parse_ip(self.primary_ip, "primary IP", family)
        host = net.resolve(name, family)
        return names.normalize_host_name(host.name), host.ip

    def _check_membership(self, config: Config, name: str, known: Node | None) -> None:
        if known is None and self.readd:
            raise PrereqError(f"node {name} is not in the cluster, so it cannot be re-added; leave --readd out", Code.NOENT)
        if known is not None and not self.readd:
            raise PrereqError(f"node {name} is in the cluster already; use --readd to take it up again", Code.EXISTS)
        if known is not None and known.uuid == config.cluster.master_node:
            raise PrereqError(f"node {name} is the master; it cannot be re-added", Code.STATE)
        if known is not None and self.group is not None and config.find_group(self.group).uuid != known.group:
            raise PrereqError(f"node {name} keeps its node group when it is re-added; leave -g out", Code.INVAL)
        if known is not None and self.vm_capable is False and config.primary_instances(known.uuid):
            raise PrereqError(f"node {name} has instances, so it has to stay vm_capable", Code.STATE)

    def _secondary(self, config: Config, primary: str, known: Node | None) -> str:
        if self.secondary_ip is not None:
            secondary = parse_ip(self.secondary_ip, "secondary IP")
            if known is not None and known.secondary_ip not in (secondary, known.primary_ip):
                raise PrereqError(
                    f"node {known.name} has secondary IP {known.secondary_ip}; re-adding cannot change it", Code.INVAL
                )
            return secondary
        if known is not None and known.secondary_ip != known.primary_ip:
            return known.secondary_ip
        return primary

    def _group(self, config: Config) -> Group:
        if self.group is not None:
            return config.find_group(self.group)
        if len(config.groups) > 1:
            listed = ", ".join(group.name for group in config.groups)
            raise PrereqError(f"there are several node groups ({listed}); choose one with -g", Code.INVAL)
        return config.groups[0]

    def _build(self, config: Config, name: str, primary: str, secondary: str, known: Node | None) -> Node:
        """The node as it will be, role included."""
        base = known or Node(
            uuid=NodeUuid(new_uuid()),
            name=name,
            primary_ip=primary,
            secondary_ip=secondary,
            group=GroupUuid(self._group(config).uuid),
        )
        node = replace(
            base,
            primary_ip=primary,
            secondary_ip=secondary,
            master_capable=base.master_capable if self.master_capable is None else self.master_capable,
            vm_capable=base.vm_capable if self.vm_capable is None else self.vm_capable,
            ndparams=params.update(base.ndparams, node_overrides(self.ndparams or {})),
            certificate_digest=self.certificate_digest or base.certificate_digest,
            ssh_host_key=self.ssh_host_key or base.ssh_host_key,
            ssh_root_key=self.ssh_root_key or base.ssh_root_key,
            offline=False,
            drained=False,
            powered=True,
            master_candidate=False,
        )
        others = [other for other in config.nodes if other.uuid != node.uuid]
        return replace(node, master_candidate=node.master_capable and candidates.has_room(config.cluster, others))

    def _check_agent(self, ctx: Context, node: Node, known: Node | None) -> Node:
        """Ask the new node and the master who they are; returns the node with its certificate's digest."""
        try:
            before = ctx.now()
            reply = ctx.nodes.call(node.uuid, NodeApi.version)
            after = ctx.now()
            digest = node.certificate_digest
            if not digest:
                digest = ctx.nodes.call(node.uuid, NodeApi.node_verify, VerifyRequest()).certificate_digest
        except NodeError as err:
            raise PrereqError(f"{err}. Its agent must run before the node can be added", Code.ENVIRON) from err
        own = ctx.nodes.call(ctx.config.cluster.master_node, NodeApi.version)
        reasons = [*version_differences(own, reply), clock_difference(before, reply.time, after)]
        if reply.hostname != node.name:
            reasons.append(f"its agent calls itself {reply.hostname}")
        if not digest:
            reasons.append("it has no certificate of this cluster")
        twin = next((other for other in ctx.config.nodes if other.certificate_digest == digest), None)
        if twin is not None and twin.uuid != node.uuid:
            reasons.append(f"it has the certificate of node {twin.name}")
        wrong = "; ".join(filter(None, reasons))
        if wrong:
            raise PrereqError(f"node {node.name} cannot join: {wrong}", Code.ENVIRON)
        return replace(node, certificate_digest=digest)

    # --- run
    def run(self, ctx: Context, plan: Node) -> None:
        ctx.commit([Put(plan)])
        role = "master candidate" if plan.master_candidate else "regular node"
        ctx.info(f"Node {plan.name} is a member of the cluster, as {role}")
        distribute_ssh(ctx)

    def hook_run(self, config: Config, plan: Node) -> HookRun:
        """Before on all nodes there are, afterwards on the new one too."""
        nodes = tuple(node.uuid for node in config.nodes)
        before = tuple(uuid for uuid in nodes if uuid != plan.uuid)
        environment = {
            "NODE_NAME": plan.name,
            "NODE_PIP": plan.primary_ip,
            "NODE_SIP": plan.secondary_ip,
            "MASTER_CAPABLE": plan.master_capable,
            "VM_CAPABLE": plan.vm_capable,
        }
        return HookRun(plan.name, texts(environment), before, nodes)
