"""The commands of `devcluster`, without their command line."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace

from ganeti.base import proc
from ganeti.base.errors import ExecError, PrereqError
from ganeti.base.files import ensure_directory, read_optional, write_atomic
from ganeti.base.undo import Undo
from ganeti.tools.devcluster import commands, machine, network, product, sshd
from ganeti.tools.devcluster.lock import locked
from ganeti.tools.devcluster.plan import (
    Node,
    Plan,
    check_name,
    check_size,
    check_socket_paths,
    check_state,
    choose_subnet,
    default_state,
    from_json,
    plan_file,
)

TOOLS = {"ip": "iproute2", "nsenter": "util-linux", "unshare": "util-linux", "mount": "mount", "ssh-keygen": "openssh-client"}
KVM_TOOLS = {"qemu-system-x86_64": "qemu-system-x86", "mcopy": "mtools", "mkfs.fat": "dosfstools", "syslinux": "syslinux"}

Say = Callable[[str], None]


def check_machine(hypervisor: str, *, bare: bool) -> None:
    """Raise `PrereqError` if this user or machine cannot have a cluster."""
    if os.geteuid() != 0:
        raise PrereqError("devcluster makes namespaces and network interfaces, which only root may; run it as root")
    wanted = {**TOOLS, **(KVM_TOOLS if hypervisor == "kvm" and not bare else {})}
    missing = {package for tool, package in wanted.items() if shutil.which(tool, path=proc.SEARCH_PATH) is None}
    if not os.path.exists(sshd.SERVER):
        missing.add("openssh-server")
    if missing:
        raise PrereqError(f"programs are missing on this machine; run: apt-get install {' '.join(sorted(missing))}")
    if not os.path.exists("/dev/net/tun") and hypervisor == "kvm" and not bare:
        raise PrereqError("/dev/net/tun is not there, so that guests cannot have a network; run: modprobe tun")


def load(name: str, state: str | None) -> Plan | None:
    """The plan of a cluster that exists, or None."""
    check_name(name)
    text = read_optional(plan_file(_where(name, state)))
    return from_json(text) if text else None


def require(name: str, state: str | None) -> Plan:
    """The plan of a cluster that must exist."""
    plan = load(name, state)
    if plan is None:
        raise PrereqError(f"there is no cluster '{name}' in {_where(name, state)}; make one with 'devcluster up'")
    return plan


def _where(name: str, state: str | None) -> str:
    return os.path.realpath(state or default_state(name))


# --- up


def up(name: str, state: str | None, size: int, hypervisor: str, *, bare: bool, say: Say) -> Plan:
    """Make the machines and, unless `bare`, the cluster on them. What was made of the machines is undone on failure."""
    check_machine(hypervisor, bare=bare)
    check_size(size)
    check_name(name)
    directory = _where(name, state)
    check_state(directory)
    with locked(name):
        existing = load(name, state)
        if existing is not None:
            say(f"cluster {name} is up already: {existing.size} nodes, network {existing.subnet}")
            return existing
        draft = Plan(name, directory, "10.0.0.0/24", size, hypervisor)
        if not bare:
            check_socket_paths(draft)
        with Undo() as undo:
            plan = _make_machines(draft, undo, say)
            undo.commit()
        if not bare:
            product.make_cluster(plan, say)
    return plan


def _make_machines(draft: Plan, undo: Undo, say: Say) -> Plan:
    if os.path.isdir(draft.state) and os.listdir(draft.state):
        raise PrereqError(f"state directory {draft.state} holds files but no cluster; choose another one or empty it")
    with locked("choosing a network"):
        plan = replace(draft, subnet=choose_subnet(draft.name, network.find_taken_networks()))
        if network.find_links(plan):
            raise PrereqError(
                f"network interfaces of a cluster '{plan.name}' exist, whose state is not in {plan.state}; "
                f"'devcluster down --name {plan.name}' with its state directory removes them, or choose another name"
            )
        _write_state(plan, undo)
        network.make_bridge(plan)
        undo.push(network.remove_links, plan)
    say(f"cluster {plan.name}: {plan.size} nodes on network {plan.subnet}")
    for node in plan.nodes:
        say(f"starting {node.name} ({node.address})")
        machine.prepare_root(plan, node)
        sshd.prepare(plan, node)
        undo.push(machine.switch_off, plan, node)
        _boot(plan, node)
    return plan


def _write_state(plan: Plan, undo: Undo) -> None:
    ensure_directory(plan.state)
    undo.push(_remove_state, plan.state)
    write_atomic(plan.file, plan.to_json(), mode=0o644)
    ensure_directory(plan.shared_storage, 0o750)
    write_atomic(plan.master_file, plan.nodes[0].short + "\n", mode=0o644)
    commands.write(plan, _option(plan))


def _option(plan: Plan) -> str:
    """How to name this cluster on the command line of devcluster."""
    words = [] if plan.name == "demo" else [f"--name {plan.name}"]
    if plan.state != default_state(plan.name):
        words.append(f"--state {plan.state}")
    return " ".join(words)


def _boot(plan: Plan, node: Node) -> None:
    init = machine.switch_on(plan, node)
    network.connect(plan, node, init, machine.enter(init))
    sshd.start(plan, node)


# --- down


def down(name: str, state: str | None, say: Say) -> None:
    """Remove every trace of a cluster, whole or half made. Nothing to remove is success."""
    if os.geteuid() != 0:
        raise PrereqError("only root can remove a cluster; run devcluster as root")
    check_name(name)
    directory = _where(name, state)
    with locked(name):
        plan = load(name, state) or Plan(name, directory, "10.0.0.0/24", 0, "kvm")
        machine.switch_off_all(directory)
        links = network.find_links(plan)
        network.remove_links(plan)
        known = os.path.exists(plan.file)
        if known:
            _remove_state(directory)
        say(f"cluster {name} is removed" if known or links else f"there is no cluster {name}: nothing to remove")


def _remove_state(directory: str) -> None:
    """Remove the state directory. The plan goes last: as long as it is there, `down` knows what to do."""
    for entry in sorted(os.listdir(directory)):
        path = os.path.join(directory, entry)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        elif path != plan_file(directory):
            os.unlink(path)
    os.unlink(plan_file(directory))
    os.rmdir(directory)
    parent = os.path.dirname(directory)
    if parent == os.path.dirname(default_state("x")) and not os.listdir(parent):
        os.rmdir(parent)


# --- what happens to machines


def kill_node(plan: Plan, name: str) -> str:
    """Pull the power plug of a node."""
    node = plan.find(name)
    machine.require_init(plan, node)
    machine.switch_off(plan, node)
    return f"{node.name} is off: all its processes ended"


def start_node(plan: Plan, name: str) -> str:
    """Switch a node on; its daemons start if it belongs to a cluster."""
    node = plan.find(name)
    if machine.find_init(plan, node) is not None:
        raise ExecError(f"node {node.name} is on already")
    with Undo() as undo:
        undo.push(machine.switch_off, plan, node)
        _boot(plan, node)
        product.start_daemons(plan, node)
        undo.commit()
    return f"{node.name} is up"


def cut_node(plan: Plan, name: str) -> str:
    """Pull the network cable of a node."""
    node = plan.find(name)
    machine.require_init(plan, node)
    network.set_cable(plan, node, plugged=False)
    return f"{node.name} is cut off from the network"


def heal_node(plan: Plan, name: str) -> str:
    """Plug the network cable of a node in again."""
    node = plan.find(name)
    machine.require_init(plan, node)
    network.set_cable(plan, node, plugged=True)
    return f"{node.name} is back on the network"


def freeze_node(plan: Plan, name: str) -> str:
    """Stop all processes of a node without ending them."""
    node = plan.find(name)
    count = machine.signal_members(machine.require_init(plan, node), signal.SIGSTOP)
    return f"{node.name} is frozen ({count} processes)"


def thaw_node(plan: Plan, name: str) -> str:
    """Let the processes of a frozen node go on."""
    node = plan.find(name)
    count = machine.signal_members(machine.require_init(plan, node), signal.SIGCONT)
    return f"{node.name} goes on ({count} processes)"


def build_exec(plan: Plan, name: str, argv: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Command and environment that run `argv` on a node, in this terminal."""
    node = plan.find(name)
    init = machine.require_init(plan, node)
    terminal = {key: os.environ[key] for key in ("TERM", "LANG", "LC_ALL") if key in os.environ}
    return [*machine.enter(init), *(argv or ["bash", "--norc"])], {**machine.environment(node), **terminal}
