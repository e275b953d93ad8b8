"""Nested output of the `info` commands: names and values, indented; the shape that scripts read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Pairs = Sequence[tuple[str, Any]]
"""Names with their values, in the order in which they are shown."""


def nested(value: Any) -> list[str]:
    """Lines of a value: mappings (sorted) and `Pairs` as ``name: value``, other lists with dashes, the rest as text.

    A value that is itself a container begins on the next line, two columns further in.
    """
    if isinstance(value, Mapping):
        return _pairs(sorted(value.items()))
    if is_pairs(value):
        return _pairs(value)
    if isinstance(value, (list, tuple)):
        return [line for item in value for line in _dashed(nested(item))]
    return [text(value)]


def is_pairs(value: Any) -> bool:
    """Whether a list is made of (name, value) tuples."""
    return (
        isinstance(value, (list, tuple))
        and bool(value)
        and all(isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str) for item in value)
    )


def text(value: Any) -> str:
    """A single value as text."""
    if isinstance(value, float) and value == int(value):
        return str(int(value))
    return str(value)


def _pairs(pairs: Pairs) -> list[str]:
    lines = []
    for name, value in pairs:
        if isinstance(value, (Mapping, list, tuple)):
            lines.append(f"{name}: ")
            lines.extend(f"  {line}" for line in nested(value))
        else:
            lines.append(f"{name}: {text(value)}")
    return lines


def _dashed(lines: list[str]) -> list[str]:
    return [f"- {line}" if index == 0 else f"  {line}" for index, line in enumerate(lines)]


def with_default(own: Mapping[str, Any], filled: Mapping[str, Any]) -> dict[str, str]:
    """Parameters as `info` shows them: an own value plainly, an inherited one as ``default (value)``."""
    return {
        name: text(own[name]) if name in own else f"default ({text(value)})" for name, value in filled.items()
    }
