"""Fields of locks."""

from __future__ import annotations

from typing import Any

from ganeti.query.lockfields import DEFAULT_FIELDS, FIELDS, LockView

HELD = LockView("node/a", "exclusive", ("5",), (("shared", ("6",)), ("exclusive", ("7",))))
FREE = LockView("node/[lockset]", None, (), ())


def values(lock: LockView) -> list[Any]:
    return [FIELDS[name].get(None, lock) for name in DEFAULT_FIELDS]  # type: ignore[arg-type]  # no data is needed


def test_fields_are_those_of_the_contract() -> None:
    assert {name: (field.title, str(field.kind)) for name, field in FIELDS.items()} == {
        "name": ("Name", "text"),
        "mode": ("Mode", "other"),
        "owner": ("Owner", "other"),
        "pending": ("Pending", "other"),
    }


def test_values_are_plain_json() -> None:
    assert values(HELD) == ["node/a", "exclusive", ["5"], [["shared", ["6"]], ["exclusive", ["7"]]]]
    assert values(FREE) == ["node/[lockset]", None, None, None]
