"""The highest master epoch this node has seen. A master with a lower one has been replaced and commands nothing here."""

from __future__ import annotations

import os
import threading

from ganeti.base.errors import ConfigError, StaleEpoch
from ganeti.base.files import read_optional, write_atomic
from ganeti.base.paths import Paths


class EpochGuard:
    """The node's durable memory of epochs. May be used from any thread."""

    def __init__(self, paths: Paths) -> None:
        self._path = paths.epoch
        self._lock = threading.Lock()
        self._known = 0
        self._signature: tuple[int, int, int] | None = None

    @property
    def current(self) -> int:
        """The highest epoch seen; 0 before the first. Raises `ConfigError` if the file is damaged."""
        with self._lock:
            return self._read()

    def needs_write(self, epoch: int) -> bool:
        """Whether `admit` would write: cheap, and never wrong about an epoch that was admitted before."""
        return self.current < epoch

    def admit(self, epoch: int) -> None:
        """Accept a command of a master of this epoch; a higher one is on disk before this returns. Raises `StaleEpoch`."""
        with self._lock:
            known = self._read()
            if epoch < known:
                raise StaleEpoch(
                    f"the command comes from a master of epoch {epoch}, but this node has seen epoch {known}: "
                    "that master was replaced and must step down"
                )
            if epoch > known:
                write_atomic(self._path, f"{epoch}\n", mode=0o644)
                self._known, self._signature = epoch, self._stat()

    def _read(self) -> int:
        # Bootstrap and join write the file too, so it is read again when it was replaced.
        signature = self._stat()
        if signature != self._signature:
            self._known, self._signature = _parse(self._path, read_optional(self._path)), signature
        return self._known

    def _stat(self) -> tuple[int, int, int] | None:
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size


def _parse(path: str, text: str | None) -> int:
    if text is None:
        return 0
    if not text.strip().isdigit():
        # Guessing would let a master command that was replaced.
        raise ConfigError(f"{path} does not hold a number; write the epoch of the present master into it")
    return int(text)
