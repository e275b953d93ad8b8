"""Texts that people type and read: sizes, durations, key=value lists, tables, time stamps.

What cannot be understood raises `PrereqError` with code `wrong_input`, naming the text.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterable, Sequence
from decimal import ROUND_CEILING, Decimal
from typing import Literal

from ganeti.base.errors import PrereqError

KeyValues = dict[str, str | bool | None]
Units = Literal["h", "m", "g", "t"]

SIZE_STEP = 4
"""Sizes that people type are rounded up to a multiple of this many MiB (the usual extent of a volume group)."""

_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?|\.[0-9]+)\s*([a-z]*)\s*", re.IGNORECASE)
_SIZE_FACTORS = {
    unit + suffix: factor for unit, factor in (("m", 1), ("g", 1024), ("t", 1024**2)) for suffix in ("", "b", "ib")
} | {"": 1}
_DURATION = re.compile(r"\s*([0-9]+)\s*([smhdw]?)\s*")
_DURATION_FACTORS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})
_DIGITS = re.compile(r"([0-9]+)")


# --- sizes and durations


def parse_size(text: str) -> int:
    """MiB of a size such as ``512``, ``1.5g`` or ``2T``: a bare number is MiB; rounded up to a multiple of `SIZE_STEP`."""
    match = _SIZE.fullmatch(text)
    factor = _SIZE_FACTORS.get(match[2].lower()) if match else None
    if match is None or factor is None:
        raise PrereqError(f"'{text}' is not a size; write a number of MiB, or a number with m, g or t, such as 10g")
    exact = Decimal(match[1]) * factor / SIZE_STEP
    return int(exact.to_integral_value(ROUND_CEILING)) * SIZE_STEP


def format_size(mib: float, units: Units = "h") -> str:
    """A size as people read it.

    ``h`` chooses the unit by the size and names it (``128M``, ``1.0G``, ``2.5T``); ``m``, ``g`` and ``t`` give the plain
    number in that unit, as scripts want it.
    """
    if units not in ("h", "m", "g", "t"):
        raise PrereqError(f"'{units}' is not a unit of size; use h, m, g or t")
    if units == "m" or (units == "h" and abs(mib) < 1024):
        return f"{round(mib):d}{'M' if units == 'h' else ''}"
    if units == "g" or (units == "h" and abs(mib) < 1024**2):
        return f"{mib / 1024:.1f}{'G' if units == 'h' else ''}"
    return f"{mib / 1024**2:.1f}{'T' if units == 'h' else ''}"


def parse_duration(text: str) -> int:
    """Seconds of a duration such as ``90``, ``5m``, ``2h``, ``1d`` or ``4w``."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise PrereqError(f"'{text}' is not a duration; write seconds, or a number with s, m, h, d or w, such as 5m")
    return int(match[1]) * _DURATION_FACTORS[match[2]]


def format_duration(seconds: float) -> str:
    """A duration as people read it: ``4.2s``, ``3m 5s``, ``2h 0m 1s``, ``1d 2h 0m 0s``."""
    if seconds < 60:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "m"), (rest, "s")]
    while parts[0][0] == 0:
        parts.pop(0)
    return " ".join(f"{number}{unit}" for number, unit in parts)


def parse_bool(text: str) -> bool:
    """Truth of ``yes``/``no``, ``true``/``false``, ``on``/``off``, ``1``/``0`` in any case."""
    word = text.strip().lower()
    if word not in _TRUE | _FALSE:
        raise PrereqError(f"'{text}' is neither yes nor no")
    return word in _TRUE


# --- lists and key=value texts


def split_escaped(text: str, separator: str = ",") -> list[str]:
    r"""Split at `separator` (one character) where no backslash stands before it; ``\x`` gives x. Empty text: no parts."""
    if not text:
        return []
    parts, current, escaped = [], "", False
    for char in text:
        if escaped:
            current += char
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == separator:
            parts.append(current)
            current = ""
        else:
            current += char
    parts.append(current + ("\\" if escaped else ""))
    return parts


def parse_keyval(text: str) -> KeyValues:
    """``k=v,flag,no_flag,-k``: texts, True for a bare name, False after ``no_``, None (unset) after ``-``.

    A backslash before a comma makes it part of the value. A key that stands there twice is an error.
    """
    result: KeyValues = {}
    for part in split_escaped(text):
        key, equals, value = part.partition("=")
        entry: str | bool | None
        if equals:
            entry = value
        elif key.startswith("no_"):
            key, entry = key[3:], False
        elif key.startswith("-"):
            key, entry = key[1:], None
        else:
            entry = True
        if not key:
            raise PrereqError(f"'{text}': '{part}' has no key; write key=value, separated by commas")
        if key in result:
            raise PrereqError(f"'{text}': key '{key}' is given twice")
        result[key] = entry
    return result


def parse_ident_keyval(text: str) -> tuple[str, KeyValues | Literal[False] | None]:
    """``ident:k=v,...``; ``no_ident`` gives (ident, False), ``-ident`` gives (ident, None), as in `parse_keyval`.

    A minus before a digit belongs to the identifier: ``-1:size=1g`` is about the last disk.
    """
    ident, colon, rest = text.partition(":")
    removal: Literal[False] | None
    if ident.startswith("no_"):
        ident, removal = ident[3:], False
    elif ident.startswith("-") and not ident[1:2].isdigit():
        ident, removal = ident[1:], None
    elif ident:
        return ident, parse_keyval(rest)
    else:
        raise PrereqError(f"'{text}' has no identifier; write identifier:key=value,...")
    if not ident or colon:
        raise PrereqError(f"'{text}': a removal is the bare identifier, without values")
    return ident, removal


def parse_multi_ident_keyval(text: str) -> list[dict[str, KeyValues]]:
    """``a:k=v/b:k=v//a:k=v``: a list (parts between ``//``) of key=value lists by identifier (parts between ``/``)."""
    result = []
    for item in text.split("//"):
        entry: dict[str, KeyValues] = {}
        for part in item.split("/"):
            ident, values = parse_ident_keyval(part)
            if not isinstance(values, dict):
                raise PrereqError(f"'{text}': '{part}' removes; only identifier:key=value,... is possible here")
            if ident in entry:
                raise PrereqError(f"'{text}': identifier '{ident}' is given twice in '{item}'")
            entry[ident] = values
        result.append(entry)
    return result


# --- order, tables, time


def natural_key(text: str) -> tuple[str | int, ...]:
    """Sort key that orders numbers inside texts by value: node2 before node10."""
    return tuple(int(part) if index % 2 else part for index, part in enumerate(_DIGITS.split(text)))


def format_table(
    rows: Iterable[Sequence[object]],
    headers: Sequence[str] | None = None,
    numeric_columns: Collection[int] = (),
    separator: str | None = None,
) -> list[str]:
    """Lines of a table. Cells are shown with `str`.

    Columns are padded to their widest cell and parted by one space; `numeric_columns` (positions) stand to the right, and a
    last column that does not is left unpadded. With a `separator` there is no padding at all: that is the form for scripts.
    """
    cells = [[str(cell) for cell in row] for row in rows]
    lines = [list(headers), *cells] if headers is not None else cells
    if separator is not None:
        return [separator.join(line) for line in lines]
    if not lines:
        return []
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    last = len(widths) - 1

    def pad(cell: str, index: int) -> str:
        if index in numeric_columns:
            return cell.rjust(widths[index])
        return cell if index == last else cell.ljust(widths[index])

    return [" ".join(pad(cell, index) for index, cell in enumerate(line)) for line in lines]


def format_timestamp(seconds: float) -> str:
    """Local date and time of seconds since 1970: ``2026-11-22 12:48:34``."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def format_split_timestamp(moment: Sequence[int]) -> str:
    """Local date and time of a job's [seconds, microseconds]: ``2026-11-22 12:48:34.000123``."""
    seconds, micro = moment
    return f"{format_timestamp(seconds)}.{micro:06d}"


def shorten(text: str, length: int) -> str:
    """The text, cut to `length` characters with ``...`` at the end if it is longer."""
    if len(text) <= length:
        return text
    return text[: max(length - 3, 0)] + "..."[:length]
