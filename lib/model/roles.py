"""The role of a node: exactly one of master candidate, drained, offline, or none of them (regular)."""

from __future__ import annotations

from dataclasses import replace

from ganeti.model.enums import Word
from ganeti.model.objects import Node


class Role(Word):
    """What a node is besides hosting instances."""

    CANDIDATE = "master candidate"
    DRAINED = "drained"
    OFFLINE = "offline"
    REGULAR = "regular"


def role_of(node: Node) -> Role:
    """The role that the flags of a node say."""
    if node.offline:
        return Role.OFFLINE
    if node.drained:
        return Role.DRAINED
    return Role.CANDIDATE if node.master_candidate else Role.REGULAR


def with_role(node: Node, role: Role) -> Node:
    """The node with the flags of a role."""
    return replace(
        node,
        master_candidate=role is Role.CANDIDATE,
        drained=role is Role.DRAINED,
        offline=role is Role.OFFLINE,
    )
