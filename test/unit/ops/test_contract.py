"""Every opcode has the parameters, defaults, summary and hooks of the public contract (test/compat/data)."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from ganeti.base import codec
from ganeti.base.errors import DecodeError
from ganeti.ops import registry
from ganeti.ops.base import params_of

DATA = Path(__file__).resolve().parents[2] / "compat" / "data"
CONTRACT: dict[str, Any] = json.loads((DATA / "opcodes.json").read_text())["opcodes"]
OPS = sorted(registry.import_all())
COMMON = {"dry_run", "debug_level", "priority", "depends", "comment", "reason"}
OURS = {
    "OP_NODE_ADD": {"certificate_digest", "ssh_host_key", "ssh_root_key"},
}
"""Parameters of our own, all of them optional."""


def samples(kind: Any) -> list[Any]:
    """Values that a parameter of this type must take."""
    simple = {
        "str": ["text"],
        "nestr": ["text"],
        "bool": [True, False],
        "int": [3],
        "float": [1, 1.5],
        "any": [{"x": 1}],
    }
    if isinstance(kind, str):
        return simple[kind]
    word, *args = kind
    if word == "maybe":
        return [None, *samples(args[0])]
    if word == "nonneg":
        return [0, 5]
    if word == "enum":
        return list(args[0])
    if word in ("list", "set"):
        return [[], samples(args[0])]
    if word == "dict":
        keys = [key for key in samples(args[0]) if isinstance(key, str)]
        return [{}, *({key: value} for key in keys for value in samples(args[1]))]
    if word == "or":
        return [value for arg in args for value in samples(arg)]
    if word in ("private", "secret"):
        return ["hidden"]
    raise AssertionError(f"no samples for {kind}")


def test_every_opcode_stands_in_the_contract() -> None:
    assert set(OPS) - set(CONTRACT) == set()


@pytest.mark.parametrize("op_id", OPS)
def test_parameters_defaults_and_types_are_those_of_the_contract(op_id: str) -> None:
    cls = registry.find(op_id)
    assert cls is not None
    ours = {name: entry for name, entry in params_of(cls).items() if name not in COMMON}
    wanted = {entry["name"]: entry for entry in CONTRACT[op_id]["params"]}
    assert set(ours) - OURS.get(op_id, set()) == set(wanted)
    for name, entry in wanted.items():
        hint, field, _ = ours[name]
        if entry["required"]:
            assert not has_default(field), f"{name} has a default"
        else:
            default = field.default_factory() if callable(field.default_factory) else field.default
            assert codec.encode(default) == entry["default"], f"default of {name}"
        for value in samples(entry["type"]):
            try:
                codec.decode(hint, value, name)
            except DecodeError as err:
                pytest.fail(f"{op_id} does not take {name}={value!r}: {err}")


def has_default(field: Any) -> bool:
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


@pytest.mark.parametrize("op_id", OPS)
def test_summary_and_hooks_are_those_of_the_contract(op_id: str) -> None:
    cls = registry.find(op_id)
    assert cls is not None
    assert CONTRACT[op_id]["dsc_field"] == cls.SUMMARY_FIELD
    hooks = (cls.HOOKS.path, cls.HOOKS.object_type) if cls.HOOKS else (None, None)
    assert hooks == (CONTRACT[op_id]["hooks_path"], CONTRACT[op_id]["hooks_type"])


@pytest.mark.parametrize("op_id", OPS)
def test_every_parameter_has_a_help_text_and_no_flag_stands_twice(op_id: str) -> None:
    cls = registry.find(op_id)
    assert cls is not None
    infos = {name: info for name, (_, _, info) in params_of(cls).items() if name not in COMMON}
    assert [name for name, info in infos.items() if not info.help] == []
    flags = [flag for info in infos.values() for flag in info.flags]
    assert len(flags) == len(set(flags))
    assert cls.__doc__ and not cls.__doc__.startswith(f"{cls.__name__}(")
