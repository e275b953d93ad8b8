from __future__ import annotations

import pytest

from ganeti.base.errors import StorageError
from ganeti.base.paths import Paths
from ganeti.model.enums import DiskTemplate
from ganeti.node.storage.diskless import DisklessDevice
from support.filled import filled_disk

DISK = filled_disk(dev_type=DiskTemplate.DISKLESS, logical_id=())


def test_there_is_nothing_to_make_and_nothing_to_find() -> None:
    device = DisklessDevice(Paths())
    assert device.find(DISK) is None
    device.remove(DISK)
    device.shutdown(DISK)
    for use in (
        lambda: device.create(DISK),
        lambda: device.assemble(DISK, as_primary=True),
        lambda: device.grow(DISK, 1, dry_run=True),
    ):
        with pytest.raises(StorageError, match="has no disks"):
            use()
    assert device.space("x").total is None
