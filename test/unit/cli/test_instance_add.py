"""The options of `gnt-instance add`."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

import pytest

from ganeti.base.errors import PrereqError
from ganeti.cli.command import Environment
from ganeti.cli.instance_add import ADD


def build(*words: str) -> dict[str, Any]:
    parser = ArgumentParser()
    ADD.configure(parser)
    args = parser.parse_args(["-t", "sharedfile", "-s", "8m", "-o", "noop", "-n", "node1", *words, "web"])
    return ADD.build(Environment(), args, "web")


@pytest.mark.parametrize(
    ("words", "checks"),
    [
        ([], {}),
        (["--name-check"], {"name_check": True}),
        (["--no-name-check", "--no-ip-check"], {"name_check": False, "ip_check": False}),
    ],
)
def test_names_are_checked_only_if_that_is_asked_for(words: list[str], checks: dict[str, bool]) -> None:
    op = build(*words)
    assert {key: value for key, value in op.items() if key.endswith("_check")} == checks


def test_short_options_make_one_disk_one_card_and_a_place() -> None:
    assert build() == {
        "OP_ID": "OP_INSTANCE_CREATE",
        "mode": "create",
        "instance_name": "web",
        "disk_template": "sharedfile",
        "disks": [{"size": 8}],
        "nics": [{}],
        "os_type": "noop",
        "pnode": "node1",
    }


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--disk", "0:size=8m"], "-s and --disk"),
        (["--net", "1:mac=auto"], "--net: numbers must be 0 to 0"),
        (["--no-nics", "--net", "0:mac=auto"], "--no-nics and --net"),
    ],
)
def test_contradictions_are_named(words: list[str], problem: str) -> None:
    with pytest.raises(PrereqError, match=problem):
        build(*words)
