"""The environment of hooks, compared with files. `UPDATE_GOLDEN=1` writes them anew; then look at the difference."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from ganeti.job.hooks import CONFIG_UPDATE, add_post, build_environment
from ganeti.model.config import Config
from ganeti.model.enums import AdminState
from ganeti.model.ids import DiskUuid, GroupUuid, InstanceUuid, NodeUuid
from ganeti.model.memory import MemoryRows
from ganeti.ops.base import HookRun, Hooks
from ganeti.ops.steps.hooks import instance_environment
from support.objects import make_cluster, make_disk, make_group, make_instance, make_nic, make_node

FOLDER = Path(__file__).parent


def build_config(state: AdminState) -> Config:
    group = make_group(uuid=GroupUuid("group"), name="default")
    nodes = [make_node(group.uuid, uuid=NodeUuid(f"n{number}"), name=f"node{number}.example.com") for number in (1, 2)]
    disk = make_disk(uuid=DiskUuid("d0"), logical_id=("loop", "/srv/ganeti/shared-file-storage/web/d0"), size=512, name="root")
    nic = make_nic(uuid="nic0", mac="aa:00:00:00:00:01", ip="192.0.2.80", name="eth0")
    instance = make_instance(
        nodes[0].uuid,
        uuid=InstanceUuid("i0"),
        name="web.example.com",
        secondary_nodes=(nodes[1].uuid,),
        disks=(disk.uuid,),
        nics=(nic,),
        admin_state=state,
        tags=("blue", "red"),
    )
    return Config(MemoryRows([make_cluster(nodes[0].uuid), group, *nodes, disk, instance]))


def run_of(state: AdminState) -> HookRun:
    config = build_config(state)
    instance = config.find_instance("web")
    return HookRun(instance.name, instance_environment(config, instance, config.disks_of(instance), FORCE=False))


def environment(op_id: str, hooks: Hooks, phase: str, run: HookRun) -> dict[str, str]:
    return build_environment(
        op_id, hooks, phase, run, cluster="cluster.example.com", master="node1.example.com", data_directory="/var/lib/ganeti"
    )


START = Hooks("instance-start", "INSTANCE")
GROUP = HookRun("", {"GROUP_NAME": "rack1"})

CASES = {
    "instance-start-pre": environment("OP_INSTANCE_STARTUP", START, "pre", run_of(AdminState.DOWN)),
    "instance-start-post": add_post(
        environment("OP_INSTANCE_STARTUP", START, "post", run_of(AdminState.DOWN)), run_of(AdminState.UP)
    ),
    "group-add-pre": environment("OP_GROUP_ADD", Hooks("group-add", "GROUP"), "pre", GROUP),
    "config-update-post": environment("OP_GROUP_ADD", Hooks(CONFIG_UPDATE, "GROUP"), "post", GROUP),
    "config-update-of-an-opcode-without-hooks": environment("OP_TAGS_SET", Hooks(CONFIG_UPDATE, ""), "post", HookRun("", {})),
}


def render(values: Mapping[str, str]) -> str:
    return "".join(f"{name}={value}\n" for name, value in sorted(values.items()))


@pytest.mark.parametrize("case", CASES)
def test_environment_is_as_recorded(case: str) -> None:
    file = FOLDER / f"{case}.env"
    text = render(CASES[case])
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(text)
    assert text == file.read_text()


def test_every_recorded_file_is_used() -> None:
    assert {file.stem for file in FOLDER.glob("*.env")} == set(CASES)
