"""The steps of the demonstration, in order. Each prints what it does and why, runs real commands, and looks at their effect."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ganeti.base import proc
from ganeti.base.errors import ExecError, Timeout
from ganeti.tools.demo import watch
from ganeti.tools.demo.terminal import on_terminal
from ganeti.tools.devcluster import cluster, machine, product, report
from ganeti.tools.devcluster.plan import DEFAULT_NAME, Plan, check_socket_paths, default_state

GUEST = "i0"
COMMAND_TIMEOUT = 600.0
BOOT_TIMEOUT = 90.0
CLEARLY_RUNNING = 50
"""A value of the guest's counter, some seconds after its start, that a fresh start does not reach at once."""
ESCAPE = "\x1d"
"""Ctrl and ], which leaves the console."""


@dataclass
class Demo:
    """What the steps share. `facts` are measured on the way and summed up at the end."""

    name: str
    state: str | None
    plan: Plan | None = None
    facts: list[str] = field(default_factory=list)

    @property
    def made(self) -> Plan:
        if self.plan is None:
            raise ExecError("the machines are not there yet")
        return self.plan

    @property
    def guest_address(self) -> str:
        return self.made.guest_address(0)

    @property
    def tool(self) -> str:
        """How `devcluster` is called for this cluster."""
        words = ["tools/devcluster"]
        words += ["--name", self.name] if self.name != DEFAULT_NAME else []
        words += ["--state", os.path.realpath(self.state)] if self.state else []
        return shlex.join(words)

    @property
    def way_down(self) -> str:
        """The command that removes all of it."""
        return "make demo-down" if self.name == DEFAULT_NAME and not self.state else f"{self.tool} down"

    def tell(self, text: str) -> None:
        """Say something to the person who watches."""
        print(text, flush=True)

    def environment(self) -> dict[str, str]:
        """As after ``eval "$(devcluster env)"``."""
        return proc.clean_environment({"PATH": f"{self.made.commands}:{proc.SEARCH_PATH}", "HOME": "/root", "TERM": "dumb"})

    def run(self, *argv: str) -> None:
        """Print a command line as a user would type it, then run it. What it says goes straight to the screen."""
        self.tell(f"$ {shlex.join(argv)}")
        output = sys.stdout.fileno()
        process = proc.start(argv, env=self.environment(), stdout=output, stderr=output)
        try:
            status = process.wait(timeout=COMMAND_TIMEOUT)
        finally:
            proc.stop(process)
        if status != 0:
            raise ExecError(f"'{' '.join(argv[:2])}' ended with status {status}")

    def devcluster(self, verb: str, *words: str) -> None:
        """Do to a machine what the tool does, and show its command line."""
        self.tell(f"$ {self.tool} {shlex.join((verb, *words))}")
        functions: dict[str, Callable[[Plan, str], str]] = {"kill-node": cluster.kill_node, "start-node": cluster.start_node}
        self.tell(functions[verb](self.made, *words))

    def on_node(self, node: str, *argv: str) -> None:
        """Run a command on a node, as after logging in there."""
        self.tell(f"$ {self.tool} exec {node} {shlex.join(argv)}")
        result = machine.run(self.made, self.made.find(node), list(argv), timeout=60)
        self.tell(result.stdout.rstrip("\n"))

    def note(self, text: str) -> None:
        """Tell a measured fact, and remember it."""
        self.facts.append(text)
        self.tell(text)

    def see_it_answer(self, what: str) -> None:
        seconds = watch.wait_for_ping(self.guest_address, BOOT_TIMEOUT)
        self.note(f"{what}: {self.guest_address} answers a ping after {seconds:.1f} s.")


def make_machines(demo: Demo) -> None:
    """Three machines on this one: each has processes, a network, a host name, ssh and files of its own."""
    if cluster.load(demo.name, demo.state) is not None:
        raise ExecError(f"a cluster '{demo.name}' is there already; remove it with '{demo.way_down}' and try again")
    check_socket_paths(Plan(demo.name, os.path.realpath(demo.state or default_state(demo.name)), "10.0.0.0/24", 3, "kvm"))
    demo.plan = cluster.up(demo.name, demo.state, 3, "kvm", bare=True, say=demo.tell)
    demo.tell(report.build_table(report.gather(demo.made)))
    demo.tell("Preparing the image of a small Linux guest (the first time with a download):")
    product.prepare_image()


def init_cluster(demo: Demo) -> None:
    """The first machine becomes a cluster of one node: authority, certificates, ssh keys, store, master address, daemons."""
    demo.run(*product.build_init(demo.made))


def add_nodes(demo: Demo) -> None:
    """The other two join: reached over ssh, given certificates, their agents started, compared in version and time."""
    for node in demo.made.nodes[1:]:
        demo.run("gnt-node", "add", "--no-ssh-key-check", node.short)


def list_things(demo: Demo) -> None:
    """What the cluster consists of."""
    demo.run("gnt-node", "list")
    demo.run("gnt-cluster", "info")


def verify(demo: Demo) -> None:
    """Configuration, agents, versions, clocks and files of all nodes are compared."""
    demo.run("gnt-cluster", "verify")


def list_os(demo: Demo) -> None:
    """What can be installed on a guest."""
    demo.run("gnt-os", "list")


def add_instance(demo: Demo) -> None:
    """A guest: a real QEMU machine with a real Linux, on storage that all nodes share."""
    net = f"0:ip={demo.guest_address}"
    demo.run("gnt-instance", "add", "-t", "sharedfile", "-s", "512m", "-o", "tiny", "-n", "node1", "--net", net, GUEST)


def ping(demo: Demo) -> None:
    """The guest boots and answers at its own address, from this machine too."""
    demo.see_it_answer("After the creation")
    demo.run("ping", "-c", "3", "-i", "0.2", demo.guest_address)


def log_in(demo: Demo) -> None:
    """Log-in by ssh; the guest knows the key of the nodes' root."""
    watch.read_counter(demo.guest_address)
    demo.on_node("node1", "ssh", "-o", "LogLevel=ERROR", f"root@{GUEST}", "hostname; uname -sr; free -m | head -n 2")


def console(demo: Demo) -> None:
    """The same guest on its serial console, which works without any network. Ctrl and ] leaves it."""
    demo.tell(f"$ gnt-instance console {GUEST}")
    with on_terminal(["gnt-instance", "console", GUEST], demo.environment()) as terminal:
        # The guest greets on a new line; whatever stood there before was said to nobody.
        for _attempt in range(20):
            terminal.type("\r")
            with contextlib.suppress(ExecError):
                terminal.expect("login: ", 2.0)
                break
        terminal.type("root\r")
        terminal.expect("# ", 20.0)
        terminal.type("echo the counter is at $(cat /run/counter)\r")
        terminal.expect("the counter is at ", 20.0)
        terminal.expect("the counter is at ", 20.0)
        terminal.type("exit\r")
        terminal.expect("login: ", 20.0)
        terminal.type(ESCAPE)
        with contextlib.suppress(Timeout):
            terminal.wait(5.0)
    demo.tell(terminal.text())


def look(demo: Demo) -> None:
    """The guest as the cluster sees it."""
    demo.run("gnt-instance", "list")
    demo.run("gnt-instance", "list", "-o", "name,status,pnode,oper_ram,nic.ips")
    demo.run("gnt-instance", "info", GUEST)


def shutdown_and_startup(demo: Demo) -> None:
    """Power button, and on again."""
    demo.run("gnt-instance", "shutdown", GUEST)
    demo.run("gnt-instance", "list")
    demo.run("gnt-instance", "startup", GUEST)
    demo.see_it_answer("After the start")


def reboot(demo: Demo) -> None:
    """Three ways to start again; the guest's counter shows each time that it was a new start."""
    for kind in ("soft", "hard", "full"):
        before = watch.read_counter(demo.guest_address, CLEARLY_RUNNING)
        demo.run("gnt-instance", "reboot", "-t", kind, GUEST)
        demo.see_it_answer(f"After the {kind} reboot")
        after = watch.read_counter(demo.guest_address)
        if after >= before:
            raise ExecError(f"the counter of the guest went on from {before} to {after}: it was not started again")
        demo.tell(f"Its counter was at {before} and is at {after} now.")


def migrate(demo: Demo) -> None:
    """The running guest moves to node2, while somebody pings it all the time."""
    before = watch.read_counter(demo.guest_address, CLEARLY_RUNNING)
    with watch.pinging(demo.guest_address) as log:
        demo.run("gnt-instance", "migrate", "-f", "-n", "node2", GUEST)
        after = watch.read_counter(demo.guest_address)
    if after < before:
        raise ExecError(f"the counter of the guest fell from {before} to {after}: it was started again instead of moved")
    demo.note(
        f"Live migration: {len(log.times)} pings were answered, with a longest gap of {log.longest_gap * 1000:.0f} ms "
        f"(one every {watch.INTERVAL * 1000:.0f} ms); the counter went on from {before} to {after}."
    )
    demo.run("gnt-instance", "list", "-o", "name,pnode,status")


def failover(demo: Demo) -> None:
    """The node of the guest loses power. It is marked offline, and the guest starts on another node."""
    demo.devcluster("kill-node", "node2")
    demo.run("gnt-node", "modify", "-f", "--offline=yes", "node2")
    demo.run("gnt-instance", "failover", "-f", "--ignore-consistency", "-n", "node3", GUEST)
    demo.see_it_answer("After the failover")
    demo.run("gnt-instance", "list", "-o", "name,pnode,status")


def bring_back(demo: Demo) -> None:
    """The dead machine is switched on again and takes part again."""
    demo.devcluster("start-node", "node2")
    demo.run("gnt-node", "modify", "-f", "--offline=no", "node2")
    demo.run("gnt-node", "list")
    demo.run("gnt-cluster", "verify")


def finish(demo: Demo) -> None:
    """What was seen, and how to go on."""
    for fact in demo.facts:
        demo.tell(f"  * {fact}")
    folder = os.getcwd()
    demo.tell(
        f"""
The cluster keeps running. To go on, as root in {folder}:

    eval "$({demo.tool} env)"             # the commands below then run on the master
    gnt-instance list
    gnt-instance console {GUEST}              # log in as root, leave with Ctrl and ]
    ping {demo.guest_address}
    gnt-instance add -t sharedfile -s 512m -o tiny -n node3 --net 0:ip={demo.made.guest_address(1)} i1
    {demo.tool} status                # the machines behind it
    {demo.tool} exec node2 bash       # a shell on one of them

'{demo.way_down}' removes every trace of it."""
    )


Step = Callable[[Demo], None]
STEPS: Sequence[tuple[str, Step]] = (
    ("machines", make_machines),
    ("init", init_cluster),
    ("nodes", add_nodes),
    ("lists", list_things),
    ("verify", verify),
    ("os", list_os),
    ("instance", add_instance),
    ("ping", ping),
    ("ssh", log_in),
    ("console", console),
    ("look", look),
    ("restart", shutdown_and_startup),
    ("reboot", reboot),
    ("migrate", migrate),
    ("failover", failover),
    ("return", bring_back),
)
