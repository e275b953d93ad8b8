"""Disks as files on a file system that all nodes share. That it may not be mounted is what this template has to expect."""

from __future__ import annotations

import os

from ganeti.base.errors import StorageError
from ganeti.model.enums import DiskTemplate
from ganeti.model.filled import FilledDisk
from ganeti.node.imagefile import ImageDevice, describe


class SharedFileDevice(ImageDevice):
    """Sparse files below the cluster's shared file storage directory."""

    template = DiskTemplate.SHAREDFILE
    kind = "sharedfile"
    key = "shared_file_storage_dir"

    def remove(self, disk: FilledDisk) -> None:
        # Absent because nothing is mounted is not absent.
        self.files.require_base(self.files.locate_disk(disk)[1])
        super().remove(disk)

    def find(self, disk: FilledDisk) -> str | None:
        """None: the file is missing. Raises `StorageError` if it cannot be told, since nothing seems to be mounted."""
        found = super().find(disk)
        if found is not None:
            return found
        _, base = self.files.locate_disk(disk)
        self.files.require_base(base)
        if not os.listdir(base):
            raise StorageError(
                f"shared directory {base} is empty on node {self._paths.hostname}, so its file system is probably not mounted; "
                f"disk {describe(disk)} should be in it"
            )
        return None

    def why_missing(self) -> str:
        return "the file was removed from the shared directory, or another file system is mounted here than on the other nodes"
