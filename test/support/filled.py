"""Filled objects for tests of the node: each builder gives a valid one, any field can be set."""

from __future__ import annotations

from typing import Any

from ganeti.model import parameters, params
from ganeti.model.enums import DiskTemplate, HypervisorKind, NicMode
from ganeti.model.filled import FilledDisk, FilledInstance, FilledNic


def filled_disk(path: str = "/srv/ganeti/file-storage/i0/a.file.disk0", **fields: Any) -> FilledDisk:
    values: dict[str, Any] = {
        "uuid": "d0000000-0000-4000-8000-000000000000",
        "dev_type": DiskTemplate.FILE,
        "logical_id": ("loop", path),
        "size": 16,
        "iv_name": "disk/0",
    }
    return FilledDisk(**{**values, **fields})


def filled_nic(**fields: Any) -> FilledNic:
    values: dict[str, Any] = {
        "uuid": "c0000000-0000-4000-8000-000000000000",
        "mac": "aa:00:00:00:00:01",
        "mode": NicMode.BRIDGED,
        "link": "br0",
    }
    return FilledNic(**{**values, **fields})


def filled_instance(name: str = "i0", **fields: Any) -> FilledInstance:
    kind = fields.get("hypervisor", HypervisorKind.FAKE)
    values: dict[str, Any] = {
        "uuid": "a0000000-0000-4000-8000-000000000000",
        "name": name,
        "hypervisor": kind,
        "os": "tiny",
        "hvparams": params.defaults(parameters.HYPERVISOR[kind]),
        "beparams": {**params.defaults(parameters.BACKEND), "maxmem": 64, "minmem": 64},
        "primary_node": "node1.example.com",
    }
    return FilledInstance(**{**values, **fields})
