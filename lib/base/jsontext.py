"""JSON text: the one place where the JSON library is chosen.

A module of its own, without `codec`'s typed values, because programs whose start-up time counts (every `gnt-*` command) need
JSON on a socket and nothing else.
"""

from __future__ import annotations

import simplejson

from ganeti.base.errors import DecodeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def loads(text: str | bytes) -> Any:
    """Parse JSON text; raises `DecodeError` for anything else."""
    try:
        return simplejson.loads(text)
    except (ValueError, RecursionError) as err:
        raise DecodeError("", f"not valid JSON: {err}") from err


def dumps(value: Any, *, indent: int | None = None) -> str:
    """JSON text of a plain value; compact unless `indent` is given; keys keep their order."""
    separators = (",", ":") if indent is None else (",", ": ")
    return str(
        simplejson.dumps(value, separators=separators, indent=indent, tuple_as_array=True, namedtuple_as_object=False)
    )
