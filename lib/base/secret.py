"""Values that must not reach a log, a message or a traceback."""

from __future__ import annotations

import hmac
import secrets
from typing import Any, NoReturn

REDACTED = "<redacted>"


class Secret:
    """A text that shows itself only through `reveal`. Not a `str`, so that joining or formatting cannot leak it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The text itself. Hand it to a file, a pipe or the wire, never to argv or a log."""
        return self._value

    def __repr__(self) -> str:
        return REDACTED

    def __str__(self) -> str:
        return REDACTED

    def __format__(self, spec: str) -> str:
        return format(REDACTED, spec)

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret:
        return self

    def __reduce__(self) -> NoReturn:
        # Pickles end up in places that nobody thinks of as secret.
        raise TypeError("a Secret cannot be pickled; send what `reveal` returns over a channel meant for it")


def generate_token(size: int = 20) -> Secret:
    """A new random token of `size` bytes, written as twice as many hexadecimal digits."""
    return Secret(secrets.token_hex(size))
