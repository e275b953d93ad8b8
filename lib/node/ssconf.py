"""The ssconf files of this node: reading them, and replacing them as the master says."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from ganeti.base.errors import PrereqError
from ganeti.base.files import ensure_directory, read_optional, remove_quietly, write_atomic
from ganeti.base.flock import FileLock
from ganeti.base.paths import Paths
from ganeti.model.ssconf import KEYS, MAX_SIZE

MODE = 0o444
LOCK_TIMEOUT = 10.0
"""Seconds to wait for another writer."""


class Ssconf:
    """The cluster facts this node holds."""

    def __init__(self, paths: Paths, *, lock_timeout: float = LOCK_TIMEOUT) -> None:
        self._paths = paths
        self._lock_timeout = lock_timeout

    def lines(self, key: str) -> list[str]:
        """The entries of one file; none if it is missing or empty."""
        assert key in KEYS, key
        text = read_optional(self._paths.ssconf(key)) or ""
        return [line for line in text.splitlines() if line.strip()]

    def value(self, key: str) -> str | None:
        """The only value of a file, or None."""
        lines = self.lines(key)
        return lines[0].strip() if lines else None

    def mapping(self, key: str, separator: str = " ") -> dict[str, str]:
        """Entries of the form "name<separator>value"."""
        pairs = (line.partition(separator) for line in self.lines(key))
        return {name.strip(): value.strip() for name, found, value in pairs if found}

    def flag(self, key: str) -> bool:
        return self.value(key) == "True"

    def write(self, values: dict[str, str]) -> None:
        """Replace files, each atomically. Nothing is written if a key is unknown or a value too long (`PrereqError`)."""
        for key, text in values.items():
            _check(key, text)
        ensure_directory(self._paths.data)
        with self._locked():
            for key, text in values.items():
                path = self._paths.ssconf(key)
                if read_optional(path) != _ended(text):
                    write_atomic(path, _ended(text), mode=MODE)

    def remove(self) -> None:
        """Forget the cluster."""
        if os.path.isdir(self._paths.data):
            with self._locked():
                for key in KEYS:
                    remove_quietly(self._paths.ssconf(key))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        os.makedirs(self._paths.lock, exist_ok=True)
        lock = FileLock(f"{self._paths.lock}/ganeti-ssconf.lock")
        lock.acquire(self._lock_timeout)
        try:
            yield
        finally:
            lock.release()


def _check(key: str, text: str) -> None:
    if key not in KEYS:
        raise PrereqError(f"'{key}' is not the name of an ssconf file; nothing was written")
    if len(text.encode()) > MAX_SIZE:
        raise PrereqError(f"value of ssconf file '{key}' is longer than {MAX_SIZE} bytes; nothing was written")


def _ended(text: str) -> str:
    return text if text.endswith("\n") else text + "\n"
