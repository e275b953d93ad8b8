from __future__ import annotations

import os
from pathlib import Path

import pytest

from ganeti.base import files
from ganeti.base.errors import ExecError, PrereqError


def test_written_file_has_content_and_mode_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "file"
    before = os.umask(0o077)
    try:
        files.write_atomic(str(path), "straße\n", mode=0o644)
    finally:
        os.umask(before)
    assert path.read_bytes() == "straße\n".encode()
    assert path.stat().st_mode & 0o7777 == 0o644
    files.write_atomic(str(path), b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert path.stat().st_mode & 0o7777 == 0o600


def test_replaced_file_is_a_new_one_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with path.open() as reader:
        files.write_atomic(str(path), "new", owner=(os.getuid(), os.getgid()))
        assert reader.read() == "old"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["file"]


def test_failed_write_leaves_the_old_file_and_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        files.write_atomic(str(path), "new")
    assert os.listdir(tmp_path) == ["file"]


def test_missing_file_reads_as_none(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert files.read_optional(str(path)) is None
    path.write_bytes(b"a\xffb")
    assert files.read_optional(str(path)) == "a�b"
    assert files.read_optional(str(path / "below")) is None
    with pytest.raises(IsADirectoryError):
        files.read_optional(str(tmp_path))


def test_directory_is_made_or_corrected(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    files.ensure_directory(str(path), 0o750, owner=(os.getuid(), os.getgid()))
    assert path.stat().st_mode & 0o7777 == 0o750
    assert path.parent.stat().st_mode & 0o7777 == 0o755
    files.ensure_directory(str(path), 0o1777)
    assert path.stat().st_mode & 0o7777 == 0o1777


def test_file_in_the_way_of_a_directory_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("")
    with pytest.raises(ExecError, match=f"{path}: something else"):
        files.ensure_directory(str(path), 0o755)


def test_paths_inside_are_resolved(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    allowed = [str(tmp_path / "link"), "/nonexistent"]
    assert files.require_below(f"{tmp_path}/link/disk0", allowed) == f"{tmp_path.resolve()}/real/disk0"
    assert files.require_below(f"{tmp_path}/real/x/../disk0", allowed) == f"{tmp_path.resolve()}/real/disk0"


@pytest.mark.parametrize("path", ["{0}/in/../out/f", "{0}/in/escape/f", "{0}/in", "{0}/inside", "in/f", "/", "{0}/in/.."])
def test_paths_that_lead_outside_are_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "escape").symlink_to("../out")
    with pytest.raises(PrereqError, match="not inside an allowed directory|not absolute"):
        files.require_below(path.format(tmp_path), [f"{tmp_path}/in"])


def test_nothing_is_allowed_without_directories(tmp_path: Path) -> None:
    with pytest.raises(PrereqError, match="allowed: none"):
        files.require_below(f"{tmp_path}/x", [])


def test_removal_tells_whether_there_was_something(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    assert files.remove_quietly(str(tmp_path / "a"))
    assert not files.remove_quietly(str(tmp_path / "a"))
    with pytest.raises(IsADirectoryError):
        files.remove_quietly(str(tmp_path))
