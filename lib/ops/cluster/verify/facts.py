"""What is known of a node group when it is judged: configuration, and what its nodes say. Gathered once, then only read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ganeti.base.errors import NodeError
from ganeti.model.config import Config
from ganeti.model.enums import NicMode
from ganeti.model.filled import fill_nic, fill_nicparams
from ganeti.model.ids import NodeUuid
from ganeti.model.objects import Cluster, Group, Instance, Node
from ganeti.ops.steps.capacity import NodeFacts
from ganeti.rpc.node.node import CANDIDATE_FILES
from ganeti.rpc.node.replies import InstanceState, VerifyReply, VersionReply

EVERYWHERE = ("ca.pem", "known_hosts")
"""Files, below the data directory, that are the same on all nodes."""
ON_CANDIDATES = CANDIDATE_FILES
"""Files that are the same on all master candidates, and on no other node."""


@dataclass(frozen=True)
class GroupFacts:
    """Everything the checks look at. Times are seconds."""

    config: Config
    group: Group
    own: VersionReply
    """The master's own."""
    master: VerifyReply | None
    """The master's answer, whichever group it is in (None: it did not answer)."""
    replies: Mapping[NodeUuid, VerifyReply | NodeError]
    asked_between: tuple[float, float]
    memory: Mapping[NodeUuid, NodeFacts | NodeError] = field(default_factory=dict)
    paths: Mapping[str, str | None] = field(default_factory=dict)
    """Where each disk (uuid) was found on its primary node; a disk that is missing here was not looked for."""
    hvparams: Mapping[NodeUuid, list[tuple[str, str]]] = field(default_factory=dict)
    """[instances, what is wrong] for hypervisor parameters that cannot work on a node."""

    @property
    def cluster(self) -> Cluster:
        return self.config.cluster

    @property
    def nodes(self) -> list[Node]:
        """The group's nodes."""
        return [node for node in self.config.nodes if node.group == self.group.uuid]

    @property
    def instances(self) -> list[Instance]:
        """Instances whose primary node is in the group."""
        nodes = {node.uuid for node in self.nodes}
        return [instance for instance in self.config.instances if instance.primary_node in nodes]

    def answered(self) -> Iterator[tuple[Node, VerifyReply]]:
        """The nodes that answered, with their answers."""
        for node in self.nodes:
            reply = self.replies.get(node.uuid)
            if isinstance(reply, VerifyReply):
                yield node, reply

    def states(self) -> Iterator[tuple[Node, InstanceState]]:
        """Every guest on every node that answered."""
        for node, reply in self.answered():
            for state in reply.instances:
                yield node, state


def bridges_needed(config: Config, node: Node) -> list[str]:
    """Bridges that a node must have: the cluster's default one, and those of its instances."""
    if not node.vm_capable:
        return []
    default = config.cluster.nicparams.get("default", {})
    found = {str(default["link"])} if default.get("mode") == NicMode.BRIDGED and default.get("link") else set()
    for instance in config.primary_instances(node.uuid):
        found |= {
            fill_nic(config, nic).link
            for nic in instance.nics
            if fill_nicparams(config.cluster, nic)["mode"] == NicMode.BRIDGED
        }
    return sorted(found)
