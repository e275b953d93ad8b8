"""Instances for tests: short ways to make them."""

from __future__ import annotations

from typing import Any

from ganeti.model.enums import DiskTemplate
from ganeti.ops.instance.create import InstanceCreate
from support.fakecluster import FakeCluster


def creating(name: str = "web", **values: Any) -> InstanceCreate:
    """An opcode that creates a small instance with one shared disk on node1, unless told otherwise."""
    defaults: dict[str, Any] = {
        "instance_name": name,
        "mode": "create",
        "disk_template": DiskTemplate.SHAREDFILE,
        "disks": [{"size": 512}],
        "nics": [{}],
        "os_type": "noop",
        "pnode": "node1",
    }
    if values.get("disk_template") is DiskTemplate.DISKLESS:
        defaults["disks"] = []
    return InstanceCreate(**{**defaults, **values})


def created(cluster: FakeCluster, name: str = "web", **values: Any) -> Any:
    """Create an instance; returns it as stored."""
    cluster.run(creating(name, **values))
    return cluster.instance(name)
