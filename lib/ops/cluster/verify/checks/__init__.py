"""The checks of a node group, in the order in which they are reported. Each is a pure generator of problems."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ganeti.ops.cluster.verify.checks import (
    agents,
    certificates,
    disks,
    files,
    hypervisors,
    instances,
    memory,
    network,
    oses,
    policy,
    storage,
)
from ganeti.ops.cluster.verify.facts import GroupFacts
from ganeti.ops.cluster.verify.report import Problem

Check = Callable[[GroupFacts], Iterator[Problem]]

CHECKS: tuple[tuple[str, Check], ...] = (
    ("Verifying agents, versions and clocks", agents.check),
    ("Verifying certificates", certificates.check),
    ("Verifying the cluster's files", files.check),
    ("Verifying the network", network.check),
    ("Verifying hypervisors", hypervisors.check),
    ("Verifying storage", storage.check),
    ("Verifying operating systems", oses.check),
    ("Verifying instances", instances.check),
    ("Verifying disks", disks.check),
    ("Verifying the instance policy", policy.check),
    ("Verifying that each node can take over its instances (N+1 memory)", memory.check),
)
