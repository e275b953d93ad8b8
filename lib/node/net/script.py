"""The user's own scripts for connecting NICs, and what they are told."""

from __future__ import annotations

import os

from ganeti.base.paths import Paths
from ganeti.model.enums import NicMode
from ganeti.node.net.door import Port

TIMEOUT = 60.0
"""Seconds a script may take."""

_NETWORK = {
    "NETWORK_NAME": "network_name",
    "NETWORK_UUID": "network_uuid",
    "NETWORK_SUBNET": "network_subnet",
    "NETWORK_GATEWAY": "network_gateway",
    "NETWORK_SUBNET6": "network_subnet6",
    "NETWORK_GATEWAY6": "network_gateway6",
    "NETWORK_MAC_PREFIX": "network_mac_prefix",
}


def script_path(paths: Paths, mode: NicMode) -> str:
    """Where the script for NICs of this mode is looked for."""
    return os.path.join(paths.conf, "vif-custom" if mode is NicMode.EXT else "kvm-vif-bridge")


def find_script(paths: Paths, mode: NicMode) -> str | None:
    """The user's script that connects NICs of this mode in our place, if there is one."""
    path = script_path(paths, mode)
    return path if os.access(path, os.X_OK) else None


def build_environment(port: Port, action: str) -> dict[str, str]:
    """What a script is told; `action` is up or down. It is called with the name of the tap as its only argument."""
    nic = port.nic
    environment = {
        "ACTION": action,
        "INSTANCE": port.instance,
        "MAC": nic.mac,
        "MODE": str(nic.mode),
        "LINK": nic.link,
        "INTERFACE": port.tap,
        "INTERFACE_INDEX": str(port.index),
        "INTERFACE_UUID": nic.uuid,
        "TAGS": " ".join(port.tags),
    }
    if nic.mode is NicMode.BRIDGED:
        environment["BRIDGE"] = nic.link
    optional = {"IP": nic.ip, "VLAN": nic.vlan, "INTERFACE_NAME": nic.name, "NETWORK_TAGS": " ".join(nic.network_tags)}
    optional |= {name: getattr(nic, attribute) for name, attribute in _NETWORK.items()}
    return environment | {name: str(value) for name, value in optional.items() if value}
