"""The first process of a node: makes the node's mounts, says that it is ready, then only reaps what ends.

It runs inside new mount, UTS, network, IPC and process namespaces. Its arguments are the state directory and the node's name.
When it is killed the kernel ends every process of the node, and with them go mounts and network.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import NoReturn

from ganeti.base import proc
from ganeti.base.files import ensure_directory, read_text, write_atomic
from ganeti.tools.devcluster.plan import Node, Plan, from_json, plan_file

CGROUPS = "/sys/fs/cgroup"


def mount(*words: str) -> None:
    """Run `mount` for its effect."""
    proc.run(["mount", *words])


def bind(source: str, target: str) -> None:
    """Show a file or directory of the node in the place where programs look for it."""
    mount("--bind", source, target)


def make_mounts(plan: Plan, node: Node) -> None:
    """Give the node its own view of what differs between machines."""
    in_root = node.paths.below
    mount("-t", "tmpfs", "-o", "mode=755,size=64m", "tmpfs", "/run")
    for name in ("lock", "sshd"):
        ensure_directory(f"/run/{name}")
    _mount_sys()
    mount("-t", "proc", "proc", "/proc")
    for name in ("/etc/hosts", "/etc/hostname", "/etc/shadow", "/etc/ssh"):
        if os.path.exists(name):
            bind(in_root(name), name)
    if os.path.isdir("/root/.ssh"):
        bind(node.paths.ssh_directory, "/root/.ssh")
    _mount_srv(plan, node)


def _mount_sys() -> None:
    """A view of /sys that shows the network interfaces of this node; control groups stay as they are."""
    ensure_directory("/run/cgroups")
    mount("--rbind", CGROUPS, "/run/cgroups")
    mount("-t", "sysfs", "sysfs", "/sys")
    mount("--rbind", "/run/cgroups", CGROUPS)
    proc.run(["umount", "-l", "/run/cgroups"])
    os.rmdir("/run/cgroups")


def _mount_srv(plan: Plan, node: Node) -> None:
    mount("-t", "tmpfs", "-o", "mode=755,size=64m", "tmpfs", "/srv")
    own = node.paths.below("/srv/ganeti/file-storage")
    for name, source in (("file-storage", own), ("shared-file-storage", plan.shared_storage)):
        ensure_directory(f"/srv/ganeti/{name}", 0o750)
        bind(source, f"/srv/ganeti/{name}")
    # The agent looks for storage below its own root.
    shared = node.paths.below("/srv/ganeti/shared-file-storage")
    ensure_directory(shared, 0o750)
    bind(plan.shared_storage, shared)


def reap_forever() -> NoReturn:
    """Collect the processes that nobody else waits for."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    while True:
        try:
            os.wait()
        except ChildProcessError:
            signal.sigwait({signal.SIGCHLD})


def main() -> None:
    """Become a node."""
    state, name = sys.argv[-2:]
    plan = from_json(read_text(plan_file(state)))
    node = plan.find(name)
    # /proc is still this host's: it tells the numbers by which the host knows this process.
    pid = os.readlink("/proc/self")
    started = read_text("/proc/self/stat").rpartition(")")[2].split()[19]
    socket.sethostname(name)
    make_mounts(plan, node)
    write_atomic(plan.init_file(node), f"{pid} {started}\n", mode=0o644)
    reap_forever()
