"""Collecting the live data that a query needs: one call per node and kind of data, all nodes at once. Blocking."""

from __future__ import annotations

from collections.abc import Sequence

from ganeti.base.errors import NodeError
from ganeti.model.config import Config
from ganeti.model.enums import DiskTemplate
from ganeti.model.filled import fill_instance
from ganeti.model.objects import Cluster, Instance, Node
from ganeti.query.engine import Query
from ganeti.query.field import Live, Need
from ganeti.rpc.call import NodeCaller
from ganeti.rpc.node.instance import InstanceApi
from ganeti.rpc.node.node import NodeApi
from ganeti.rpc.node.replies import ConsoleInfo, InstanceState, NodeInfo


def gather(query: Query, config: Config, nodes: NodeCaller) -> Live:
    """Ask the nodes concerned; whatever fails is a value in the result."""
    asked = query.nodes(config)
    info: dict[str, NodeInfo | NodeError] = {}
    states: dict[str, list[InstanceState] | NodeError] = {}
    consoles: dict[str, ConsoleInfo | NodeError] = {}
    if Need.NODE_INFO in query.need:
        info = node_info(config, nodes, asked)
    if Need.INSTANCE_STATE in query.need:
        states = instance_states(config, nodes, asked)
    if Need.CONSOLE in query.need:
        instances = [one for one in query.candidates if isinstance(one, Instance)]
        consoles = {one.name: _console(config, nodes, one) for one in instances}
    return Live(info, states, consoles)


def node_info(config: Config, nodes: NodeCaller, asked: Sequence[Node]) -> dict[str, NodeInfo | NodeError]:
    """Memory, CPUs and space of the default storage, by node uuid."""
    cluster = config.cluster
    kinds = [str(kind) for kind in cluster.enabled_hypervisors]
    answers = nodes.call_all([node.uuid for node in asked], NodeApi.node_info, storage_units(cluster), kinds)
    return {str(uuid): answer for uuid, answer in answers.items()}


def instance_states(
    config: Config, nodes: NodeCaller, asked: Sequence[Node]
) -> dict[str, list[InstanceState] | NodeError]:
    """All guests of each node, by node uuid."""
    kinds = [str(kind) for kind in config.cluster.enabled_hypervisors]
    answers = nodes.call_all([node.uuid for node in asked], InstanceApi.instance_states, kinds)
    return {str(uuid): answer for uuid, answer in answers.items()}


def storage_units(cluster: Cluster) -> list[tuple[str, str]]:
    """The storage units, [kind, name], of the enabled disk templates, the default one first."""
    names = {
        DiskTemplate.PLAIN: ("lvm-vg", cluster.volume_group_name),
        DiskTemplate.DRBD: ("lvm-vg", cluster.volume_group_name),
        DiskTemplate.FILE: ("file", cluster.file_storage_dir),
        DiskTemplate.SHAREDFILE: ("sharedfile", cluster.shared_file_storage_dir),
        DiskTemplate.GLUSTER: ("gluster", cluster.gluster_storage_dir),
    }
    found: list[tuple[str, str]] = []
    for template in cluster.enabled_disk_templates:
        kind, name = names.get(template, ("", None))
        if name and (kind, name) not in found:
            found.append((kind, name))
    return found


def _console(config: Config, nodes: NodeCaller, instance: Instance) -> ConsoleInfo | NodeError:
    try:
        return nodes.call(
            instance.primary_node, InstanceApi.instance_console, fill_instance(config, instance)
        )
    except NodeError as err:
        return err
