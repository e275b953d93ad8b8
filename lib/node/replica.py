"""This node's copy of the cluster store, open while entries come in and given back when they stop.

The copy's file lock keeps a second writer away. It must not be held for ever: when this candidate becomes the master, its
master daemon has to get it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import os
import time

from ganeti.base.errors import DecodeError
from ganeti.base.files import ensure_directory
from ganeti.store.replica import Replica

IDLE = 3.0
"""Seconds without entries after which the file is given back."""


class ReplicaKeeper:
    """A `Replica` that closes itself. Methods block and may be used from any thread but the loop's."""

    def __init__(self, path: str, loop: asyncio.AbstractEventLoop, *, idle: float = IDLE) -> None:
        self._replica = Replica(path)
        self._loop = loop
        self._idle = idle
        self._last_use = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def append(self, rows: list[tuple[int, int, str]]) -> int:
        """See `Replica.append`."""
        self._prepare()
        return self._replica.append(rows)

    def replace(self, snapshot: str, serial: int) -> int:
        """Replace the copy by a snapshot in base64. Raises `DecodeError` besides what `Replica.replace` raises."""
        try:
            content = base64.b64decode(snapshot, validate=True)
        except (binascii.Error, ValueError) as err:
            raise DecodeError("snapshot", f"it is not base64: {err}") from err
        self._prepare()
        return self._replica.replace(content, serial)

    def remove(self) -> None:
        """This node is no candidate any more."""
        if os.path.exists(self._replica.path):
            self._replica.remove()

    def close(self) -> None:
        self._replica.close()

    def _prepare(self) -> None:
        directory = os.path.dirname(self._replica.path)
        if not os.path.isdir(directory):
            ensure_directory(directory, 0o750)
        self._last_use = time.monotonic()
        self._loop.call_soon_threadsafe(self._arm)

    # --- on the loop
    def _arm(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(self._idle, self._look)

    def _look(self) -> None:
        self._timer = None
        if time.monotonic() - self._last_use < self._idle:
            self._arm()
        else:
            self._loop.run_in_executor(None, self._replica.close)
