"""`gnt-instance info` against recorded output."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ganeti.cli.instance_info import describe
from ganeti.cli.output import nested

OUTPUTS = Path(__file__).parents[2] / "compat/data/outputs"
BACKEND = {
    "always_failover": False,
    "auto_balance": True,
    "maxmem": 128,
    "memory": 128,
    "minmem": 64,
    "spindle_use": 1,
    "vcpus": 1,
}


def facts(text: str) -> dict[str, str]:
    """Names and values of the top level of a recorded output."""
    return dict(re.findall(r"^[- ] ([A-Z][^:]*): (.*)$", text, re.MULTILINE))


def result(text: str, **more: Any) -> dict[str, Any]:
    """The opcode's result from which a recorded output must come."""
    known = facts(text)
    mac, nic_uuid = re.search(r"MAC: (\S+)", text)[1], re.search(r"network: None\n +UUID: (\S+)", text)[1]  # type: ignore[index]
    return {
        "name": known["Instance name"],
        "uuid": known["UUID"],
        "serial_no": int(known["Serial number"]),
        "ctime": _seconds(known["Creation time"]),
        "mtime": _seconds(known["Modification time"]),
        "config_state": "up",
        "run_state": "up",
        "pnode": re.search(r"primary: (\S+)", text)[1],  # type: ignore[index]
        "pnode_group_name": "default",
        "pnode_group_uuid": re.search(r"group: default \(UUID (\S+)\)", text)[1],  # type: ignore[index]
        "snodes": [],
        "snodes_group_names": [],
        "snodes_group_uuids": [],
        "os": "noop",
        "os_instance": {},
        "os_actual": {},
        "network_port": None,
        "hypervisor": "fake",
        "hv_instance": {},
        "hv_actual": {},
        "be_instance": {},
        "be_actual": BACKEND,
        "nics": [[None, nic_uuid, None, mac, "bridged", "br0", "", None, None]],
        "disk_template": known["Disk template"],
        "disks": [],
        **more,
    }


def _seconds(text: str) -> float:
    import time

    return time.mktime(time.strptime(text, "%Y-%m-%d %H:%M:%S"))


def recorded(name: str) -> str:
    return (OUTPUTS / name).read_text().split("--- stdout\n", 1)[1]


def disk(size: int, path: str, uuid: str, name: str | None) -> dict[str, Any]:
    status = [path, None, None, None, None, False, 1]
    return {
        "dev_type": "file",
        "size": size,
        "mode": "rw",
        "logical_id": ["loop", path],
        "pstatus": status,
        "sstatus": None,
    } | {
        "name": name,
        "uuid": uuid,
    }


def test_a_diskless_instance_looks_as_recorded() -> None:
    text = recorded("instance_info.txt")
    shown = nested([describe(result(text, be_instance={"maxmem": 128, "minmem": 64}))])
    assert "\n".join(shown) + "\n" == text


def test_an_instance_on_files_looks_as_recorded() -> None:
    text = recorded("instance_info_file.txt")
    found = re.findall(r"logical_id: \['loop', '(\S+)'\].*?name: (\S+)\n +UUID: (\S+)", text, re.DOTALL)
    disks = [
        disk(size, path, uuid, None if name == "None" else name)
        for size, (path, name, uuid) in zip((16, 4), found, strict=True)
    ]
    assert "\n".join(nested([describe(result(text, disks=disks))])) + "\n" == text


@pytest.mark.parametrize(
    ("state", "line"), [(None, "configured to be up"), ("down", "configured to be up, actual state is down")]
)
def test_an_unknown_state_is_left_out(state: str | None, line: str) -> None:
    pairs = dict(describe(result(recorded("instance_info.txt"), run_state=state)))
    assert pairs["State"] == line
