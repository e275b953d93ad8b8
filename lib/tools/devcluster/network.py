"""The network between the nodes: a bridge on this host as the switch, a veth pair for each node as its cable."""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections.abc import Sequence
from typing import Any

from ganeti.base import proc
from ganeti.base.errors import ExecError
from ganeti.tools.devcluster.plan import BRIDGE, Network, Node, Plan


def ip(*words: str) -> None:
    """Run `ip` for its effect."""
    proc.run(["ip", *words])


def ip_json(*words: str) -> list[dict[str, Any]]:
    """Run `ip` and return what it prints."""
    text = proc.run(["ip", "-j", *words]).stdout
    found: list[dict[str, Any]] = json.loads(text) if text.strip() else []
    return [entry for entry in found if entry]


def ip_batch(lines: Sequence[str], prefix: Sequence[str] = ()) -> None:
    """Run several `ip` commands in one process; the first that fails ends it. `prefix` enters a namespace."""
    proc.run([*prefix, "ip", "-batch", "-"], input="\n".join(lines) + "\n")


def find_taken_networks() -> list[Network]:
    """Every IPv4 network that this host has an address in or a route to, except the default route."""
    texts = [str(route.get("dst", "")) for route in ip_json("-4", "route", "show", "table", "all")]
    for link in ip_json("-4", "addr"):
        texts += [f"{info['local']}/{info['prefixlen']}" for info in link.get("addr_info", ()) if "local" in info]
    networks = []
    for text in texts:
        try:
            networks.append(ipaddress.IPv4Network(text, strict=False))
        except ValueError:
            continue  # words such as "default"
    return [network for network in networks if network.prefixlen > 0]


def find_links(plan: Plan) -> dict[str, dict[str, Any]]:
    """Our interfaces on this host, by name."""
    ours = {plan.bridge}
    found = {link["ifname"]: link for link in ip_json("link", "show")}
    return {name: link for name, link in found.items() if name in ours or name.startswith(f"gv-{plan.name}-")}


def make_bridge(plan: Plan) -> None:
    """Make the switch. This host gets an address on it, so that its users reach nodes and guests."""
    address = _mac(plan, 1)
    ip("link", "add", plan.bridge, "address", address, "type", "bridge", "forward_delay", "0")
    ip_batch([f"addr add {plan.host_address}/{plan.prefix_length} dev {plan.bridge}", f"link set {plan.bridge} up"])


def connect(plan: Plan, node: Node, init: int, enter: Sequence[str]) -> None:
    """Give a node its cable, its bridge and its address. `init` is its first process, `enter` the command that enters it."""
    cable = plan.cable(node)
    ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", str(init))
    ip_batch([f"link set {cable} master {plan.bridge}", f"link set {cable} up"])
    ip_batch(
        [
            "link set lo up",
            # A bridge without an address of its own changes it with each guest that joins, and neighbours lose the node.
            f"link add {BRIDGE} address {_mac(plan, 10 + node.number)} type bridge forward_delay 0",
            f"link set eth0 master {BRIDGE}",
            "link set eth0 up",
            f"link set {BRIDGE} up",
            f"addr add {node.address}/{plan.prefix_length} dev {BRIDGE}",
        ],
        prefix=enter,
    )


def set_cable(plan: Plan, node: Node, plugged: bool) -> None:
    """Plug a node's cable in or pull it out: the node sees its carrier come or go."""
    ip("link", "set", plan.cable(node), "up" if plugged else "down")


def is_cut(plan: Plan, node: Node) -> bool:
    """Whether the cable of a node is pulled out."""
    link = find_links(plan).get(plan.cable(node))
    return link is not None and "UP" not in link["flags"]


def remove_links(plan: Plan) -> None:
    """Remove what is left of cables and switch. Cables vanish with their node, some moments after it."""
    for name in find_links(plan):
        result = proc.run(["ip", "link", "del", name], ok=proc.ANY_STATUS)
        if result.status != 0 and name in find_links(plan):
            raise ExecError(f"cannot remove network interface {name}: {result.output}")


def _mac(plan: Plan, last: int) -> str:
    """A locally administered address, the same at each start."""
    digest = hashlib.sha256(f"{plan.name}/{plan.state}/{last}".encode()).digest()
    return ":".join(["02", *(f"{byte:02x}" for byte in digest[:5])])
