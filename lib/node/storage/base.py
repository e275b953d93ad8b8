"""What the node agent asks of a kind of storage. Implementations block and raise `StorageError`."""

from __future__ import annotations

from typing import Protocol

from ganeti.model.enums import DiskTemplate
from ganeti.model.filled import FilledDisk
from ganeti.rpc.node.replies import StorageInfo


class Device(Protocol):
    """Devices of one disk template on this node."""

    template: DiskTemplate

    def create(self, disk: FilledDisk) -> None:
        """Make the device; it must not exist. Leaves nothing on failure."""
        ...

    def remove(self, disk: FilledDisk) -> None:
        """Remove it and its data; absent is success."""
        ...

    def find(self, disk: FilledDisk) -> str | None:
        """Its path if it exists here."""
        ...

    def assemble(self, disk: FilledDisk, *, as_primary: bool) -> str:
        """Make it usable; returns its path. May be repeated."""
        ...

    def shutdown(self, disk: FilledDisk) -> None: ...

    def grow(self, disk: FilledDisk, amount: int, *, dry_run: bool) -> None:
        """Grow by `amount` MiB."""
        ...


class Space(Protocol):
    """A kind of storage unit whose space can be asked."""

    kind: str

    def space(self, name: str) -> StorageInfo: ...
