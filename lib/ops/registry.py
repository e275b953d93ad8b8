"""Finding an opcode's class by its id. Families are imported on first use: start-up time is a feature."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from typing import Any

import ganeti.ops as _package
from ganeti.ops.base import Op

# The family (sub-package of ops) that holds the opcodes of each prefix, longest prefix first.
FAMILIES = ("cluster", "group", "node", "instance", "network", "backup", "tags", "os", "query", "test")
_PREFIXES = {"OP_OOB": "node", "OP_RESTRICTED": "node", "OP_REPAIR": "node", "OP_EXT": "os"}


def find(op_id: str) -> type[Op[Any, Any]] | None:
    """The class of an opcode, or None. Imports its family."""
    family = next((name for prefix, name in _PREFIXES.items() if op_id.startswith(prefix)), None)
    if family is None:
        family = next((name for name in FAMILIES if op_id.startswith(f"OP_{name.upper()}_")), None)
    return _family(family).get(op_id) if family else None


def import_all() -> dict[str, type[Op[Any, Any]]]:
    """Every opcode there is, by id."""
    found: dict[str, type[Op[Any, Any]]] = {}
    for family in FAMILIES:
        found.update(_family(family))
    return found


@functools.cache
def _family(name: str) -> dict[str, type[Op[Any, Any]]]:
    try:
        package = importlib.import_module(f"{_package.__name__}.{name}")
    except ModuleNotFoundError as err:
        if err.name != f"{_package.__name__}.{name}":
            raise
        return {}
    found: dict[str, type[Op[Any, Any]]] = {}
    for info in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        module = importlib.import_module(info.name)
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, Op) and value.__module__ == info.name:
                found[value.OP_ID] = value
    return found
