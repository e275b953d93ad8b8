"""Locks between devcluster commands."""

from __future__ import annotations

import os

import pytest

from ganeti.base.errors import LockTimeout
from ganeti.tools.devcluster.lock import locked

NAME = f"test-{os.getpid()}"


def test_second_holder_waits_and_is_told_why() -> None:
    with locked(NAME), pytest.raises(LockTimeout, match=f"another devcluster command \\({NAME}\\)"), locked(NAME, timeout=0.05):
        pass


def test_lock_is_free_after_the_block() -> None:
    for _turn in range(3):
        with locked(NAME, timeout=0):
            pass


def test_locks_of_other_names_do_not_interfere() -> None:
    with locked(NAME, timeout=0), locked(NAME + "b", timeout=0):
        pass
