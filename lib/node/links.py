"""Links through which hypervisors find disks: ``{run}/instance-disks/<instance>:<index>``.

A guest is started, and migrated, by these names, which are the same on every node whatever the device behind them.
"""

from __future__ import annotations

import os
import re

from ganeti.base.errors import HypervisorError
from ganeti.base.files import ensure_directory, remove_quietly
from ganeti.base.paths import Paths
from ganeti.model.filled import FilledInstance

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class DiskLinks:
    """The links of one node."""

    def __init__(self, paths: Paths) -> None:
        self._directory = os.path.join(paths.run, "instance-disks")

    def path(self, instance: str, index: int) -> str:
        """Name of the link for an instance's disk."""
        return os.path.join(self._directory, f"{check_instance_name(instance)}:{index}")

    def make(self, instance: str, index: int, device: str) -> str:
        """Point the link at a device, replacing an older one in one step; returns the link."""
        link = self.path(instance, index)
        if os.path.islink(link) and os.readlink(link) == device:
            return link
        ensure_directory(self._directory)
        fresh = f"{link}.new"
        remove_quietly(fresh)
        os.symlink(device, fresh)
        os.replace(fresh, link)
        return link

    def remove(self, instance: str, index: int) -> None:
        """Gone already is success."""
        remove_quietly(self.path(instance, index))

    def of(self, instance: FilledInstance) -> list[str]:
        """The links of all its disks, in order. Raises `HypervisorError` if one is not assembled."""
        links = [self.path(instance.name, index) for index in range(len(instance.disks))]
        missing = [f"disk/{index}" for index, link in enumerate(links) if not os.path.exists(link)]
        if missing:
            raise HypervisorError(
                f"{', '.join(missing)} of instance {instance.name} is not assembled on this node; activate its disks first"
            )
        return links


def check_instance_name(name: str) -> str:
    """The name, if it can stand in a file name. Raises `HypervisorError`."""
    if not _NAME.fullmatch(name) or len(name) > 255:
        raise HypervisorError(f"'{name}' is not the name of an instance")
    return name
