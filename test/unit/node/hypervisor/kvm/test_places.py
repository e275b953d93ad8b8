from __future__ import annotations

import socket
from pathlib import Path

import pytest

from ganeti.base.errors import HypervisorError
from ganeti.base.paths import Paths
from ganeti.node.hypervisor.kvm.places import LONGEST_STEM, Places, connect_socket, socket_stem


def test_files_are_named_after_the_guest() -> None:
    places = Places(Paths("/")).of("web.example.com")
    assert places.qmp == "/var/run/ganeti/kvm-hypervisor/ctrl/web.example.com.qmp"
    assert places.shutdown_mark == "/var/run/ganeti/kvm-hypervisor/ctrl/web.example.com.shutdown"
    assert places.runtime == "/var/run/ganeti/kvm-hypervisor/conf/web.example.com.runtime"


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "../../etc/passwd", "a\nb"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(HypervisorError, match="not the name"):
        Places(Paths("/")).of(name)


def test_long_names_get_short_and_different_sockets() -> None:
    first, second = (socket_stem("a" * 200 + end) for end in ("1", "2"))
    assert first != second
    assert len(first) == len(second) == LONGEST_STEM
    assert socket_stem("a" * LONGEST_STEM) == "a" * LONGEST_STEM


def test_sockets_are_reached_however_deep_their_directory_is(tmp_path: Path) -> None:
    deep = tmp_path
    while len(str(deep)) < 300:
        deep = deep / ("d" * 50)
    deep.mkdir(parents=True)
    import os

    handle = os.open(deep, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"/proc/self/fd/{handle}/s.qmp")
        server.listen(1)
        with connect_socket(str(deep / "s.qmp")) as client:
            connection, _ = server.accept()
            connection.close()
            assert client.fileno() >= 0
    os.close(handle)


def test_missing_socket_is_an_error_and_leaves_no_descriptor(tmp_path: Path) -> None:
    import os

    before = len(os.listdir("/proc/self/fd"))
    for path in (tmp_path / "none.qmp", tmp_path / "no" / "none.qmp"):
        with pytest.raises(FileNotFoundError):
            connect_socket(str(path))
    assert len(os.listdir("/proc/self/fd")) == before


def test_guests_are_known_by_pid_files_and_marks(tmp_path: Path) -> None:
    places = Places(Paths(str(tmp_path)))
    assert places.known_guests() == []
    places.prepare()
    Path(places.pid, "b").touch()
    Path(places.pid, ".c.tmp").touch()
    Path(places.control, "a.shutdown").touch()
    Path(places.control, "b.qmp").touch()
    assert places.known_guests() == ["a", "b"]


def test_directories_are_for_root_only(tmp_path: Path) -> None:
    places = Places(Paths(str(tmp_path)))
    places.prepare()
    assert {Path(path).stat().st_mode & 0o777 for path in (places.control, places.runtime, places.log)} == {0o700}
