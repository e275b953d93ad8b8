"""Instances without disks: whoever asks for one of their disks is wrong."""

from __future__ import annotations

from ganeti.base.errors import StorageError
from ganeti.base.paths import Paths
from ganeti.model.enums import DiskTemplate
from ganeti.model.filled import FilledDisk
from ganeti.rpc.node.replies import StorageInfo


class DisklessDevice:
    """There is nothing to make, and nothing to find."""

    template = DiskTemplate.DISKLESS
    kind = "diskless"

    def __init__(self, paths: Paths) -> None:
        self._paths = paths

    def create(self, disk: FilledDisk) -> None:
        raise self._refusal(disk)

    def remove(self, disk: FilledDisk) -> None:
        """Absent is success."""

    def find(self, disk: FilledDisk) -> str | None:
        return None

    def assemble(self, disk: FilledDisk, *, as_primary: bool) -> str:
        raise self._refusal(disk)

    def shutdown(self, disk: FilledDisk) -> None:
        """Never assembled is success."""

    def grow(self, disk: FilledDisk, amount: int, *, dry_run: bool) -> None:
        raise self._refusal(disk)

    def space(self, name: str) -> StorageInfo:
        """Unlimited, so no numbers."""
        return StorageInfo(self.kind, name, None, None)

    def _refusal(self, disk: FilledDisk) -> StorageError:
        return StorageError(f"disk {disk.iv_name or disk.uuid}: an instance of template diskless has no disks")
