"""The instance policy: bounds on what instances may look like. Cluster's policy, with a group's laid over it per key.

Shape: ``minmax`` a list of {"min": spec, "max": spec} of which an instance must fit at least one; ``std`` a spec;
``disk-templates`` a list; ``vcpu-ratio`` and ``spindle-ratio`` numbers (used by allocators). Sizes are MiB.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ganeti.model.config import Config
from ganeti.model.enums import DiskTemplate
from ganeti.model.filled import fill_beparams
from ganeti.model.objects import Disk, Group, Instance, Params

_UNITS = {"memory-size": " MiB", "disk-size": " MiB"}


@dataclass(frozen=True)
class Spec:
    """What of an instance the policy looks at. `memory` is its maximum."""

    memory: int
    vcpus: int
    disks: tuple[int, ...]
    nics: int
    spindle_use: int
    template: DiskTemplate


def spec_of(config: Config, instance: Instance, disks: Sequence[Disk]) -> Spec:
    """The spec of an instance with these disks."""
    beparams = fill_beparams(config.cluster, instance)
    return Spec(
        memory=int(beparams["maxmem"]),
        vcpus=int(beparams["vcpus"]),
        disks=tuple(disk.size for disk in disks),
        nics=len(instance.nics),
        spindle_use=int(beparams["spindle_use"]),
        template=instance.disk_template,
    )


def policy_of(config: Config, group: Group) -> Params:
    """The policy that holds in a group."""
    return {**config.cluster.ipolicy, **group.ipolicy}


def violations(policy: Mapping[str, Any], spec: Spec) -> list[str]:
    """What of the instance the policy does not allow, each naming the bound; empty if it is allowed."""
    found = []
    templates = policy.get("disk-templates")
    if templates is not None and spec.template not in templates:
        found.append(f"disk template {spec.template} is not allowed (allowed: {', '.join(templates)})")
    pairs = [list(_outside(pair, spec)) for pair in policy.get("minmax", ())]
    # Where several ranges are offered, the one that is missed by least tells most.
    return found + min(pairs, key=len, default=[])


def describe(config: Config, group: Group, spec: Spec) -> str:
    """Every bound that an instance would break in this group, in one sentence; empty if it breaks none."""
    found = violations(policy_of(config, group), spec)
    if not found:
        return ""
    return f"it does not fit the instance policy of node group {group.name} ({'; '.join(found)}; see --ignore-ipolicy)"


def _outside(pair: Mapping[str, Mapping[str, int]], spec: Spec) -> Iterator[str]:
    lower, upper = pair["min"], pair["max"]
    for key, label, value in _values(spec):
        if key in lower and value < lower[key]:
            yield f"{label} of {value}{_UNITS.get(key, '')} is below the minimum of {lower[key]}{_UNITS.get(key, '')}"
        if key in upper and value > upper[key]:
            yield f"{label} of {value}{_UNITS.get(key, '')} is above the maximum of {upper[key]}{_UNITS.get(key, '')}"


def _values(spec: Spec) -> Iterator[tuple[str, str, int]]:
    yield "memory-size", "memory-size", spec.memory
    yield "cpu-count", "cpu-count", spec.vcpus
    yield "nic-count", "nic-count", spec.nics
    yield "spindle-use", "spindle-use", spec.spindle_use
    if spec.template is not DiskTemplate.DISKLESS:
        yield "disk-count", "disk-count", len(spec.disks)
    for index, size in enumerate(spec.disks):
        yield "disk-size", f"disk-size (disk/{index})", size
