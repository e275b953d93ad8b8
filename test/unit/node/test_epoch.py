from __future__ import annotations

import os
from pathlib import Path

import pytest

from ganeti.base.errors import ConfigError, StaleEpoch
from ganeti.base.paths import Paths
from ganeti.node.epoch import EpochGuard


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = Paths(str(tmp_path), "node2")
    os.makedirs(paths.data)
    return paths


def test_nothing_was_seen_at_first(paths: Paths) -> None:
    assert EpochGuard(paths).current == 0


def test_higher_epoch_is_on_disk_at_once(paths: Paths) -> None:
    EpochGuard(paths).admit(7)
    assert Path(paths.epoch).read_text() == "7\n"
    assert EpochGuard(paths).current == 7


def test_lower_epoch_is_refused_and_changes_nothing(paths: Paths) -> None:
    guard = EpochGuard(paths)
    guard.admit(7)
    with pytest.raises(StaleEpoch, match="has seen epoch 7"):
        guard.admit(6)
    assert guard.current == 7


def test_same_epoch_is_not_written_again(paths: Paths) -> None:
    guard = EpochGuard(paths)
    guard.admit(7)
    before = os.stat(paths.epoch)
    assert not guard.needs_write(7)
    guard.admit(7)
    assert os.stat(paths.epoch).st_ino == before.st_ino


def test_epoch_written_by_others_is_heeded(paths: Paths) -> None:
    guard = EpochGuard(paths)
    guard.admit(2)
    Path(paths.epoch).write_text("30\n")
    with pytest.raises(StaleEpoch):
        guard.admit(29)


@pytest.mark.parametrize("content", ["", "seven", "-1"])
def test_damaged_file_lets_nobody_command(paths: Paths, content: str) -> None:
    Path(paths.epoch).write_text(content)
    with pytest.raises(ConfigError, match="does not hold a number"):
        EpochGuard(paths).admit(9)
    assert Path(paths.epoch).read_text() == content
