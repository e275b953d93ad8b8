from __future__ import annotations

import os

import pytest

from ganeti.base.errors import HypervisorError
from ganeti.node.hypervisor.kvm.pinning import apply_affinity, check_mask, parse_mask, plan_affinity


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("all", (None,)),
        ("", (None,)),
        ("3", ({3},)),
        ("0-2,8", ({0, 1, 2, 8},)),
        ("0:all:2-3", ({0}, None, {2, 3})),
    ],
)
def test_mask_is_understood(text: str, expected: tuple[set[int] | None, ...]) -> None:
    assert parse_mask(text) == expected


@pytest.mark.parametrize("text", ["a", "1-", "-1", "3-1", "1,,2", "0::1", "1.5"])
def test_nonsense_is_an_error_that_quotes_it(text: str) -> None:
    with pytest.raises(HypervisorError, match="cpu_mask"):
        parse_mask(text)


def test_one_mask_is_for_all_processors() -> None:
    assert plan_affinity(parse_mask("0-1"), [11, 12]) == {11: {0, 1}, 12: {0, 1}}


def test_each_processor_may_have_its_mask() -> None:
    assert plan_affinity(parse_mask("0:all"), [11, 12]) == {11: {0}}


def test_number_of_masks_must_fit() -> None:
    with pytest.raises(HypervisorError, match="2 parts, but the guest has 3"):
        plan_affinity(parse_mask("0:1"), [11, 12, 13])


def test_processors_that_the_node_lacks_are_told() -> None:
    assert check_mask(parse_mask("0-3:all"), frozenset({0, 1})).endswith("2, 3")
    assert check_mask(parse_mask("all"), frozenset()) == ""


def test_thread_is_pinned() -> None:
    before = os.sched_getaffinity(0)
    try:
        apply_affinity({0: frozenset({min(before)})})
        assert os.sched_getaffinity(0) == {min(before)}
    finally:
        os.sched_setaffinity(0, before)


def test_impossible_affinity_is_an_error() -> None:
    with pytest.raises(HypervisorError, match="cannot pin"):
        apply_affinity({0: frozenset({100000})})
