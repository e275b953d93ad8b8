"""The parts of creating an instance: choosing and checking its node, filling its disks, making it real, taking it back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ganeti.base.errors import Code, ExecError, NodeError, PrereqError
from ganeti.base.secret import Secret
from ganeti.model import ipolicy
from ganeti.model.config import Config
from ganeti.model.enums import AdminState, DiskTemplate, HypervisorKind
from ganeti.model.filled import fill_hvparams, fill_instance, fill_osparams
from ganeti.model.locks import lock
from ganeti.model.objects import AnyObject, Delete, Disk, Instance, Node, Params, Put
from ganeti.ops.context import Context
from ganeti.ops.instance.steps import disks, guest, new_disks, new_nics, new_params, placement
from ganeti.ops.instance.steps.lookup import require_host
from ganeti.ops.steps import capacity
from ganeti.rpc.node.blockdev import OsApi


@dataclass(frozen=True)
class Wanted:
    """The parameters after checking, as far as they do not depend on the node."""

    name: str
    template: DiskTemplate
    hypervisor: HypervisorKind
    hvparams: Params
    beparams: Params
    memory: int
    start: bool
    vcpus: int
    spindle_use: int
    disks: Sequence[new_disks.WantedDisk]
    nics: Sequence[new_nics.WantedNic]
    driver: str
    ignore_ipolicy: bool


@dataclass(frozen=True)
class Plan:
    """The objects to make, still forthcoming, and what to do with them."""

    instance: Instance
    disks: tuple[Disk, ...]
    nodes: tuple[str, ...]
    """Their names."""
    start: bool
    install: bool
    secret: Mapping[str, Secret] = field(default_factory=dict)


def check_named_node(ctx: Context, wanted: Wanted, node: Node) -> None:
    """`PrereqError` unless the node can take the instance, naming what is lacking and by how much."""
    what = f"instance {wanted.name}"
    require_host(node, what)
    reason = _against_policy(ctx.config, wanted, [node]).get(node.uuid)
    if reason:
        raise PrereqError(f"{what} cannot be on node {node.name}: {reason}", Code.INVAL)
    needs = _needs(ctx.config, wanted)
    facts = capacity.ask_nodes(ctx, [node.uuid], wanted.hypervisor, units=list(needs.space))[node.uuid]
    if isinstance(facts, NodeError):
        raise PrereqError(str(facts), Code.ENVIRON)
    lacking = capacity.lacking_memory(facts, needs.memory) or capacity.lacking_space(facts, needs.space)
    if lacking:
        raise PrereqError(f"{what} cannot be on node {node.name}: {lacking}", Code.NORES)


def choose_node(ctx: Context, wanted: Wanted, candidates: Sequence[Node]) -> Node:
    """The best of the nodes whose resources this job has locked; `PrereqError` with the reasons of all if none fits.

    If nodes were left out because they are busy, its code says that it is worth trying again.
    """
    needs = _needs(ctx.config, wanted)
    held = ctx.locks.held()
    busy: dict[str, str] = {}
    if lock("node-res") not in held:
        busy = {node.uuid: "is busy" for node in candidates if lock("node-res", node.uuid) not in held}
    refused = busy | _against_policy(ctx.config, wanted, candidates)
    asked = [node.uuid for node in candidates if not node.offline and node.uuid not in refused]
    facts = capacity.ask_nodes(ctx, asked, wanted.hypervisor, units=list(needs.space))
    refused |= new_nics.lacking_bridges(ctx, asked, new_nics.bridges_wanted(ctx.config.cluster, wanted.nics))
    try:
        choice = placement.choose(ctx.config, candidates, facts, needs, f"instance {wanted.name}", refused=refused)
    except PrereqError as err:
        raise PrereqError(err.message, Code.TEMP_NORES if busy else err.code) from err
    return ctx.config.node(choice.node)


def _needs(config: Config, wanted: Wanted) -> placement.Wanted:
    space = new_disks.needed_space(config.cluster, wanted.template, wanted.disks)
    return placement.Wanted(wanted.memory if wanted.start else 0, space)


def _against_policy(config: Config, wanted: Wanted, candidates: Sequence[Node]) -> dict[str, str]:
    """Why nodes are out of the question because of their group's policy, by uuid."""
    if wanted.ignore_ipolicy:
        return {}
    spec = ipolicy.Spec(
        memory=wanted.memory,
        vcpus=wanted.vcpus,
        disks=tuple(disk.size for disk in wanted.disks),
        nics=len(wanted.nics),
        spindle_use=wanted.spindle_use,
        template=wanted.template,
    )
    by_group = {group.uuid: ipolicy.describe(config, group, spec) for group in config.groups}
    return {str(node.uuid): by_group[node.group] for node in candidates if by_group[node.group]}


def check_on_node(ctx: Context, plan: Plan, *, force_variant: bool) -> None:
    """`PrereqError` unless bridges, hypervisor and OS on the primary node are as the instance needs them."""
    instance, cluster = plan.instance, ctx.config.cluster
    node = [instance.primary_node]
    new_nics.check_bridges(ctx, node, instance.nics)
    new_params.check_hypervisor_on(ctx, node, instance.hypervisor, fill_hvparams(cluster, instance))
    if plan.install:
        values = {**fill_osparams(cluster, instance), **instance.osparams_private}
        texts = {name: str(value) for name, value in values.items()}
        texts.update({name: value.reveal() for name, value in plan.secret.items()})
        new_params.check_os_on(ctx, node, instance.os, texts, force_variant=force_variant)


def fill_disks(ctx: Context, plan: Plan) -> None:
    """Wipe the disks if the cluster wants that, and install the OS; both need them assembled."""
    instance, node = plan.instance, plan.instance.primary_node
    wipe = ctx.config.cluster.prealloc_wipe_disks and bool(plan.disks)
    if not wipe and not plan.install:
        return
    disks.assemble(ctx, instance, node, plan.disks)
    if wipe:
        disks.wipe(ctx, node, instance, plan.disks)
    if plan.install:
        ctx.info(f"Installing {instance.os} on {instance.name}")
        stored = ctx.config.instance(instance.uuid)
        secret = {name: value.reveal() for name, value in plan.secret.items()}
        ctx.nodes.call(node, OsApi.os_create, fill_instance(ctx.config, stored), False, secret)
    if not plan.start:
        disks.shut_down(ctx, instance, node, plan.disks)


def make_real(ctx: Context, instance: Instance, *, start: bool) -> Instance:
    """Store a forthcoming instance and its disks as made; with `start` it is wanted up."""
    stored = ctx.config.instance(instance.uuid)
    real = replace(
        stored,
        forthcoming=False,
        admin_state=AdminState.UP if start else AdminState.DOWN,
        disks_active=start,
    )
    made = [replace(disk, forthcoming=False) for disk in ctx.config.disks_of(stored)]
    objects: list[AnyObject] = ctx.commit([Put(real), *(Put(disk) for disk in made)])
    assert isinstance(objects[0], Instance)
    return objects[0]


def withdraw(ctx: Context, instance: Instance) -> None:
    """Undo a creation: remove the disks, then the instance from the configuration.

    What could not be removed stays in the configuration, as forthcoming; `ExecError` says so.
    """
    stored = ctx.config.rows.get(Instance.KIND, instance.uuid)
    if not isinstance(stored, Instance):
        return
    made = ctx.config.disks_of(stored)
    failures = disks.remove(ctx, stored.primary_node, stored, made)
    if failures:
        guest.update(ctx, stored, forthcoming=True, admin_state=AdminState.DOWN, disks_active=False)
        raise ExecError(
            f"{'; '.join(failures)}. Instance {stored.name} stays in the configuration as forthcoming; remove it"
            " (gnt-instance remove) when the node answers again"
        )
    ctx.commit([Delete.of(stored), *(Delete.of(disk) for disk in made)])
