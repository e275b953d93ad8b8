"""Invariants of the configuration. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ganeti.model.changes import Step
from ganeti.model.index import IndexedRows


def check_changes(after: IndexedRows, steps: Sequence[Step]) -> None:
    """Raise `ConfigError` if the changes broke an invariant."""
