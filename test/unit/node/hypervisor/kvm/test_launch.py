from __future__ import annotations

import os
from pathlib import Path

import pytest
from golden.kvm.cases import CASES, build_model

from ganeti.base.errors import HypervisorError
from ganeti.base.paths import Paths
from ganeti.node.hypervisor.kvm.launch import HEADER, find_binary, quote, resolve_display
from ganeti.node.hypervisor.kvm.places import GuestPlaces, Places


def test_binary_that_is_there_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "qemu"
    path.touch()
    assert find_binary(str(path), "/usr/bin/kvm") == str(path)


def test_default_that_is_not_there_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / f"qemu-system-{os.uname().machine}"
    path.touch(mode=0o755)
    assert find_binary("/nonexistent/kvm", "/nonexistent/kvm", search=str(tmp_path)) == str(path)


def test_machine_without_qemu_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(HypervisorError, match=r"no QEMU found.*qemu-system-.*install it"):
        find_binary("/nonexistent/kvm", "/nonexistent/kvm", search=str(tmp_path))


def test_choice_that_is_not_there_is_an_error() -> None:
    with pytest.raises(HypervisorError, match="/opt/qemu does not exist.*kvm_path"):
        find_binary("/opt/qemu", "/usr/bin/kvm")


def test_display_listens_at_the_address_of_an_interface() -> None:
    from dataclasses import replace

    model = build_model(CASES["spice"])
    assert resolve_display(model) == "127.0.0.1"
    assert model.display is not None
    on_interface = replace(model, display=replace(model.display, address="lo", ip_version=4))  # type: ignore[call-arg]
    assert resolve_display(on_interface) == "127.0.0.1"
    assert resolve_display(build_model(CASES["plain"])) == ""


@pytest.fixture
def places(tmp_path: Path) -> GuestPlaces:
    found = Places(Paths(str(tmp_path)))
    found.prepare()
    return found.of("web")


def test_last_words_are_those_since_the_last_start(places: GuestPlaces) -> None:
    Path(places.log).write_text(f"{HEADER}first qemu\nold words\n{HEADER}second qemu\nnew words\n\nlast words\n")
    assert quote(places) == "; it said: new words / last words"


def test_last_words_may_begin_at_an_offset(places: GuestPlaces) -> None:
    head = f"{HEADER}qemu\n"
    Path(places.log).write_text(f"{head}words with {HEADER}dashes\n")
    assert quote(places, len(head)) == f"; it said: words with {HEADER}dashes"


def test_silence_is_told(places: GuestPlaces) -> None:
    assert quote(places) == ""
    Path(places.log).write_text(f"\n{HEADER}qemu\n")
    assert "without a word" in quote(places)
