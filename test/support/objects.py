"""Objects for tests: each builder gives a valid one, any field can be set."""

from __future__ import annotations

import itertools
from typing import Any

from ganeti.model import parameters, params
from ganeti.model.enums import DiskTemplate, HypervisorKind
from ganeti.model.ids import DiskUuid, GroupUuid, InstanceUuid, JobId, NetworkUuid, NodeUuid, new_uuid
from ganeti.model.job import Job, JobOp
from ganeti.model.objects import AnyObject, Cluster, Disk, Group, Instance, Network, Nic, Node

_numbers = itertools.count(1)


def make_cluster(master: str, **fields: Any) -> Cluster:
    values: dict[str, Any] = {
        "uuid": new_uuid(),
        "cluster_name": "cluster.example.com",
        "master_node": master,
        "master_ip": "192.0.2.250",
        "master_netdev": "eth0",
        "master_netmask": 24,
        "enabled_hypervisors": (HypervisorKind.KVM, HypervisorKind.FAKE),
        "enabled_disk_templates": (DiskTemplate.DISKLESS, DiskTemplate.FILE, DiskTemplate.SHAREDFILE),
        "hvparams": {str(kind): params.defaults(table) for kind, table in parameters.HYPERVISOR.items()},
        "beparams": {"default": params.defaults(parameters.BACKEND)},
        "nicparams": {"default": params.defaults(parameters.NIC)},
        "ndparams": params.defaults(parameters.NODE),
        "file_storage_dir": "/srv/ganeti/file-storage",
    }
    return Cluster(**{**values, **fields})


def make_group(**fields: Any) -> Group:
    return Group(**{"uuid": GroupUuid(new_uuid()), "name": f"group{next(_numbers)}", **fields})


def make_node(group: str, **fields: Any) -> Node:
    number = next(_numbers)
    ip = f"192.0.{2 + number // 200}.{number % 200 + 1}"
    name = f"node{number}.example.com"
    values = {"uuid": NodeUuid(new_uuid()), "name": name, "primary_ip": ip, "secondary_ip": ip, "group": group}
    return Node(**{**values, **fields})


def make_nic(**fields: Any) -> Nic:
    number = next(_numbers)
    return Nic(**{"uuid": new_uuid(), "mac": f"aa:00:00:00:{number // 256:02x}:{number % 256:02x}", **fields})


def make_instance(primary: str, **fields: Any) -> Instance:
    values = {
        "uuid": InstanceUuid(new_uuid()),
        "name": f"inst{next(_numbers)}.example.com",
        "primary_node": primary,
        "os": "noop",
        "hypervisor": HypervisorKind.KVM,
    }
    return Instance(**{**values, **fields})


def make_disk(**fields: Any) -> Disk:
    uuid = new_uuid()
    values = {"uuid": DiskUuid(uuid), "dev_type": DiskTemplate.SHAREDFILE, "logical_id": ("loop", f"/srv/{uuid}"), "size": 1024}
    return Disk(**{**values, **fields})


def make_network(**fields: Any) -> Network:
    return Network(**{"uuid": NetworkUuid(new_uuid()), "name": f"net{next(_numbers)}", "network": "198.51.100.0/24", **fields})


def make_job(ident: int, *opcodes: str, **fields: Any) -> Job:
    ops = tuple(JobOp(input={"OP_ID": name}) for name in opcodes or ("OP_TEST_DELAY",))
    return Job(**{"id": JobId(ident), "ops": ops, **fields})


def small_cluster(nodes: int = 1, **fields: Any) -> list[AnyObject]:
    """Objects of a whole cluster: its settings, one group, and nodes, of which the first is the master."""
    group = make_group(name="default")
    members = [make_node(group.uuid, name=f"node{number + 1}", master_candidate=True) for number in range(nodes)]
    return [make_cluster(members[0].uuid, **fields), group, *members]
