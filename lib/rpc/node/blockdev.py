"""Node calls about disks."""

from __future__ import annotations

from ganeti.model.filled import FilledDisk, FilledInstance
from ganeti.rpc.call import FAST, HOURS_4, NORMAL, URGENT, rpc
from ganeti.rpc.node.replies import StorageInfo


class BlockdevApi:
    """Making, assembling and removing devices."""

    @rpc(timeout=NORMAL)
    def blockdev_create(self, disk: FilledDisk, instance_name: str) -> None:
        """Make the device; it must not exist."""
        raise NotImplementedError

    @rpc(timeout=NORMAL)
    def blockdev_remove(self, disk: FilledDisk) -> None:
        """Remove the device and its data; absent already is success."""
        raise NotImplementedError

    @rpc(timeout=NORMAL)
    def blockdev_assemble(self, disk: FilledDisk, instance_name: str, as_primary: bool, index: int) -> str:
        """Make the device usable; returns the path under which a guest finds it. Repeating it is harmless."""
        raise NotImplementedError

    @rpc(timeout=NORMAL)
    def blockdev_shutdown(self, disk: FilledDisk, instance_name: str, index: int) -> None:
        """Undo `blockdev_assemble`; data stay. Not assembled is success."""
        raise NotImplementedError

    @rpc(timeout=URGENT)
    def blockdev_find(self, disks: list[FilledDisk]) -> list[str | None]:
        """Path of each device that exists here, None for each that does not."""
        raise NotImplementedError

    @rpc(timeout=HOURS_4)
    def blockdev_wipe(self, disk: FilledDisk, offset: int, size: int) -> None:
        """Overwrite `size` MiB from `offset` with zeros."""
        raise NotImplementedError

    @rpc(timeout=NORMAL)
    def blockdev_grow(self, disk: FilledDisk, amount: int, dry_run: bool) -> None:
        """Grow the device by `amount` MiB (with `dry_run`: only check that it could)."""
        raise NotImplementedError

    @rpc(timeout=URGENT)
    def storage_space(self, units: list[tuple[str, str]]) -> list[StorageInfo]:
        """Space of storage units, each [kind, name]."""
        raise NotImplementedError

    @rpc(timeout=FAST)
    def file_storage_prepare(self, directory: str) -> None:
        """Make the directory that holds an instance's files; it must lie below an allowed path."""
        raise NotImplementedError

    @rpc(timeout=FAST)
    def file_storage_cleanup(self, directory: str) -> None:
        """Remove an instance's directory if it is empty."""
        raise NotImplementedError


class OsApi:
    """OS definitions and their scripts."""

    @rpc(timeout=HOURS_4)
    def os_create(self, instance: FilledInstance, reinstall: bool, secret: dict[str, str]) -> None:
        """Run the OS's create script with the disks assembled here; an error carries the end of its output."""
        raise NotImplementedError

    @rpc(timeout=HOURS_4)
    def os_rename(self, instance: FilledInstance, old_name: str) -> None:
        raise NotImplementedError

    @rpc(timeout=FAST)
    def os_validate(self, name: str, osparams: dict[str, str], force_variant: bool) -> str:
        """Empty if the OS is there, its variant is known and it accepts the parameters; else what is wrong."""
        raise NotImplementedError
