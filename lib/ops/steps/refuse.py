"""Refusing parameters that ask for something this version does not do. Nothing that was asked for is ignored in silence."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ganeti.base.errors import Code, PrereqError
from ganeti.ops.base import Op, params_of


def given(op: Op[Any, Any], name: str) -> bool:
    """Whether a parameter has another value than its default."""
    _, field, _ = params_of(type(op))[name]
    if field.default_factory is not dataclasses.MISSING:
        return bool(getattr(op, name) != field.default_factory())
    return bool(getattr(op, name) != field.default)


def refuse_given(op: Op[Any, Any], reasons: Mapping[str, str]) -> None:
    """`PrereqError` with the reason of the first of these parameters that was given a value of its own."""
    for name, reason in reasons.items():
        if given(op, name):
            raise PrereqError(f"parameter {name} cannot be used: {reason}", Code.INVAL)
