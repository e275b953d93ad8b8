"""What a development cluster consists of, as values: names, addresses, places. Nothing here touches the machine."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import re
from collections.abc import Collection
from dataclasses import asdict, dataclass

from ganeti.base.errors import PrereqError
from ganeti.base.paths import Paths

BASE_DIRECTORY = "/var/lib/ganeti-devcluster"
DEFAULT_NAME = "demo"
DEFAULT_NODES = 3
MOST_NODES = 80
GUESTS = 10
"""Guests i0, i1, ... that have a name and an address from the beginning."""
HYPERVISORS = ("kvm", "fake")
LONGEST_SOCKET = 107
"""Bytes in the name of a Unix socket, unix(7)."""
BRIDGE = "br0"
"""The bridge inside each node, which guests' network cards join too."""

_NAME = re.compile(r"[a-z][a-z0-9]{0,7}")  # two of them and a number fit into the 15 bytes of an interface name

Network = ipaddress.IPv4Network
_TEN = 0x0A0000  # 10.0.0.0, in 256ths


@dataclass(frozen=True)
class Node:
    """One node. `number` counts from 1."""

    number: int
    name: str
    address: str
    root: str

    @property
    def short(self) -> str:
        return self.name.partition(".")[0]

    @property
    def paths(self) -> Paths:
        """Where the product keeps things on this node."""
        return Paths(self.root, self.name)


@dataclass(frozen=True)
class Plan:
    """A whole cluster. It is written to the state directory before anything is made."""

    name: str
    state: str
    subnet: str
    size: int
    hypervisor: str

    # --- addresses: .1 is this host, .10 the cluster, .11 and up the nodes, .100 and up the guests
    def address(self, last: int) -> str:
        return str(Network(self.subnet)[last])

    @property
    def host_address(self) -> str:
        return self.address(1)

    @property
    def cluster_name(self) -> str:
        return f"cluster.{self.name}"

    @property
    def cluster_address(self) -> str:
        return self.address(10)

    @property
    def prefix_length(self) -> int:
        return Network(self.subnet).prefixlen

    def guest_address(self, number: int) -> str:
        return self.address(100 + number)

    # --- interfaces
    @property
    def bridge(self) -> str:
        """The bridge on this host that stands for the switch."""
        return f"gnt-{self.name}"

    def cable(self, node: Node) -> str:
        """This host's end of the network cable of a node."""
        return f"gv-{self.name}-{node.number}"

    # --- nodes
    @property
    def nodes(self) -> tuple[Node, ...]:
        return tuple(self._node(number) for number in range(1, self.size + 1))

    def _node(self, number: int) -> Node:
        name = f"node{number}.{self.name}"
        return Node(number, name, self.address(10 + number), os.path.join(self.state, "nodes", name))

    def find(self, name: str) -> Node:
        """The node of a full or short name."""
        for node in self.nodes:
            if name in (node.name, node.short):
                return node
        listed = ", ".join(node.short for node in self.nodes)
        raise PrereqError(f"cluster {self.name} has no node '{name}'; its nodes are {listed}")

    # --- files of the tool (the product's are below the nodes' root directories)
    @property
    def file(self) -> str:
        return plan_file(self.state)

    @property
    def shared_storage(self) -> str:
        return os.path.join(self.state, "shared-file-storage")

    @property
    def commands(self) -> str:
        """The folder of commands that run inside the master node."""
        return os.path.join(self.state, "bin")

    @property
    def master_file(self) -> str:
        return os.path.join(self.state, "master")

    def init_file(self, node: Node) -> str:
        """Process id and start time of the node's first process, while the node is up."""
        return os.path.join(self.state, "init", node.short)

    def log_file(self, node: Node) -> str:
        return os.path.join(self.state, "log", f"{node.short}.log")

    # --- texts
    def hosts(self) -> str:
        """The file /etc/hosts of every node."""
        lines = ["127.0.0.1 localhost", f"{self.host_address} host.{self.name} host"]
        lines += [f"{self.cluster_address} {self.cluster_name} cluster"]
        lines += [f"{node.address} {node.name} {node.short}" for node in self.nodes]
        lines += [f"{self.guest_address(number)} i{number}.{self.name} i{number}" for number in range(GUESTS)]
        return "\n".join(lines) + "\n"

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1) + "\n"


def from_json(text: str) -> Plan:
    """The plan that `Plan.to_json` wrote."""
    return Plan(**json.loads(text))


def plan_file(state: str) -> str:
    """Where the plan of the cluster in this state directory is."""
    return os.path.join(state, "devcluster.json")


def default_state(name: str) -> str:
    """The state directory if the user names none."""
    return os.path.join(BASE_DIRECTORY, name)


def check_name(name: str) -> None:
    """Raise `PrereqError` for a name that interfaces and hosts cannot bear."""
    if not _NAME.fullmatch(name):
        raise PrereqError(f"'{name}' cannot be the name of a cluster: at most 8 small letters and digits, a letter first")


def check_size(size: int) -> None:
    """Raise `PrereqError` if the addresses of this many nodes do not fit in."""
    if not 1 <= size <= MOST_NODES:
        raise PrereqError(f"{size} nodes cannot be had; choose 1 to {MOST_NODES}")


def check_state(state: str) -> None:
    """A node hides the host's /srv and /run behind its own; settings files of ssh take no white space."""
    if len(state.split()) != 1:
        raise PrereqError(f"state directory '{state}' has white space in its name; choose another one")
    for hidden in ("/srv", "/run", "/var/run", "/proc", "/sys", "/dev"):
        if os.path.commonpath([hidden, state]) == hidden:
            raise PrereqError(f"state directory {state} cannot be below {hidden}, which nodes do not share; choose another one")


def check_socket_paths(plan: Plan) -> None:
    """Raise `PrereqError` if the product's sockets below the nodes' roots would have longer names than the kernel takes."""
    paths = plan.nodes[-1].paths
    longest = max(paths.luxi_socket, paths.job_socket, key=len)
    excess = len(os.fsencode(longest)) - LONGEST_SOCKET
    if excess > 0:
        raise PrereqError(
            f"state directory {plan.state} is {excess} characters too long: sockets below it, such as {longest}, "
            f"may have {LONGEST_SOCKET} at most; choose a shorter one"
        )


def choose_subnet(name: str, taken: Collection[Network]) -> str:
    """A network that overlaps no taken one: the same for the same name as long as it is free."""
    free = set(range(1, 65536))  # x and y of 10.x.y.0; 10.0.0.0/24 looks like the whole of it
    for network in taken:
        free -= set(range(max(0, (int(network[0]) >> 8) - _TEN), min(65536, (int(network[-1]) >> 8) - _TEN + 1)))
    first = int.from_bytes(hashlib.sha256(name.encode()).digest()[:2])
    for number in (*range(first, 65536), *range(first)):
        if number in free:
            return str(Network((_TEN + number << 8, 24)))
    raise PrereqError("no network 10.x.y.0/24 is free on this host: all of 10.0.0.0/8 is routed; remove a route")
