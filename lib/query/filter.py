"""Filters in wire form, compiled to functions. Pure.

``["|", f...]`` ``["&", f...]`` ``["!", f]`` ``["?", field]`` ``["==", field, value]`` (also ``=``),
``!=`` ``<`` ``<=`` ``>`` ``>=``,
``["=~", field, regex]``, ``["=[]", field, value]`` (the list contains the value).
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable
from typing import Any

from ganeti.base.errors import Code, PrereqError
from ganeti.model.config import matches_host_name
from ganeti.query.field import Data, Field, FieldKind, FieldTable, Status

Filter = list[Any]
Test = Callable[[Data, Any], bool]

MAX_DEPTH = 10

_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_COMPARE = frozenset({"==", "=", "!=", "=~", "=[]", *_ORDER})


def names_filter(field: str, names: Iterable[Any]) -> Filter | None:
    """Any of these names; None (everything) if there are none."""
    clauses = [["==", field, name] for name in names]
    if not clauses:
        return None
    return clauses[0] if len(clauses) == 1 else ["|", *clauses]


def plain_names(qfilter: Any, field: str) -> list[Any] | None:
    """The names that a filter of the form of `names_filter` asks for, else None: such queries need no scan."""
    if not isinstance(qfilter, list) or not qfilter:
        return None
    clauses = qfilter[1:] if qfilter[0] == "|" else [qfilter]
    if all(
        isinstance(one, list) and len(one) == 3 and one[0] in ("=", "==") and one[1] == field
        for one in clauses
    ):
        return [clause[2] for clause in clauses]
    return None


def referenced(qfilter: Any) -> list[str]:
    """Names of all fields that a filter refers to."""
    if not isinstance(qfilter, list) or not qfilter:
        return []
    if qfilter[0] in ("|", "&", "!"):
        return [name for clause in qfilter[1:] for name in referenced(clause)]
    return [str(qfilter[1])] if len(qfilter) > 1 else []


def compile_filter(table: FieldTable, qfilter: Any, depth: int = 0) -> Test:
    """A function (data, object) -> bool; `PrereqError` says what is wrong with a filter."""
    if qfilter is None:
        return lambda _data, _item: True
    if depth > MAX_DEPTH:
        raise _invalid(f"it is nested more than {MAX_DEPTH} deep")
    if not isinstance(qfilter, list) or not qfilter or not isinstance(qfilter[0], str):
        raise _invalid(f"{qfilter!r} is not an operator with its operands")
    word, operands = qfilter[0], qfilter[1:]
    if word in ("|", "&"):
        tests = [compile_filter(table, clause, depth + 1) for clause in operands]
        combine = any if word == "|" else all
        return lambda data, item: combine(test(data, item) for test in tests)
    if word == "!":
        _arity(word, operands, 1)
        inner = compile_filter(table, operands[0], depth + 1)
        return lambda data, item: not inner(data, item)
    if word == "?":
        _arity(word, operands, 1)
        return _presence(_lookup(table, operands[0]))
    if word in _COMPARE:
        _arity(word, operands, 2)
        return _comparison(word, _lookup(table, operands[0]), operands[1])
    raise _invalid(f"there is no operator {word!r}")


def _invalid(reason: str) -> PrereqError:
    return PrereqError(f"the query filter cannot be used: {reason}", Code.INVAL)


def _arity(word: str, operands: list[Any], count: int) -> None:
    if len(operands) != count:
        raise _invalid(f"operator {word!r} takes {count} operand(s), not {len(operands)}")


def _lookup(table: FieldTable, name: Any) -> Field:
    found = table.get(name) if isinstance(name, str) else None
    if found is None:
        raise _invalid(f"there is no field {name!r}")
    return found


def _presence(field: Field) -> Test:
    def test(data: Data, item: Any) -> bool:
        status, value = field.cell(data, item)
        return status != Status.NORMAL or bool(value)

    return test


def _comparison(word: str, field: Field, wanted: Any) -> Test:
    matches = _matcher(word, field, wanted)

    def test(data: Data, item: Any) -> bool:
        status, value = field.cell(data, item)
        # What is not known is not hidden: a field without data matches.
        return status in (Status.NO_DATA, Status.OFFLINE) or matches(None if status else value)

    return test


def _matcher(word: str, field: Field, wanted: Any) -> Callable[[Any], bool]:
    if word == "=~":
        return _regex(wanted)
    if word == "=[]":
        return lambda value: isinstance(value, (list, tuple)) and wanted in value
    if word in _ORDER:
        return _ordered(word, field, wanted)
    equal = _equality(field, wanted)
    return (lambda value: not equal(value)) if word == "!=" else equal


def _regex(wanted: Any) -> Callable[[Any], bool]:
    try:
        pattern = re.compile(str(wanted))
    except re.error as err:
        raise _invalid(f"{wanted!r} is not a regular expression: {err}") from err
    return lambda value: value is not None and pattern.search(str(value)) is not None


def _equality(field: Field, wanted: Any) -> Callable[[Any], bool]:
    if field.is_hostname and isinstance(wanted, str):
        lowered = wanted.lower()
        return lambda value: isinstance(value, str) and matches_host_name(lowered, value)
    if field.kind is FieldKind.TIMESTAMP:
        return lambda value: value is not None and int(value) == int(wanted)
    return lambda value: bool(value == wanted)


def _ordered(word: str, field: Field, wanted: Any) -> Callable[[Any], bool]:
    compare = _ORDER[word]

    def test(value: Any) -> bool:
        if value is None:
            return False
        left = int(value) if field.kind is FieldKind.TIMESTAMP else value
        try:
            return compare(left, wanted)
        except TypeError:
            raise _invalid(f"field {field.name} ({field.kind}) cannot be compared with {wanted!r}") from None

    return test
