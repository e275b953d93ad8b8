"""Command-line options derived from declared parameters (`ops.base.param`), and the readers of their values."""

from __future__ import annotations

import argparse
import enum
import typing
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Collection
from types import NoneType, UnionType
from typing import Any

from ganeti.base import text
from ganeti.base.errors import PrereqError
from ganeti.model.job import SUBMIT_PRIORITIES
from ganeti.ops.base import ParamInfo, params_of

Reader = Callable[[str], Any]


def reading(function: Reader) -> Reader:
    """A reader whose errors argparse shows as they are."""

    def read(value: str) -> Any:
        try:
            return function(value)
        except (PrereqError, ValueError) as err:
            raise ArgumentTypeError(str(err)) from err

    return read


def yesno(value: str) -> bool:
    """A truth value spelled out."""
    return text.parse_bool(value)


def comma_list(value: str) -> list[str]:
    """Comma separated words; a backslash keeps a comma."""
    return [word for word in text.split_escaped(value) if word]


def maybe_float(value: str) -> float:
    """A number."""
    return float(value)


class IdentKeyVal(argparse.Action):
    """``-H kvm:a=b,c=d``, repeatable: collected into a dict of dicts."""

    def __call__(
        self, parser: ArgumentParser, namespace: Any, values: Any, option_string: str | None = None
    ) -> None:
        collected = dict(getattr(namespace, self.dest, None) or {})
        try:
            ident, values = text.parse_ident_keyval(values)
        except (PrereqError, ValueError) as err:
            raise argparse.ArgumentError(self, str(err)) from err
        collected[ident] = {**(collected.get(ident) or {}), **values} if isinstance(values, dict) else values
        setattr(namespace, self.dest, collected)


READERS: dict[str, Reader] = {
    "unit": reading(text.parse_size),
    "keyval": reading(text.parse_keyval),
    "list": reading(comma_list),
    "multi": reading(text.parse_multi_ident_keyval),
    "yesno": reading(yesno),
    "duration": reading(text.parse_duration),
}


def add_options(parser: ArgumentParser, cls: type, skip: Collection[str] = ()) -> None:
    """Add an option for each parameter of `cls` that has flags."""
    for name, (hint, field, info) in params_of(cls).items():
        if info.flags and name not in skip:
            add_option(parser, name, hint, field.default, info)


def add_option(parser: ArgumentParser, name: str, hint: Any, default: Any, info: ParamInfo) -> None:
    """Add the option of one parameter. Its value is absent from the result unless it was given."""
    common: dict[str, Any] = {
        "dest": name,
        "default": argparse.SUPPRESS,
        "help": info.help.replace("%", "%%") or None,
    }
    metavar: dict[str, Any] = {"metavar": info.metavar} if info.metavar else {}
    if info.cli_type == "priority":
        parser.add_argument(*info.flags, choices=sorted(SUBMIT_PRIORITIES), **common)
    elif info.cli_type == "identkeyval":
        parser.add_argument(
            *info.flags, action=IdentKeyVal, metavar=info.metavar or "IDENT:NAME=VALUE,...", **common
        )
    elif info.cli_type:
        shown = metavar or ({"metavar": "yes|no"} if info.cli_type == "yesno" else {})
        parser.add_argument(*info.flags, type=READERS[info.cli_type], **shown, **common)
    else:
        _add_by_type(parser, hint, default, info, {**metavar, **common})


def _add_by_type(
    parser: ArgumentParser, hint: Any, default: Any, info: ParamInfo, common: dict[str, Any]
) -> None:
    switch = {key: value for key, value in common.items() if key != "metavar"}
    base, optional = unwrap(hint)
    if base is bool and any(flag.startswith("--no-") for flag in info.flags) and default is True:
        parser.add_argument(*info.flags, action="store_false", **switch)
    elif base is bool and (
        not optional or any(flag.startswith(("--no-", "--dry-run")) for flag in info.flags)
    ):
        parser.add_argument(*info.flags, action="store_true", **switch)
    elif base is bool:
        parser.add_argument(*info.flags, type=READERS["yesno"], **{"metavar": "yes|no", **common})
    elif typing.get_origin(base) is typing.Literal:
        parser.add_argument(*info.flags, choices=list(typing.get_args(base)), **common)
    elif isinstance(base, type) and issubclass(base, enum.Enum):
        parser.add_argument(*info.flags, choices=[str(member.value) for member in base], **common)
    elif typing.get_origin(base) in (list, tuple):
        parser.add_argument(*info.flags, action="append", **common)
    else:
        reader = base if base in (int, float) else str
        parser.add_argument(*info.flags, type=reader, **common)


def unwrap(hint: Any) -> tuple[Any, bool]:
    """``T | None`` -> (T, True); anything else -> (itself, False)."""
    if typing.get_origin(hint) in (typing.Union, UnionType):
        inner = [arg for arg in typing.get_args(hint) if arg is not NoneType]
        return inner[0], len(inner) < len(typing.get_args(hint))
    return hint, False


def given(args: Any, cls: type) -> dict[str, Any]:
    """The parameters of `cls` that the command line gave, in wire form."""
    names = params_of(cls)
    values = {name: value for name, value in vars(args).items() if name in names}
    if isinstance(values.get("priority"), str):
        values["priority"] = SUBMIT_PRIORITIES[values["priority"]]
    return values
