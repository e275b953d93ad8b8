"""What the implementations of node calls share. Built once by the agent (or by a test)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ganeti.base.paths import Paths
from ganeti.node.environment import HypervisorEnvironment
from ganeti.node.epoch import EpochGuard
from ganeti.node.hypervisor import Hypervisors
from ganeti.node.links import DiskLinks
from ganeti.node.osdef.run import OsScripts
from ganeti.node.scripts import Scripts
from ganeti.node.ssconf import Ssconf
from ganeti.node.storage import Storage
from ganeti.store.replica import Replica


@dataclass(frozen=True)
class Services:
    """The parts of one node's agent."""

    paths: Paths
    port: int
    """On which this agent listens, and so all others."""
    ssconf: Ssconf
    epochs: EpochGuard
    storage: Storage
    links: DiskLinks
    scripts: Scripts
    oses: OsScripts
    hypervisors: Hypervisors
    replica: Replica
    doors: HypervisorEnvironment
    stop: Callable[[], None]
    """Ends the agent once the calls that run are answered; may be called from any thread."""


def build_services(doors: HypervisorEnvironment, port: int, stop: Callable[[], None]) -> Services:
    """The usual parts for a node."""
    paths, scripts = doors.paths, Scripts()
    return Services(
        paths=paths,
        port=port,
        ssconf=Ssconf(paths),
        epochs=EpochGuard(paths),
        storage=Storage(paths),
        links=DiskLinks(paths),
        scripts=scripts,
        oses=OsScripts(paths, scripts),
        hypervisors=Hypervisors(doors),
        replica=Replica(paths.store),
        doors=doors,
        stop=stop,
    )
