"""Hooks get the variables of the public contract (test/compat/data/hooks.json)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ganeti.model.enums import RebootType
from ganeti.ops.base import Op
from ganeti.ops.cluster.verify.group import ClusterVerifyGroup
from ganeti.ops.instance.failover import InstanceFailover
from ganeti.ops.instance.migrate import InstanceMigrate
from ganeti.ops.instance.reboot import InstanceReboot
from ganeti.ops.instance.remove import InstanceRemove
from ganeti.ops.instance.shutdown import InstanceShutdown
from ganeti.ops.instance.startup import InstanceStartup
from ganeti.ops.node.remove import NodeRemove
from ganeti.ops.node.set_params import NodeSetParams
from support.fakecluster import FakeCluster
from support.instances import created, creating

DATA = Path(__file__).resolve().parents[2] / "compat" / "data"
HOOKS: dict[str, Any] = json.loads((DATA / "hooks.json").read_text())

NOT_YET = {"SRC_IMAGES", "SRC_NODE", "SRC_PATH"}
"""Variables of imports."""
OPTIONAL = ("NETWORK", "DATA_", "META_", "PMINOR", "PNODE", "PORT", "PROVIDER", "SMINOR", "SNODE", "DISK%d_VG")
"""Parts of names of variables that only instances with networks or other disk templates have."""


def instance_op(kind: str) -> Op[Any, Any]:
    name = {"instance_name": "web"}
    return {
        "OP_INSTANCE_REMOVE": InstanceRemove(**name),
        "OP_INSTANCE_STARTUP": InstanceStartup(**name),
        "OP_INSTANCE_SHUTDOWN": InstanceShutdown(**name),
        "OP_INSTANCE_REBOOT": InstanceReboot(reboot_type=RebootType.SOFT, **name),
        "OP_INSTANCE_MIGRATE": InstanceMigrate(target_node="node3", **name),
        "OP_INSTANCE_FAILOVER": InstanceFailover(target_node="node3", **name),
        "OP_INSTANCE_CREATE": creating(pnode="node2"),
    }[kind]


def variables(cluster: FakeCluster, op: Op[Any, Any]) -> dict[str, str]:
    """What the hooks of any node were told, of both phases."""
    for node in cluster.nodes.values():
        node.hooks_run.clear()
    nodes = list(cluster.nodes.values())
    cluster.run(op)
    found: dict[str, str] = {}
    for node in nodes:
        for _, _, environment in node.hooks_run:
            found.update(environment)
    return found


@pytest.mark.parametrize(
    "op_id",
    [
        "OP_INSTANCE_CREATE",
        "OP_INSTANCE_REMOVE",
        "OP_INSTANCE_STARTUP",
        "OP_INSTANCE_SHUTDOWN",
        "OP_INSTANCE_REBOOT",
        "OP_INSTANCE_MIGRATE",
        "OP_INSTANCE_FAILOVER",
    ],
)
def test_hooks_of_instances_get_their_variables(op_id: str) -> None:
    cluster = FakeCluster()
    if op_id != "OP_INSTANCE_CREATE":
        created(cluster, pnode="node2")
    found = variables(cluster, instance_op(op_id))
    names = {*HOOKS["opcodes"][op_id]["env"], *HOOKS["instance_env"]} - NOT_YET
    wanted = {name.replace("%d", "0").replace("%s", "maxmem") for name in names if not any(part in name for part in OPTIONAL)}
    wanted.discard("INSTANCE_HV_maxmem")
    assert {name for name in wanted if f"GANETI_{name}" not in found} == set()
    assert "GANETI_INSTANCE_HV_migration_mode" in found


@pytest.mark.parametrize(
    "op",
    [NodeRemove(node_name="node3"), NodeSetParams(node_name="node3", drained=True), ClusterVerifyGroup(group_name="default")],
    ids=lambda op: op.OP_ID,
)
def test_hooks_of_nodes_and_the_cluster_get_their_variables(op: Op[Any, Any]) -> None:
    found = variables(FakeCluster(), op)
    wanted = {name.replace("<node name>", "node3.example.com") for name in HOOKS["opcodes"][op.OP_ID]["env"]}
    assert {name for name in wanted if f"GANETI_{name}" not in found} == set()
