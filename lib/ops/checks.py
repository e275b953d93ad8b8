"""Checks of parameter values that many opcodes share (for `param(check=...)`): they raise `ValueError`."""

from __future__ import annotations

import math


def not_negative(value: float | None) -> None:
    """A finite number, zero or more (or not given)."""
    if value is not None and not (value >= 0 and math.isfinite(value)):
        raise ValueError(f"must be a number that is not negative, but is {value}")


def not_empty(value: str | None) -> None:
    """Some text (or not given)."""
    if value is not None and not value.strip():
        raise ValueError("must not be empty")
