from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from ganeti.base.errors import StorageError
from ganeti.base.paths import Paths
from ganeti.model.enums import DiskTemplate
from ganeti.node.imagefile import MIB
from ganeti.node.ssconf import Ssconf
from ganeti.node.storage.file import FileDevice
from support.filled import filled_disk

BASE = "/srv/ganeti/file-storage"
DISK = filled_disk(f"{BASE}/i0/a.file.disk0", size=3)


@pytest.fixture
def device(tmp_path: Path) -> FileDevice:
    paths = Paths(str(tmp_path), "node2")
    Ssconf(paths).write({"file_storage_dir": BASE})
    os.makedirs(paths.below(BASE))
    device = FileDevice(paths)
    device.files.prepare(f"{BASE}/i0")
    return device


def test_life_of_a_disk(device: FileDevice, tmp_path: Path) -> None:
    path = f"{tmp_path}{BASE}/i0/a.file.disk0"
    assert device.find(DISK) is None
    device.create(DISK)
    assert device.find(DISK) == path
    assert device.assemble(DISK, as_primary=True) == device.assemble(DISK, as_primary=False) == path
    device.grow(DISK, 2, dry_run=True)
    device.grow(DISK, 2, dry_run=False)
    assert os.path.getsize(path) == 5 * MIB
    device.shutdown(DISK)
    assert device.find(DISK) == path
    device.remove(DISK)
    device.remove(DISK)
    assert device.find(DISK) is None


def test_disk_is_never_made_over_another(device: FileDevice) -> None:
    device.create(DISK)
    with pytest.raises(StorageError, match="exists already"):
        device.create(DISK)


def test_missing_disk_cannot_be_used(device: FileDevice) -> None:
    for use in (lambda: device.assemble(DISK, as_primary=True), lambda: device.grow(DISK, 1, dry_run=True)):
        with pytest.raises(StorageError, match="is not on node node2: the file does not exist"):
            use()


def test_disk_outside_the_allowed_directories_is_refused(device: FileDevice) -> None:
    disk = replace(DISK, logical_id=("loop", "/etc/passwd"))
    for use in (device.create, device.remove, device.find):
        with pytest.raises(StorageError, match="not inside a directory for instance files"):
            use(disk)


def test_space_is_that_of_the_directory(device: FileDevice) -> None:
    assert device.template is DiskTemplate.FILE
    assert (device.space(BASE).total or 0) > 0
    assert device.space("/no/such").total is None
