"""Undo what was done if the rest fails.

    with Undo() as undo:
        create_volume(name)
        undo.push(remove_volume, name)
        attach_volume(name)
        undo.commit()

Each step that makes something registers its undo on the next line. What was not committed is undone in reverse when the block
ends, by an exception or without one (an early return, a forgotten commit).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import TracebackType
from typing import Any, ParamSpec, Self

P = ParamSpec("P")

log = logging.getLogger(__name__)


class Undo:
    """A stack of undo steps. A step that fails is logged and noted on the original exception; the others still run."""

    def __init__(self) -> None:
        self._steps: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = []

    def push(self, function: Callable[P, Any], *args: P.args, **kwargs: P.kwargs) -> None:
        """Register what reverts the step just done."""
        self._steps.append((function, args, kwargs))

    def commit(self) -> None:
        """Forget all steps: what was done stays."""
        self._steps.clear()

    def revert(self) -> list[str]:
        """Run the steps now, last one first. Returns a line for each that failed."""
        failures = []
        while self._steps:
            function, args, kwargs = self._steps.pop()
            name = getattr(function, "__qualname__", repr(function))
            log.info("undoing: %s", name)
            try:
                function(*args, **kwargs)
            except Exception as err:
                # The reason why we are here matters more than this one, and the remaining steps still have to run.
                log.exception("undo step %s failed", name)
                failures.append(f"undoing by {name} failed: {err}")
        return failures

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for line in self.revert():
            if error is not None:
                error.add_note(line)
