from __future__ import annotations

import os
from pathlib import Path

from ganeti.base.paths import Paths
from ganeti.model.enums import NicMode
from ganeti.node.net.door import Port
from ganeti.node.net.script import build_environment, find_script
from support.filled import filled_nic


def test_script_is_found_by_the_mode_of_the_nic(tmp_path: Path) -> None:
    paths = Paths(str(tmp_path))
    os.makedirs(paths.conf)
    for name in ("kvm-vif-bridge", "vif-custom"):
        Path(paths.conf, name).touch()
    assert find_script(paths, NicMode.BRIDGED) is None
    for name in ("kvm-vif-bridge", "vif-custom"):
        Path(paths.conf, name).chmod(0o755)
    assert find_script(paths, NicMode.BRIDGED) == f"{paths.conf}/kvm-vif-bridge"
    assert find_script(paths, NicMode.EXT) == f"{paths.conf}/vif-custom"


def test_environment_tells_of_the_nic() -> None:
    network: dict[str, object] = {"network_name": "net", "network_subnet": "192.0.2.0/24", "network_tags": ("a", "b")}
    nic = filled_nic(ip="192.0.2.3", vlan=".5", name="lan", **network)
    assert build_environment(Port("web", 1, nic, "gnt0", ("red", "blue")), "up") == {
        "ACTION": "up",
        "INSTANCE": "web",
        "MAC": "aa:00:00:00:00:01",
        "MODE": "bridged",
        "LINK": "br0",
        "BRIDGE": "br0",
        "INTERFACE": "gnt0",
        "INTERFACE_INDEX": "1",
        "INTERFACE_UUID": "c0000000-0000-4000-8000-000000000000",
        "INTERFACE_NAME": "lan",
        "TAGS": "red blue",
        "IP": "192.0.2.3",
        "VLAN": ".5",
        "NETWORK_NAME": "net",
        "NETWORK_SUBNET": "192.0.2.0/24",
        "NETWORK_TAGS": "a b",
    }


def test_what_a_nic_does_not_have_is_not_told() -> None:
    environment = build_environment(Port("web", 0, filled_nic(mode=NicMode.ROUTED, link="100"), "gnt0"), "down")
    assert environment.keys() & {"IP", "BRIDGE", "VLAN", "INTERFACE_NAME", "NETWORK_NAME"} == set()
    assert environment["ACTION"] == "down"
