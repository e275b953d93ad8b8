"""Command lines of QEMU over recorded capabilities. Each is one of `cases.CASES` and stands in a file of the same name."""

from __future__ import annotations

import pytest
from golden.conftest import Golden
from golden.kvm.cases import CASES, HERE, build, render


@pytest.mark.parametrize("name", CASES)
def test_command_line_is_as_recorded(name: str, golden: Golden) -> None:
    golden.check(HERE / f"{name}.args", render(build(CASES[name])))


def test_each_file_belongs_to_a_case(golden: Golden) -> None:
    golden.check_files(HERE, ".args", set(CASES))


def test_each_capability_record_is_used(golden: Golden) -> None:
    golden.check_files(HERE / "capabilities", ".json", {f"qemu-{case.qemu}" for case in CASES.values()})
