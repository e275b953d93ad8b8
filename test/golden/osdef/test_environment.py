"""The environment of OS scripts, compared with files. `UPDATE_GOLDEN=1` writes them anew; then look at the difference."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from ganeti.model.enums import DiskMode, DiskTemplate, HypervisorKind, NicMode
from ganeti.node.osdef.definition import Definition
from ganeti.node.osdef.environment import build_core, build_instance
from support.filled import filled_disk, filled_instance, filled_nic

FOLDER = Path(__file__).parent
TINY = Definition("tiny", "/srv/ganeti/os/tiny", api_versions=(20,), variants=("small",))
OLD = Definition("old", "/srv/ganeti/os/old", api_versions=(10,))

FULL = filled_instance(
    "web.example.com",
    os="tiny+small",
    hypervisor=HypervisorKind.KVM,
    secondary_nodes=("node2.example.com", "node3.example.com"),
    ctime=1700000000.25,
    mtime=1700000001.5,
    disks=(
        filled_disk(),
        filled_disk(
            uuid="d1",
            dev_type=DiskTemplate.PLAIN,
            logical_id=("xenvg", "d1"),
            mode=DiskMode.READ_ONLY,
            name="data",
            size=2048,
        ),
    ),
    nics=(
        filled_nic(
            ip="192.0.2.10",
            network_name="lan",
            network_uuid="n0",
            network_subnet="192.0.2.0/24",
            network_gateway="192.0.2.1",
            network_tags=("red", "blue"),
            name="eth0",
        ),
        filled_nic(uuid="c1", mode=NicMode.ROUTED, link="100", ip="2001:db8::10", network_subnet6="2001:db8::/64", vlan=".5"),
    ),
)

CASES = {
    "full": {
        **build_core(TINY, "small", {"mirror": "local", "root-password": "hunter22"}),
        **build_instance(FULL, ["/run/a", "/dev/b"]),
    },
    "minimal": {**build_core(TINY, "", {}), **build_instance(filled_instance("i0", os="tiny"), [])},
    "verify": build_core(TINY, "small", {"a-b": "1"}, debug=2),
    "old_interface": build_core(OLD, "ignored", {}),
}


def render(environment: Mapping[str, str]) -> str:
    return "".join(f"{name}={value}\n" for name, value in sorted(environment.items()))


@pytest.mark.parametrize("case", CASES)
def test_environment_is_as_recorded(case: str) -> None:
    file = FOLDER / f"{case}.env"
    text = render(CASES[case])
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(text)
    assert text == file.read_text()


def test_every_recorded_file_is_used() -> None:
    assert {file.stem for file in FOLDER.glob("*.env")} == set(CASES)
