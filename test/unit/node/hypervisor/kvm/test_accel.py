from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ganeti.base.errors import CommandError, HypervisorError
from ganeti.base.proc import Call, RecordingRunner, Result
from ganeti.node.hypervisor.kvm.accel import (
    Acceleration,
    AccelerationProbe,
    Accelerator,
    choose,
    judge,
    probe,
)
from ganeti.node.hypervisor.kvm.accel_rom import SIZE, SUCCESS, build_rom
from ganeti.node.hypervisor.kvm.capabilities import Capabilities, Machine

CAPABILITIES = Capabilities(
    version=(8, 2, 0), target="x86_64", kvm=True, machines=(Machine(name="pc-8.2", alias="pc"),), devices=frozenset(),
    objects=frozenset(),
)  # fmt: skip
GOOD = SUCCESS << 1 | 1
WORKS, BROKEN = Acceleration(True), Acceleration(False, "no reason")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Guest:
    """The test guest, ending with a status."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.runs = 0

    def __call__(self, call: Call) -> Result:
        self.runs += 1
        return Result(call.argv, self.status, "", "words of QEMU")


def make(directory: Path, guest: Guest, clock: Clock, device: str = "/dev/null") -> AccelerationProbe:
    runner = RecordingRunner([((), guest)])
    return AccelerationProbe(str(directory / "kvm" / "acceleration.json"), runner, device=device, clock=clock)


def make_binary(directory: Path) -> str:
    path = directory / "qemu"
    path.write_text("")
    return str(path)


def test_rom_fills_the_space_below_the_reset_vector() -> None:
    rom = build_rom()
    assert len(rom) == SIZE
    assert rom[0xFFF0:0xFFF5] == bytes.fromhex("ea000000f0")


def test_only_the_status_of_success_means_that_kvm_works() -> None:
    assert judge(GOOD, "") == WORKS
    assert [status for status in range(256) if judge(status, "").usable] == [GOOD]


def test_stage_at_which_the_guest_failed_is_told() -> None:
    assert "system call" in judge(0x16 << 1 | 1, "").reason
    assert "kernel privileges" in judge(0x11 << 1 | 1, "").reason


def test_other_ends_are_told_with_the_words_of_qemu() -> None:
    assert judge(134, "warning: x\nfailed to set MSR 0x10a\n").reason.endswith("status 134: failed to set MSR 0x10a")
    assert judge(1, "").reason.endswith("status 1")


def test_guest_that_makes_no_progress_is_a_no() -> None:
    runner = RecordingRunner([((), CommandError("took longer"))])
    assert "no progress" in probe("/opt/qemu", CAPABILITIES, runner).reason


def test_guest_runs_with_the_accelerator_asked_for() -> None:
    runner = RecordingRunner([((), Guest(GOOD))])
    assert probe("/opt/qemu", CAPABILITIES, runner, Accelerator.TCG) == WORKS
    assert "-accel tcg" in runner.commands[0]


def test_other_architectures_do_without_the_guest() -> None:
    runner = RecordingRunner([((), 0)])
    assert probe("/opt/qemu", replace(CAPABILITIES, target="aarch64"), runner) == WORKS
    assert "-bios" not in runner.commands[0] and "-machine none" in runner.commands[0]


def test_answer_is_remembered(tmp_path: Path) -> None:
    guest, clock, path = Guest(GOOD), Clock(), make_binary(tmp_path)
    first = make(tmp_path, guest, clock)
    assert first.get(path, CAPABILITIES) == first.get(path, CAPABILITIES) == WORKS
    clock.now += 1e6
    assert make(tmp_path, guest, clock).get(path, CAPABILITIES) == WORKS
    assert guest.runs == 1


def test_no_is_asked_again_after_a_while(tmp_path: Path) -> None:
    guest, clock, path = Guest(0), Clock(), make_binary(tmp_path)
    asked = make(tmp_path, guest, clock)
    assert not asked.get(path, CAPABILITIES).usable
    assert not asked.get(path, CAPABILITIES).usable
    guest.status = GOOD
    clock.now += 4000
    assert asked.get(path, CAPABILITIES) == WORKS
    assert guest.runs == 2


def test_each_binary_has_its_answer(tmp_path: Path) -> None:
    guest, clock, path = Guest(GOOD), Clock(), make_binary(tmp_path)
    other = tmp_path / "other"
    other.write_text("")
    asked = make(tmp_path, guest, clock)
    for _ in range(2):
        asked.get(path, CAPABILITIES)
        asked.get(str(other), CAPABILITIES)
    assert guest.runs == 2


def test_without_the_device_no_guest_is_run(tmp_path: Path) -> None:
    guest = Guest(GOOD)
    found = make(tmp_path, guest, Clock(), device="/dev/no-kvm").get(make_binary(tmp_path), CAPABILITIES)
    assert "/dev/no-kvm does not exist" in found.reason and guest.runs == 0


def test_binary_without_kvm_is_a_no(tmp_path: Path) -> None:
    found = make(tmp_path, Guest(GOOD), Clock()).get(make_binary(tmp_path), replace(CAPABILITIES, kvm=False))
    assert "without it" in found.reason


@pytest.mark.parametrize(
    ("flag", "found", "expected"),
    [
        ("", WORKS, Accelerator.KVM),
        ("", BROKEN, Accelerator.TCG),
        ("enabled", WORKS, Accelerator.KVM),
        ("disabled", WORKS, Accelerator.TCG),
        ("disabled", BROKEN, Accelerator.TCG),
    ],
)
def test_accelerator_is_what_works_and_is_wanted(flag: str, found: Acceleration, expected: Accelerator) -> None:
    assert choose(flag, found) is expected


def test_kvm_that_is_insisted_on_but_of_no_use_is_an_error() -> None:
    with pytest.raises(HypervisorError, match="kvm_flag is 'enabled'.*no reason"):
        choose("enabled", BROKEN)


def test_emulation_is_noted() -> None:
    assert WORKS.note == ""
    assert "no reason" in BROKEN.note and "TCG" in BROKEN.note
