"""Parameter tables: what a parameter is, checking values that people typed, and filling overrides from defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NewType

from ganeti.base.errors import Code, PrereqError
from ganeti.base.text import parse_size

ParamKind = NewType("ParamKind", str)
BOOL = ParamKind("bool")
INT = ParamKind("int")
FLOAT = ParamKind("float")
TEXT = ParamKind("string")
MAYBE_TEXT = ParamKind("maybe-string")
SIZE = ParamKind("size")

DEFAULT = "default"
"""The value that removes an override."""

_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})


@dataclass(frozen=True)
class Param:
    """One parameter. Sizes are MiB; `choices`, where given, are all the values allowed besides the default."""

    name: str
    kind: ParamKind
    default: Any
    choices: tuple[Any, ...] = ()
    help: str = ""


Table = Mapping[str, Param]


def table(*params: Param) -> dict[str, Param]:
    """Parameters by name."""
    return {param.name: param for param in params}


def defaults(of: Table) -> dict[str, Any]:
    """The complete default values."""
    return {param.name: param.default for param in of.values()}


def coerce(of: Table, values: Mapping[str, Any], what: str, *, allow_default: bool = False) -> dict[str, Any]:
    """`values` checked and converted to their types; `what` names the table in errors (such as "hypervisor kvm").

    With `allow_default` the value "default" (or None) is kept as it is: it removes an override in `update`.
    """
    result = {}
    for name, value in values.items():
        param = of.get(name)
        if param is None:
            raise PrereqError(f"{what} has no parameter '{name}'; it has: {', '.join(sorted(of)) or 'none'}", Code.INVAL)
        if allow_default and (value is None or value == DEFAULT):
            result[name] = DEFAULT
        else:
            result[name] = coerce_value(param, value, what)
    return result


def coerce_value(param: Param, value: Any, what: str) -> Any:
    """One value converted to its parameter's type; `PrereqError` if it cannot be."""
    try:
        result = _convert(param.kind, value)
    except (ValueError, TypeError, PrereqError):
        reason = f"{what}: parameter '{param.name}' wants a value of type {param.kind}, not {value!r}"
        raise PrereqError(reason, Code.INVAL) from None
    if param.choices and result not in param.choices and result != param.default:
        listed = ", ".join(str(choice) for choice in param.choices)
        raise PrereqError(f"{what}: parameter '{param.name}' must be one of {listed}; not {value!r}", Code.INVAL)
    return result


def _convert(kind: ParamKind, value: Any) -> Any:
    if kind == BOOL:
        return _to_bool(value)
    if kind == INT:
        if isinstance(value, (bool, float)):
            raise ValueError(value)
        return int(value)
    if kind == FLOAT:
        if isinstance(value, bool):
            raise ValueError(value)
        return float(value)
    if kind == SIZE:
        return value if isinstance(value, int) and not isinstance(value, bool) else parse_size(str(value))
    if kind == MAYBE_TEXT and (value is None or value == "none"):
        return None
    if value is None or value is False:
        return ""
    if not isinstance(value, (str, int, float)) or isinstance(value, bool):
        raise ValueError(value)
    return str(value)


def _to_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError(value)


def fill(base: Mapping[str, Any], *overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Defaults with overrides laid over them, the last one winning."""
    result = dict(base)
    for override in overrides:
        result.update(override)
    return result


def update(overrides: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Overrides after a change in which the value "default" removes one."""
    merged = fill(overrides, changes)
    return {name: value for name, value in merged.items() if value != DEFAULT}


def expand_memory(values: Mapping[str, Any]) -> dict[str, Any]:
    """Back-end parameters with the old single ``memory`` turned into ``minmem`` and ``maxmem``."""
    result = dict(values)
    if "memory" in result:
        if "minmem" in result or "maxmem" in result:
            raise PrereqError("back-end parameters: memory cannot be given together with minmem or maxmem", Code.INVAL)
        result["minmem"] = result["maxmem"] = result.pop("memory")
    return result
