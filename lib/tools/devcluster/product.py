"""The cluster on the machines: initialise it, add the nodes, start daemons after a power cut, by the product's commands."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from ganeti.base import proc
from ganeti.base.errors import CommandError, ExecError
from ganeti.base.files import read_optional
from ganeti.tools.devcluster import machine
from ganeti.tools.devcluster.plan import BRIDGE, Node, Plan

INIT_TIMEOUT = 300.0
SMALL_GUESTS = (
    "min:cpu-count=1,disk-count=1,disk-size=4,memory-size=16,nic-count=0,spindle-use=1"
    "/max:cpu-count=8,disk-count=16,disk-size=1048576,memory-size=32768,nic-count=8,spindle-use=12"
)
"""Bounds of the instance policy; the usual ones would refuse the small disks and memories used here."""
IMAGE_TIMEOUT = 900.0

Say = Callable[[str], None]


def build_init(plan: Plan) -> list[str]:
    """The command that initialises the cluster on the first node."""
    argv = ["gnt-cluster", "init", f"--enabled-hypervisors={plan.hypervisor}"]
    argv += ["--enabled-disk-templates=sharedfile,file,diskless"]
    argv += ["--shared-file-storage-dir=/srv/ganeti/shared-file-storage", "--file-storage-dir=/srv/ganeti/file-storage"]
    argv += [f"--master-netdev={BRIDGE}", f"--master-netmask={plan.prefix_length}", "-N", f"mode=bridged,link={BRIDGE}"]
    if plan.hypervisor == "kvm":
        argv += ["-H", "kvm:kernel_path=,kvm_path=/usr/bin/qemu-system-x86_64"]
    argv += ["--ipolicy-bounds-specs", SMALL_GUESTS]
    return [*argv, "-B", "minmem=128,maxmem=128", "--no-etc-hosts", plan.cluster_name]


def build_add(node: Node) -> list[str]:
    """The command that adds a node; its host key was never seen, so that it is accepted as it is."""
    return ["gnt-node", "add", "--no-ssh-key-check", node.name]


def prepare_image() -> None:
    """Build the guest of the OS definition `tiny` beforehand: the first instance need not wait for a download.

    Progress goes straight to standard error: a download may take a while.
    """
    program = os.path.join(machine.checkout(), "tools", "os", "tiny", "build-image")
    process = proc.start([program], env=proc.clean_environment({"HOME": "/root"}), stderr=sys.stderr.fileno())
    try:
        status = process.wait(timeout=IMAGE_TIMEOUT)
    finally:
        proc.stop(process)
    if status != 0:
        raise ExecError(f"the image of the guest cannot be built: {program} ended with status {status}, see its messages")


def make_cluster(plan: Plan, say: Say) -> None:
    """Initialise the cluster and add all nodes. What fails names the node and where its logs are."""
    if plan.hypervisor == "kvm":
        say("preparing the guest image")
        prepare_image()
    first = plan.nodes[0]
    say(f"initialising {plan.cluster_name} on {first.name}")
    _run(plan, build_init(plan))
    for node in plan.nodes[1:]:
        say(f"adding {node.name}")
        _run(plan, build_add(node))


def _run(plan: Plan, argv: list[str]) -> None:
    first = plan.nodes[0]
    try:
        machine.run(plan, first, argv, timeout=INIT_TIMEOUT)
    except CommandError as err:
        raise ExecError(
            f"{err.message}\nThe machines stay up for a look: logs are in {first.paths.log} and its neighbours, "
            f"'devcluster exec {first.short} bash' goes there, 'devcluster down' removes everything"
        ) from None


# --- what an operating system does when it starts


def start_daemons(plan: Plan, node: Node) -> None:
    """Start the daemons of a node that belongs to a cluster, as its service manager would; others have none."""
    if not os.path.exists(node.paths.node_certificate):
        return
    from ganeti.base.daemon import EXIT_NOT_MASTER
    from ganeti.bootstrap.daemons import MASTER_DAEMONS, NODE_DAEMONS

    for name in NODE_DAEMONS:
        machine.run(plan, node, [name])
    if (read_optional(node.paths.ssconf("master_node")) or "").strip() == node.name:
        for name in MASTER_DAEMONS:
            machine.run(plan, node, [name], ok=(0, EXIT_NOT_MASTER))


# --- looking at it


def find_daemons(members: list[machine.Process]) -> dict[str, int]:
    """Daemons among a node's processes, by name without the prefix. Of several of one name the first counts: the others are
    its children."""
    found: dict[str, int] = {}
    for process in sorted(members, key=lambda member: member.pid):
        for word in process.argv[:3]:
            name = os.path.basename(word)
            if name.startswith("ganeti-"):
                found.setdefault(name.removeprefix("ganeti-"), process.pid)
                break
    return found


def find_guests(node: Node, members: list[machine.Process]) -> list[str]:
    """Names of the guests that run on a node."""
    names = set()
    for process in members:
        argv = process.argv
        if argv and os.path.basename(argv[0]).startswith(("qemu-system", "kvm")) and "-name" in argv[:-1]:
            name = argv[argv.index("-name") + 1].split(",")[0]
            names.add(name.removeprefix("guest="))
    try:
        names |= {name for name in os.listdir(node.paths.fake_hypervisor) if not name.startswith(".")}
    except FileNotFoundError:
        pass  # the fake hypervisor was never used here
    return sorted(names)
