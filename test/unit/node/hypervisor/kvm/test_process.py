from __future__ import annotations

import os
from pathlib import Path

import pytest

from ganeti.base import proc
from ganeti.base.paths import Paths
from ganeti.node.hypervisor.kvm.places import Places
from ganeti.node.hypervisor.kvm.process import GuestProcess, names_guest

UUID = "a0000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize(
    ("words", "uuid", "expected"),
    [
        (["qemu", "-name", "guest=web,debug-threads=on", "-uuid", UUID], UUID, True),
        (["qemu", "-name", "guest=web,debug-threads=on", "-uuid", UUID], None, True),
        (["qemu", "-name", "guest=web,debug-threads=on", "-uuid", "b"], UUID, False),
        (["qemu", "-name", "guest=web2,debug-threads=on", "-uuid", UUID], UUID, False),
        (["vi", "web"], None, False),
        ([], None, False),
    ],
)
def test_command_line_must_name_the_guest(words: list[str], uuid: str | None, expected: bool) -> None:
    assert names_guest(words, "web", uuid) is expected


@pytest.mark.parametrize("text", ["", "x", "999999999", str(os.getpid())])
def test_pid_file_alone_proves_nothing(tmp_path: Path, text: str) -> None:
    places = Places(Paths(str(tmp_path)))
    places.prepare()
    Path(places.of("web").pid).write_text(text)
    assert GuestProcess.find(places.of("web")) is None


def test_ended_child_is_dead_and_reaped() -> None:
    process = GuestProcess.of_child(proc.start(["sleep", "0"]))
    assert process.wait(5.0)
    assert not process.is_alive()
    assert process.cpu_seconds() == 0.0 and process.resident_bytes() == 0


def test_process_is_found_by_its_files_and_ended(tmp_path: Path) -> None:
    places = Places(Paths(str(tmp_path)))
    places.prepare()
    # A process whose command line looks like a guest's.
    child = proc.start(["sh", "-c", "sleep 60; :", "guest=web,", UUID])
    Path(places.of("web").pid).write_text(f"{child.pid}\n")
    found = GuestProcess.find(places.of("web"), UUID)
    assert found is not None and found.pid == child.pid and found.is_alive()
    assert GuestProcess.find(places.of("web"), "another uuid") is None
    assert found.resident_bytes() > 0
    proc.stop(child)
    assert not found.is_alive()
    assert found.end(1.0)
