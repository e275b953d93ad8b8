"""Asking the nodes of a group everything that the checks want to know, all nodes at once where it goes."""

from __future__ import annotations

from collections.abc import Sequence

from ganeti.base import codec
from ganeti.base.errors import NodeError
from ganeti.model.config import Config
from ganeti.model.enums import DiskTemplate
from ganeti.model.filled import fill_disk, fill_hvparams
from ganeti.model.ids import NodeUuid
from ganeti.model.objects import Cluster, Group, Node
from ganeti.ops.cluster.verify.facts import EVERYWHERE, ON_CANDIDATES, GroupFacts, bridges_needed
from ganeti.ops.context import Context
from ganeti.ops.steps.capacity import NodeFacts, ask_nodes
from ganeti.rpc.node.blockdev import BlockdevApi
from ganeti.rpc.node.instance import InstanceApi
from ganeti.rpc.node.node import NodeApi
from ganeti.rpc.node.replies import VerifyReply, VerifyRequest

NEIGHBOURS = 32
"""How many nodes each node tries to reach."""


def gather(ctx: Context, group: Group, *, memory: bool, hvparams: bool) -> GroupFacts:
    """Ask. With `memory` and `hvparams` also what those checks need."""
    config = ctx.config
    online = [node for node in config.online_nodes if node.group == group.uuid]
    hosts = [node.uuid for node in online if node.vm_capable]
    master = config.cluster.master_node
    request = build_request(config, group)
    own = ctx.nodes.call(master, NodeApi.version)
    before = ctx.now()
    replies = ctx.nodes.call_all(dict.fromkeys([*(node.uuid for node in online), master]), NodeApi.node_verify, request)
    after = ctx.now()
    masters = replies[master]
    return GroupFacts(
        config=config,
        group=group,
        own=own,
        master=masters if isinstance(masters, VerifyReply) else None,
        replies={node.uuid: replies[node.uuid] for node in online},
        asked_between=(before, after),
        memory=_memory(ctx, hosts) if memory else {},
        paths=_paths(ctx, hosts),
        hvparams=_hvparams(ctx, hosts) if hvparams else {},
    )


def build_request(config: Config, group: Group) -> VerifyRequest:
    """What every node of the group is asked. Pure."""
    nodes = [node for node in config.online_nodes if node.group == group.uuid]
    others = [node for node in config.online_nodes if node.group != group.uuid]
    bridges = {bridge for node in nodes for bridge in bridges_needed(config, node)}
    return VerifyRequest(
        files=[*EVERYWHERE, *ON_CANDIDATES],
        hypervisors=[str(kind) for kind in config.cluster.enabled_hypervisors],
        nodes=[(node.name, node.primary_ip, node.secondary_ip) for node in neighbours(nodes, others)],
        bridges=sorted(bridges),
        storage_dirs=[directory for _, directory in storage_directories(config.cluster)],
        master_ip=config.cluster.master_ip,
    )


def neighbours(nodes: Sequence[Node], others: Sequence[Node]) -> list[Node]:
    """Nodes that all of a group try to reach: its own, evenly thinned out if there are many, and one of elsewhere."""
    step = max(1, -(-len(nodes) // NEIGHBOURS))
    return [*nodes[::step], *others[:1]]


def storage_directories(cluster: Cluster) -> list[tuple[DiskTemplate, str]]:
    """[template, directory] of the enabled templates that keep files."""
    known = {
        DiskTemplate.FILE: cluster.file_storage_dir,
        DiskTemplate.SHAREDFILE: cluster.shared_file_storage_dir,
    }
    return [(template, known[template]) for template in cluster.enabled_disk_templates if known.get(template)]


def _memory(ctx: Context, hosts: Sequence[NodeUuid]) -> dict[NodeUuid, NodeFacts | NodeError]:
    return ask_nodes(ctx, hosts, ctx.config.cluster.enabled_hypervisors[0])


def _paths(ctx: Context, hosts: Sequence[NodeUuid]) -> dict[str, str | None]:
    """Where the disks of the instances are; one call for each node that has any."""
    config = ctx.config
    found: dict[str, str | None] = {}
    for node in hosts:
        disks = [
            fill_disk(config, config.node(node), disk)
            for instance in config.primary_instances(node)
            if not instance.forthcoming
            for disk in config.disks_of(instance)
        ]
        if not disks:
            continue
        try:
            paths = ctx.nodes.call(node, BlockdevApi.blockdev_find, disks)
        except NodeError:
            continue  # that it does not answer is said elsewhere
        found.update({disk.uuid: path for disk, path in zip(disks, paths, strict=True)})
    return found


def _hvparams(ctx: Context, hosts: Sequence[NodeUuid]) -> dict[NodeUuid, list[tuple[str, str]]]:
    """What is wrong with instances' hypervisor parameters on their nodes; equal parameters are asked about once."""
    config = ctx.config
    found: dict[NodeUuid, list[tuple[str, str]]] = {}
    for node in hosts:
        users: dict[str, list[str]] = {}
        values = {}
        for instance in config.primary_instances(node):
            filled = fill_hvparams(config.cluster, instance)
            key = codec.dumps([str(instance.hypervisor), sorted(filled.items())])
            users.setdefault(key, []).append(instance.name)
            values[key] = (str(instance.hypervisor), filled)
        for key, names in users.items():
            try:
                problem = ctx.nodes.call(node, InstanceApi.hypervisor_validate, *values[key])
            except NodeError:
                break  # as above
            if problem:
                found.setdefault(node, []).append((", ".join(names), problem))
    return found
