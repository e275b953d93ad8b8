"""What follows for the nodes when the membership or the candidates change: SSH keys, replicas.

The configuration has been committed by then; whatever fails here is a warning that says how to catch up.
"""

from __future__ import annotations

from collections.abc import Iterable

from ganeti.base.errors import NodeError
from ganeti.base.secret import Secret
from ganeti.model.ids import NodeUuid
from ganeti.model.known_hosts import known_hosts_of
from ganeti.model.objects import Node
from ganeti.ops.context import Context
from ganeti.rpc.node.node import NodeApi


def distribute_ssh(ctx: Context, gone: Iterable[Node] = ()) -> None:
    """Bring every online node up to date: host keys of all nodes; root keys of candidates let in, all others not.

    `gone`: nodes that are members no more.
    """
    config = ctx.config
    if not config.cluster.modify_ssh_setup:
        return
    nodes = [node.uuid for node in config.online_nodes]
    let_in = {node.ssh_root_key for node in config.nodes if node.master_candidate and node.ssh_root_key}
    others = {node.ssh_root_key for node in [*config.nodes, *gone] if node.ssh_root_key} - let_in
    for answers in (
        ctx.nodes.call_all(nodes, NodeApi.upload_file, "known_hosts", Secret(known_hosts_of(config))),
        ctx.nodes.call_all(nodes, NodeApi.write_authorized_keys, sorted(let_in), sorted(others)),
    ):
        for answer in answers.values():
            if isinstance(answer, NodeError):
                ctx.warn(f"SSH keys were not brought up to date: {answer}")


def let_nobody_in(ctx: Context, gone: Node) -> None:
    """A node that leaves is not open to the others' root any more. Raises `NodeError`."""
    keys = {node.ssh_root_key for node in ctx.config.nodes} - {gone.ssh_root_key, ""}
    if ctx.config.cluster.modify_ssh_setup and keys:
        ctx.nodes.call(gone.uuid, NodeApi.write_authorized_keys, [], sorted(keys))


def drop_replica(ctx: Context, node: NodeUuid) -> None:
    """The node is no candidate any more: it must not keep the store and the authority's key."""
    try:
        ctx.nodes.call(node, NodeApi.store_remove)
    except NodeError as err:
        ctx.warn(f"The replica of the configuration was not removed: {err}")
