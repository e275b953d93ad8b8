from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ganeti.base.errors import StorageError
from ganeti.base.paths import Paths
from ganeti.node import imagefile
from ganeti.node.imagefile import MIB, ImageFiles
from ganeti.node.ssconf import Ssconf
from support.filled import filled_disk

BASE = "/srv/ganeti/file-storage"


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = Paths(str(tmp_path / "root"), "node2")
    Ssconf(paths).write({"file_storage_dir": BASE})
    os.makedirs(paths.below(BASE))
    return paths


@pytest.fixture
def images(paths: Paths) -> ImageFiles:
    return ImageFiles(paths, "file_storage_dir")


# --- where files may lie


def test_logical_path_is_found_below_the_root(images: ImageFiles, paths: Paths) -> None:
    assert images.locate(f"{BASE}/i0/disk") == (paths.below(f"{BASE}/i0/disk"), paths.below(BASE))


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        BASE,
        f"{BASE}/",
        f"{BASE}-evil/x",
        f"{BASE}/../x",
        f"{BASE}/i0/../../x",
        "relative/x",
        "",
        f"{BASE}/a\0b",
    ],
)
def test_path_outside_is_refused(images: ImageFiles, path: str) -> None:
    with pytest.raises(StorageError):
        images.locate(path)


def test_links_below_the_directory_are_refused(images: ImageFiles, paths: Paths, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    os.symlink(outside, paths.below(f"{BASE}/dir"))
    os.mkdir(paths.below(f"{BASE}/i0"))
    os.symlink(outside / "file", paths.below(f"{BASE}/i0/disk"))
    os.symlink(paths.below(f"{BASE}/i0"), paths.below(f"{BASE}/i1"))
    for path in (f"{BASE}/dir/x", f"{BASE}/i0/disk", f"{BASE}/i1/disk"):
        with pytest.raises(StorageError, match="symbolic link"):
            images.locate(path)


def test_directory_itself_may_be_a_link(images: ImageFiles, paths: Paths, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    os.rmdir(paths.below(BASE))
    os.symlink(shared, paths.below(BASE))
    assert images.locate(f"{BASE}/i0/disk") == (str(shared / "i0" / "disk"), str(shared))


def test_node_can_allow_further_directories(images: ImageFiles, paths: Paths) -> None:
    os.makedirs(paths.conf)
    Path(paths.conf, "file-storage-paths").write_text("# comment\n\n/data/guests/\n/etc\n/\nrelative\n")
    assert images.allowed() == [BASE, "/data/guests"]
    assert images.locate("/data/guests/x")[0] == paths.below("/data/guests/x")
    with pytest.raises(StorageError):
        images.locate("/etc/x")


def test_system_directories_are_never_allowed() -> None:
    forbidden = ["/", "/etc", "/etc/x", "/usr/lib/x", "/root/x", "/var", "relative", "/srv/../etc"]
    assert [path for path in forbidden if not imagefile.is_forbidden(path)] == []
    assert not imagefile.is_forbidden("/srv/ganeti/file-storage")


# --- directories


def test_directory_is_made_and_removed_again(images: ImageFiles, paths: Paths) -> None:
    for _ in range(2):
        images.prepare(f"{BASE}/i0")
    real = paths.below(f"{BASE}/i0")
    assert stat.S_IMODE(os.stat(real).st_mode) == 0o750
    for _ in range(2):
        images.cleanup(f"{BASE}/i0")
    assert not os.path.exists(real)


def test_directory_with_content_stays(images: ImageFiles, paths: Paths) -> None:
    images.prepare(f"{BASE}/i0")
    Path(paths.below(f"{BASE}/i0/disk")).touch()
    with pytest.raises(StorageError, match="look what is in it"):
        images.cleanup(f"{BASE}/i0")


def test_directory_is_not_made_where_nothing_is_mounted(images: ImageFiles, paths: Paths) -> None:
    os.rmdir(paths.below(BASE))
    with pytest.raises(StorageError, match="mount its file system"):
        images.prepare(f"{BASE}/i0")


# --- files


def test_file_has_exactly_its_size_takes_no_space_and_is_private(tmp_path: Path) -> None:
    path = str(tmp_path / "disk")
    imagefile.create(path, 100)
    found = os.stat(path)
    assert found.st_size == 100 * MIB
    assert found.st_blocks * 512 < MIB
    assert stat.S_IMODE(found.st_mode) == 0o600


def test_existing_file_is_never_reused(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_text("precious")
    with pytest.raises(StorageError, match="exists already"):
        imagefile.create(str(path), 1)
    assert path.read_text() == "precious"


def test_link_is_not_followed_when_making_a_file(tmp_path: Path) -> None:
    os.symlink(tmp_path / "target", tmp_path / "disk")
    with pytest.raises(StorageError):
        imagefile.create(str(tmp_path / "disk"), 1)
    assert not (tmp_path / "target").exists()


def test_failed_creation_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        imagefile.create(str(tmp_path / "disk"), 1 << 50)
    with pytest.raises(StorageError, match="directory does not exist"):
        imagefile.create(str(tmp_path / "no" / "disk"), 1)
    assert os.listdir(tmp_path) == []


def test_removing_twice_is_fine_and_directories_are_safe(tmp_path: Path) -> None:
    path = str(tmp_path / "disk")
    imagefile.create(path, 1)
    imagefile.remove(path)
    imagefile.remove(path)
    with pytest.raises(StorageError, match="not a regular file"):
        imagefile.remove(str(tmp_path))


def test_growing_keeps_the_content(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    imagefile.create(str(path), 1)
    with open(path, "r+b") as stream:
        stream.write(b"boot")
    imagefile.grow(str(path), 2, dry_run=True)
    assert path.stat().st_size == MIB
    imagefile.grow(str(path), 2, dry_run=False)
    assert path.stat().st_size == 3 * MIB
    assert path.read_bytes() == b"boot".ljust(3 * MIB, b"\0")
    with pytest.raises(StorageError, match="do not shrink"):
        imagefile.grow(str(path), -1, dry_run=False)


def test_wiping_touches_exactly_its_range(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(b"x" * 4 * MIB)
    imagefile.overwrite(str(path), 1, 2, block=300_000)
    assert path.read_bytes() == b"x" * MIB + bytes(2 * MIB) + b"x" * MIB


@pytest.mark.parametrize(("offset", "size"), [(3, 2), (-1, 1), (0, -1), (5, 1)])
def test_wiping_beyond_the_end_changes_nothing(tmp_path: Path, offset: int, size: int) -> None:
    path = tmp_path / "disk"
    path.write_bytes(b"x" * 4 * MIB)
    with pytest.raises(StorageError, match="cannot wipe"):
        imagefile.overwrite(str(path), offset, size)
    assert path.read_bytes() == b"x" * 4 * MIB


def test_disk_without_a_path_is_refused(images: ImageFiles) -> None:
    with pytest.raises(StorageError, match="no file name"):
        images.locate_disk(filled_disk(logical_id=("vg", 5)))


def test_space_is_measured_in_mib_and_unknown_where_nothing_is(tmp_path: Path) -> None:
    found = imagefile.measure("file", "/x", str(tmp_path))
    assert found.total is not None and found.free is not None
    assert 0 < found.free <= found.total == os.statvfs(tmp_path).f_blocks * os.statvfs(tmp_path).f_frsize // MIB
    assert imagefile.measure("file", "/x", str(tmp_path / "no")).total is None
