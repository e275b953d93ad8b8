"""Node calls about disks."""

from __future__ import annotations

from ganeti.base.errors import PrereqError, StorageError
from ganeti.model.enums import DiskTemplate
from ganeti.model.filled import FilledDisk
from ganeti.node import facts
from ganeti.node.dispatch import handling
from ganeti.node.imagefile import ImageDevice, ImageFiles, overwrite
from ganeti.node.services import Services
from ganeti.rpc.node.blockdev import BlockdevApi
from ganeti.rpc.node.replies import StorageInfo


class BlockdevCalls(BlockdevApi):
    """See `BlockdevApi`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @handling(order="disk")
    def blockdev_create(self, disk: FilledDisk, instance_name: str) -> None:
        self._services.storage.device(disk.dev_type).create(disk)

    @handling(order="disk")
    def blockdev_remove(self, disk: FilledDisk) -> None:
        self._services.storage.device(disk.dev_type).remove(disk)

    @handling(order="disk")
    def blockdev_assemble(self, disk: FilledDisk, instance_name: str, as_primary: bool, index: int) -> str:
        path = self._services.storage.device(disk.dev_type).assemble(disk, as_primary=as_primary)
        return self._services.links.make(instance_name, index, path) if as_primary else path

    @handling(order="disk")
    def blockdev_shutdown(self, disk: FilledDisk, instance_name: str, index: int) -> None:
        self._services.storage.device(disk.dev_type).shutdown(disk)
        self._services.links.remove(instance_name, index)

    def blockdev_find(self, disks: list[FilledDisk]) -> list[str | None]:
        return [self._services.storage.device(disk.dev_type).find(disk) for disk in disks]

    @handling(order="disk")
    def blockdev_wipe(self, disk: FilledDisk, offset: int, size: int) -> None:
        path = self._services.storage.device(disk.dev_type).find(disk)
        if path is None:
            raise StorageError(f"cannot wipe disk {disk.iv_name or disk.uuid}: it is not on node {self._services.paths.hostname}")
        overwrite(path, offset, size)

    @handling(order="disk")
    def blockdev_grow(self, disk: FilledDisk, amount: int, dry_run: bool) -> None:
        self._services.storage.device(disk.dev_type).grow(disk, amount, dry_run=dry_run)

    def storage_space(self, units: list[tuple[str, str]]) -> list[StorageInfo]:
        return facts.storage_space(self._services, units)

    @handling(order="directory")
    def file_storage_prepare(self, directory: str) -> None:
        self._files(directory).prepare(directory)

    @handling(order="directory")
    def file_storage_cleanup(self, directory: str) -> None:
        self._files(directory).cleanup(directory)

    def _files(self, directory: str) -> ImageFiles:
        """The storage (private or shared) that this directory lies in."""
        refusals = []
        for template in (DiskTemplate.FILE, DiskTemplate.SHAREDFILE):
            device = self._services.storage.device(template)
            assert isinstance(device, ImageDevice)
            try:
                device.files.locate(directory)
            except StorageError as err:
                refusals.append(err.message)
            else:
                return device.files
        raise PrereqError(refusals[0] if len(set(refusals)) == 1 else "; ".join(refusals))
