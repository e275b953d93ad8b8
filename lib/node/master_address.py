"""The cluster's address on this node: put there, announced, taken away."""

from __future__ import annotations

import os

from ganeti.base import net
from ganeti.base.errors import ExecError
from ganeti.base.paths import Paths
from ganeti.node.scripts import Scripts
from ganeti.rpc.node.node import MasterAddress

SCRIPT_TIMEOUT = 50.0
ANNOUNCEMENTS = 3
_VERSIONS = {2: "4", 10: "6"}


def start(paths: Paths, scripts: Scripts, address: MasterAddress) -> None:
    """Put the address on its device and announce it; present already is success. Raises `ExecError`."""
    if address.external_script:
        _run_script(paths, scripts, address, "start")
        return
    net.add_address(address.netdev, address.ip, address.prefix)
    if address.netdev != "lo":
        net.announce_address(address.netdev, address.ip, ANNOUNCEMENTS)


def stop(paths: Paths, scripts: Scripts, address: MasterAddress) -> None:
    """Take the address away; absent already is success."""
    if address.external_script:
        _run_script(paths, scripts, address, "stop")
        return
    # Wherever it is: the device in the settings may have been changed since.
    for found in net.own_addresses():
        if found.ip == address.ip:
            net.remove_address(found.device, found.ip, found.prefix)


def find_script(paths: Paths) -> str:
    """The operator's set-up script. Raises `ExecError` if there is none."""
    places = [os.path.join(paths.conf, "scripts", "master-ip-setup"), os.path.join(paths.conf, "master-ip-setup")]
    for place in places:
        if os.access(place, os.X_OK):
            return place
    raise ExecError(
        f"the cluster sets its address up by an external script, but {places[0]} is not there or not executable; "
        "install it, or turn that off with 'gnt-cluster modify --use-external-mip-script=no'"
    )


def _run_script(paths: Paths, scripts: Scripts, address: MasterAddress, action: str) -> None:
    script = find_script(paths)
    environment = {
        **paths.environment(),
        "PATH": "/sbin:/bin:/usr/sbin:/usr/bin",
        "MASTER_NETDEV": address.netdev,
        "MASTER_IP": address.ip,
        "MASTER_NETMASK": str(address.prefix),
        "CLUSTER_IP_VERSION": _VERSIONS.get(address.family, "4"),
    }
    result = scripts.run([script, action], env=environment, timeout=SCRIPT_TIMEOUT, cwd="/")
    if not result.ok:
        raise ExecError(f"{script} {action} failed ({result.describe(SCRIPT_TIMEOUT)}): {result.tail() or 'no output'}")
