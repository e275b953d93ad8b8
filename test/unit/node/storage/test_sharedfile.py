from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from ganeti.base.errors import StorageError
from ganeti.base.paths import Paths
from ganeti.model.enums import DiskTemplate
from ganeti.node.ssconf import Ssconf
from ganeti.node.storage.sharedfile import SharedFileDevice
from support.filled import filled_disk

BASE = "/srv/ganeti/shared-file-storage"
DISK = filled_disk(f"{BASE}/i0/a.file.disk0", dev_type=DiskTemplate.SHAREDFILE)


def make_node(root: Path, shared: Path) -> SharedFileDevice:
    paths = Paths(str(root), root.name)
    Ssconf(paths).write({"shared_file_storage_dir": BASE})
    os.makedirs(os.path.dirname(paths.below(BASE)))
    os.symlink(shared, paths.below(BASE))
    return SharedFileDevice(paths)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    (tmp_path / "shared" / "other").mkdir(parents=True)
    return tmp_path / "shared"


def test_every_node_sees_the_disk(tmp_path: Path, shared: Path) -> None:
    one, two = make_node(tmp_path / "node1", shared), make_node(tmp_path / "node2", shared)
    one.files.prepare(f"{BASE}/i0")
    one.create(DISK)
    assert two.find(DISK) == str(shared / "i0" / "a.file.disk0")
    assert two.assemble(DISK, as_primary=True) == one.assemble(DISK, as_primary=True)
    two.remove(DISK)
    assert one.find(DISK) is None


def test_missing_disk_is_told_from_a_directory_that_is_not_mounted(tmp_path: Path, shared: Path) -> None:
    node = make_node(tmp_path / "node1", shared)
    assert node.find(DISK) is None
    with pytest.raises(StorageError, match="the file was removed from the shared directory"):
        node.assemble(DISK, as_primary=True)
    os.rmdir(shared / "other")
    with pytest.raises(StorageError, match="is empty on node node1, so its file system is probably not mounted"):
        node.find(DISK)
    shutil.rmtree(shared)
    with pytest.raises(StorageError, match="mount its file system"):
        node.find(DISK)


def test_disk_is_not_taken_for_removed_where_nothing_is_mounted(tmp_path: Path, shared: Path) -> None:
    node = make_node(tmp_path / "node1", shared)
    node.remove(DISK)
    shutil.rmtree(shared)
    for use in (node.remove, node.create):
        with pytest.raises(StorageError, match="mount its file system"):
            use(DISK)
