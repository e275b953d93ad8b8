"""What `devcluster status` prints."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ganeti.tools.devcluster import machine, network, product
from ganeti.tools.devcluster.plan import Node, Plan

HEADER = ("Node", "Address", "State", "Daemons", "Guests")


@dataclass(frozen=True)
class NodeStatus:
    """One node as it is now. `daemons` has process ids of this host."""

    node: Node
    state: str
    daemons: dict[str, int]
    guests: list[str]

    def cells(self) -> tuple[str, ...]:
        daemons = " ".join(f"{name}({pid})" for name, pid in sorted(self.daemons.items()))
        return self.node.name, self.node.address, self.state, daemons or "-", " ".join(self.guests) or "-"


def gather(plan: Plan) -> list[NodeStatus]:
    """Look at all nodes."""
    return [_look_at(plan, node) for node in plan.nodes]


def _look_at(plan: Plan, node: Node) -> NodeStatus:
    init = machine.find_init(plan, node)
    if init is None:
        return NodeStatus(node, "dead", {}, [])
    members = machine.find_members(init)
    states = [word for word, true in (("frozen", machine.is_frozen(init)), ("cut", network.is_cut(plan, node))) if true]
    return NodeStatus(node, "+".join(states) or "up", product.find_daemons(members), product.find_guests(node, members))


def build_table(rows: list[NodeStatus]) -> str:
    """Columns as wide as their widest cell."""
    cells = [HEADER, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEADER))]
    return "\n".join(" ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in cells)


def read_master(plan: Plan) -> str:
    """The node in which the commands of `devcluster env` run."""
    try:
        with open(plan.master_file, encoding="utf-8") as stream:
            return stream.read().strip()
    except FileNotFoundError:
        return os.path.basename(plan.nodes[0].root)
