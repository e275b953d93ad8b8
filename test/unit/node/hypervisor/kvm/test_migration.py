from __future__ import annotations

from typing import Any

import pytest

from ganeti.node.hypervisor.kvm.migration import STATUSES, describe_status
from ganeti.rpc.node.replies import MigrationStatus


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({}, MigrationStatus("active")),
        ({"status": "setup"}, MigrationStatus("active")),
        (
            {
                "status": "active",
                "expected-downtime": 300,
                "total-time": 1200,
                "ram": {"transferred": 10, "remaining": 20, "total": 30, "dirty-sync-count": 2, "dirty-pages-rate": 5},
            },
            MigrationStatus("active", 10, 20, 30, None, 1200, 300, 5, 2),
        ),
        (
            {"status": "completed", "downtime": 21, "total-time": 900, "ram": {"transferred": 30, "total": 30}},
            MigrationStatus("completed", 30, 0, 30, 21, 900),
        ),
        ({"status": "failed", "error-desc": "Connection refused"}, MigrationStatus("failed", error="Connection refused")),
        ({"status": "cancelling"}, MigrationStatus("active")),
        ({"status": "postcopy-paused"}, MigrationStatus("failed", error="it was interrupted")),
        ({"status": "something of the year 2030"}, MigrationStatus("active")),
    ],
)
def test_answers_of_qemu_are_put_into_our_words(answer: dict[str, Any], expected: MigrationStatus) -> None:
    assert describe_status(answer) == expected


def test_our_words_are_four() -> None:
    assert set(STATUSES.values()) == {"active", "completed", "failed", "cancelled"}
