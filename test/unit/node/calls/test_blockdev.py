from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ganeti.base.errors import PrereqError, StorageError
from ganeti.base.paths import Paths
from ganeti.model.enums import DiskTemplate
from ganeti.node.calls.blockdev import BlockdevCalls
from ganeti.node.imagefile import MIB
from ganeti.node.services import Services, build_services
from ganeti.node.ssconf import Ssconf
from support.doors import open_doors
from support.filled import filled_disk

FILES, SHARED = "/srv/ganeti/file-storage", "/srv/ganeti/shared-file-storage"
DISK = filled_disk(f"{FILES}/web/0")
OTHER = filled_disk(f"{SHARED}/web/1", uuid="d1", dev_type=DiskTemplate.SHAREDFILE)


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    paths = Paths(str(tmp_path), "node2")
    Ssconf(paths).write({"file_storage_dir": FILES, "shared_file_storage_dir": SHARED})
    for directory in (FILES, SHARED):
        os.makedirs(paths.below(directory))
    with open_doors(paths) as doors:
        yield build_services(doors, 1811, lambda: None)


@pytest.fixture
def calls(services: Services) -> BlockdevCalls:
    calls = BlockdevCalls(services)
    calls.file_storage_prepare(f"{FILES}/web")
    calls.file_storage_prepare(f"{SHARED}/web")
    return calls


def test_life_of_disks_of_both_kinds(calls: BlockdevCalls, services: Services) -> None:
    assert calls.blockdev_find([DISK, OTHER]) == [None, None]
    for index, disk in enumerate((DISK, OTHER)):
        calls.blockdev_create(disk, "web")
        for _ in range(2):
            link = calls.blockdev_assemble(disk, "web", True, index)
        assert link == services.links.path("web", index)
        assert os.path.realpath(link) == services.paths.below(str(disk.logical_id[1]))
        calls.blockdev_grow(disk, 4, True)
        calls.blockdev_grow(disk, 4, False)
        assert os.path.getsize(link) == 20 * MIB
        for _ in range(2):
            calls.blockdev_shutdown(disk, "web", index)
        assert not os.path.lexists(link)
    assert None not in calls.blockdev_find([DISK, OTHER])
    for disk in (DISK, OTHER):
        calls.blockdev_remove(disk)
    for directory in (f"{FILES}/web", f"{SHARED}/web"):
        calls.file_storage_cleanup(directory)
        assert not os.path.exists(services.paths.below(directory))


def test_secondary_gets_no_link(calls: BlockdevCalls, services: Services) -> None:
    calls.blockdev_create(DISK, "web")
    assert calls.blockdev_assemble(DISK, "web", False, 0) == services.paths.below(f"{FILES}/web/0")
    assert not os.path.lexists(services.links.path("web", 0))


def test_disk_is_wiped(calls: BlockdevCalls, services: Services) -> None:
    calls.blockdev_create(DISK, "web")
    path = Path(services.paths.below(f"{FILES}/web/0"))
    path.write_bytes(b"x" * 16 * MIB)
    calls.blockdev_wipe(DISK, 0, 16)
    assert not any(path.read_bytes())
    calls.blockdev_remove(DISK)
    with pytest.raises(StorageError, match="cannot wipe disk disk/0: it is not on node node2"):
        calls.blockdev_wipe(DISK, 0, 16)


def test_space_is_told_by_kind(calls: BlockdevCalls) -> None:
    found = calls.storage_space([("file", FILES), ("sharedfile", SHARED), ("diskless", "x")])
    assert [(one.kind, bool(one.total)) for one in found] == [("file", True), ("sharedfile", True), ("diskless", False)]


def test_directory_outside_both_storages_is_refused(calls: BlockdevCalls) -> None:
    for directory in ("/etc/x", FILES, f"{FILES}/../x"):
        with pytest.raises(PrereqError):
            calls.file_storage_prepare(directory)
