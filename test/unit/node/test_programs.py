from __future__ import annotations

import os
from pathlib import Path

import pytest

from ganeti.base import proc
from ganeti.base.daemon import PidFile
from ganeti.base.errors import PrereqError
from ganeti.base.paths import Paths
from ganeti.node.programs import find_program, start


def test_program_is_found_in_the_search_path() -> None:
    assert os.path.basename(find_program("sh")) == "sh"


def test_missing_program_is_told() -> None:
    with pytest.raises(PrereqError, match="is the installation complete"):
        find_program("ganeti-no-such-program")


def test_daemon_is_started_with_its_own_root(tmp_path: Path) -> None:
    paths = Paths(str(tmp_path), "node2")
    runner = proc.RecordingRunner([([find_program("sh")], "")])
    assert start(paths, "sh", ["-c", "x"], runner=runner)
    (call,) = runner.calls
    assert call.argv[1:] == ("-c", "x")
    assert call.env is not None
    assert call.env["GANETI_ROOTDIR"] == str(tmp_path)


def test_running_daemon_is_left_alone(tmp_path: Path) -> None:
    paths = Paths(str(tmp_path), "node2")
    os.makedirs(paths.run)
    pid_file = PidFile(paths.pid_file("sh"))
    pid_file.acquire()
    runner = proc.RecordingRunner()
    assert not start(paths, "sh", runner=runner)
    assert runner.calls == []
    pid_file.release()
