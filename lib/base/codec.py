"""JSON, and typed values in and out of it.

`loads`/`dumps` (from `jsontext`) are the only JSON in the system. `decode(type, value)` checks a JSON value strictly against
a type and builds it (dataclasses, enums, unions, containers); `encode(value)` is its inverse. A decoder is compiled once per
type.

Rules: unknown keys are refused; a missing key takes the field's default; an int is accepted where a float is required, never the
other way; ``bool`` is not an int; a union of dataclasses is told apart by a ``kind: Literal[...]`` field; tuples of fixed
length keep their length; sets are encoded sorted. A class with a wire form of its own has ``__json_encode__()`` and a class
method ``__json_decode__(value, path)``.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import functools
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ganeti.base import jsontext
from ganeti.base.errors import DecodeError
from ganeti.base.secret import Secret

T = TypeVar("T")
Decoder = Callable[[Any, str], Any]

loads = jsontext.loads
dumps = jsontext.dumps


def to_json(value: Any) -> str:
    """JSON text of a typed value."""
    return dumps(encode(value))


def from_json(cls: type[T], text: str | bytes) -> T:
    """A typed value from JSON text; raises `DecodeError` with the path of what is wrong."""
    return decode(cls, loads(text))


# --- encoding


def encode(value: Any) -> Any:
    """The plain JSON value (dict, list, str, int, float, bool, None) of a typed one. Secrets are revealed."""
    if value is None or type(value) in (str, int, float, bool):
        return value
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Secret):
        return value.reveal()
    own = getattr(value, "__json_encode__", None)
    if own is not None:
        return own()
    if isinstance(value, (str, int, float)):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: encode(getattr(value, name)) for name in _field_names(type(value))}
    if isinstance(value, Mapping):
        return {str(encode(key)): encode(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(encode(item) for item in value)
    if isinstance(value, (list, tuple)):
        return [encode(item) for item in value]
    raise TypeError(f"cannot encode {type(value).__name__}")


@functools.cache
def _field_names(cls: type) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(cls))


# --- decoding


def decode(cls: type[T] | Any, value: Any, path: str = "") -> T:
    """Check a JSON value against a type and build it; raises `DecodeError` naming the place."""
    result: T = decoder(typing.cast(typing.Hashable, cls))(value, path)
    return result


@functools.cache
def decoder(cls: Any) -> Decoder:
    """The compiled decoder of a type: a function of (value, path)."""
    if isinstance(cls, typing.NewType):
        return decoder(cls.__supertype__)
    origin, args = typing.get_origin(cls), typing.get_args(cls)
    if origin is typing.Annotated:
        return decoder(args[0])
    if origin in (typing.Union, types.UnionType):
        return _union_decoder(args)
    if origin is typing.Literal:
        return _literal_decoder(args)
    if origin is not None or cls in (list, tuple, dict, set, frozenset):
        return _container_decoder(origin or cls, args)
    return _SIMPLE.get(cls) or _class_decoder(cls)


def _class_decoder(cls: Any) -> Decoder:
    own = getattr(cls, "__json_decode__", None)
    if own is not None:
        return typing.cast(Decoder, own)
    if isinstance(cls, type) and issubclass(cls, enum.Enum):
        return _enum_decoder(cls)
    if dataclasses.is_dataclass(cls):
        return _lazy_dataclass_decoder(cls)
    raise TypeError(f"no JSON form for {cls!r}")


def _describe(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "a boolean", int: "a number", float: "a number"}
    return "null" if value is None else names.get(type(value), type(value).__name__)


def _expect(kind: type, word: str, value: Any, path: str) -> Any:
    if type(value) is not kind and not (isinstance(value, kind) and not isinstance(value, bool)):
        raise DecodeError(path, f"expected {word}, got {_describe(value)}")
    return value


def _decode_any(value: Any, _path: str) -> Any:
    return value


def _decode_none(value: Any, path: str) -> None:
    if value is not None:
        raise DecodeError(path, f"expected null, got {_describe(value)}")


def _decode_bool(value: Any, path: str) -> bool:
    if not isinstance(value, bool):
        raise DecodeError(path, f"expected a boolean, got {_describe(value)}")
    return value


def _decode_float(value: Any, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise DecodeError(path, f"expected a number, got {_describe(value)}")
    return float(value)


_SIMPLE: dict[Any, Decoder] = {
    str: lambda value, path: _expect(str, "text", value, path),
    int: lambda value, path: _expect(int, "a whole number", value, path),
    bool: _decode_bool,
    float: _decode_float,
    None: _decode_none,
    type(None): _decode_none,
    Any: _decode_any,
    object: _decode_any,
    Secret: lambda value, path: Secret(_expect(str, "text", value, path)),
}


def _literal_decoder(choices: tuple[Any, ...]) -> Decoder:
    def decode_literal(value: Any, path: str) -> Any:
        for choice in choices:
            if value == choice and type(value) is type(choice):
                return choice
        raise DecodeError(path, f"expected one of {', '.join(map(repr, choices))}, got {value!r}")

    return decode_literal


def _enum_decoder(cls: type[enum.Enum]) -> Decoder:
    members = {member.value: member for member in cls}

    def decode_enum(value: Any, path: str) -> Any:
        try:
            return members[value]
        except (KeyError, TypeError):
            words = ", ".join(str(word) for word in members)
            raise DecodeError(path, f"expected one of {words}; got {value!r}") from None

    return decode_enum


def _union_decoder(options: tuple[Any, ...]) -> Decoder:
    tagged = {tag: decoder(option) for option in options for tag in _tags(option)}
    plain = [decoder(option) for option in options if not _tags(option)]

    def decode_union(value: Any, path: str) -> Any:
        if tagged and isinstance(value, dict) and "kind" in value:
            chosen = tagged.get(value["kind"])
            if chosen is None:
                raise DecodeError(path, f"unknown kind {value['kind']!r}")
            return chosen(value, path)
        errors: list[DecodeError] = []
        for option in plain:
            try:
                return option(value, path)
            except DecodeError as err:
                errors.append(err)
        # The option that got furthest into the data has the most to say about it.
        raise max(errors, key=lambda err: len(err.path)) if errors else DecodeError(path, f"unexpected {_describe(value)}")

    return decode_union


def _tags(cls: Any) -> tuple[Any, ...]:
    if not dataclasses.is_dataclass(cls):
        return ()
    hint = typing.get_type_hints(cls).get("kind")
    return typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()


def _container_decoder(origin: Any, args: tuple[Any, ...]) -> Decoder:
    if origin in (dict, collections.abc.Mapping):
        return _mapping_decoder(args or (str, Any))
    if origin is tuple and args and args[-1] is not Ellipsis:
        return _fixed_tuple_decoder(args)
    build: Callable[[list[Any]], Any]
    if origin in (list, collections.abc.Sequence):
        build = list
    elif origin in (tuple, set, frozenset):
        build = origin
    else:
        raise TypeError(f"no JSON form for {origin!r}")
    item = decoder(args[0] if args else Any)

    def decode_sequence(value: Any, path: str) -> Any:
        if not isinstance(value, (list, tuple)):
            raise DecodeError(path, f"expected a list, got {_describe(value)}")
        return build([item(entry, f"{path}[{index}]") for index, entry in enumerate(value)])

    return decode_sequence


def _mapping_decoder(args: tuple[Any, ...]) -> Decoder:
    decode_key, decode_value = decoder(args[0]), decoder(args[1])
    key_is_int = args[0] is int

    def decode_mapping(value: Any, path: str) -> Any:
        if not isinstance(value, dict):
            raise DecodeError(path, f"expected an object, got {_describe(value)}")
        result = {}
        for key, entry in value.items():
            where = f"{path}.{key}" if path else str(key)
            # Object keys are always text in JSON; whole numbers come back as such.
            wire_key = int(key) if key_is_int and isinstance(key, str) and key.lstrip("-").isdigit() else key
            result[decode_key(wire_key, where)] = decode_value(entry, where)
        return result

    return decode_mapping


def _fixed_tuple_decoder(args: tuple[Any, ...]) -> Decoder:
    items = [decoder(arg) for arg in args]

    def decode_tuple(value: Any, path: str) -> Any:
        if not isinstance(value, (list, tuple)) or len(value) != len(items):
            raise DecodeError(path, f"expected a list of {len(items)} entries, got {_describe(value)}")
        return tuple(item(entry, f"{path}[{index}]") for index, (item, entry) in enumerate(zip(items, value, strict=True)))

    return decode_tuple


def _lazy_dataclass_decoder(cls: Any) -> Decoder:
    # Compiled at first use, so that classes may refer to themselves.
    compiled: list[Decoder] = []

    def decode_dataclass(value: Any, path: str) -> Any:
        if not compiled:
            compiled.append(_dataclass_decoder(cls))
        return compiled[0](value, path)

    return decode_dataclass


def _dataclass_decoder(cls: Any) -> Decoder:
    hints = typing.get_type_hints(cls, include_extras=True)
    fields = [field for field in dataclasses.fields(cls) if field.init]
    decoders = {field.name: decoder(hints[field.name]) for field in fields}
    required = [
        field.name
        for field in fields
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]

    def decode_fields(value: Any, path: str) -> Any:
        if not isinstance(value, dict):
            raise DecodeError(path, f"expected an object, got {_describe(value)}")
        arguments = {}
        for key, entry in value.items():
            decode_field = decoders.get(key)
            if decode_field is None:
                raise DecodeError(f"{path}.{key}" if path else str(key), "unknown field")
            arguments[key] = decode_field(entry, f"{path}.{key}" if path else key)
        for name in required:
            if name not in arguments:
                raise DecodeError(f"{path}.{name}" if path else name, "is missing")
        return cls(**arguments)

    return decode_fields
