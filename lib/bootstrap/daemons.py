"""Which daemons run on a node, and starting and stopping them all."""

from __future__ import annotations

from ganeti.base import daemon
from ganeti.base.paths import Paths
from ganeti.node import programs

NODE_DAEMONS = ("ganeti-noded",)
"""Daemons of every node, in the order in which they are started."""
MASTER_DAEMONS = ("ganeti-masterd",)
"""Daemons of the master alone, started after those of every node."""
STOP_TIMEOUT = 20.0


def start_all(paths: Paths) -> None:
    """Start every daemon of a master; returns when all are ready."""
    for name in (*NODE_DAEMONS, *MASTER_DAEMONS):
        programs.start(paths, name)


def stop_all(paths: Paths) -> None:
    """Stop every daemon of this node, in reverse order; those that do not run are left out."""
    for name in reversed((*NODE_DAEMONS, *MASTER_DAEMONS)):
        daemon.stop_daemon(paths.pid_file(name), STOP_TIMEOUT)
