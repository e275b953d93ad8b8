"""Locks on files: they vanish with the process that holds them, so a lock also proves that its holder lives.

`flock(2)` belongs to the open file: a forked child shares it, and it ends when the last of them closes the file or dies.
"""

from __future__ import annotations

import fcntl
import os
from types import TracebackType
from typing import Self

from ganeti.base.errors import LockTimeout, Timeout
from ganeti.base.retry import wait_until


class FileLock:
    """A lock on `path`, which is created and never removed (removing it would let two holders in).

    As a context manager it waits without limit for the exclusive lock. A forked child keeps the lock too, unless it calls
    `forget`; started programs do not, unless `inheritable` is True.
    """

    def __init__(self, path: str, *, inheritable: bool = False, mode: int = 0o600) -> None:
        self.path = path
        self._inheritable = inheritable
        self._mode = mode
        self._handle: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds its lock."""
        return self._handle is not None

    def acquire(self, timeout: float | None = None, *, shared: bool = False) -> None:
        """Wait up to `timeout` seconds (None: without limit) for the lock; raises `LockTimeout`."""
        if timeout is None:
            self._lock(fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
            return
        try:
            wait_until(lambda: self.try_acquire(shared=shared), timeout=timeout, interval=0.01, backoff=1.5, max_interval=0.25)
        except Timeout:
            raise LockTimeout(f"lock {self.path} is held by another process; waited {timeout:g} s for it") from None

    def try_acquire(self, *, shared: bool = False) -> bool:
        """Take the lock if nobody holds it; False otherwise."""
        try:
            self._lock((fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _lock(self, how: int) -> None:
        if self._handle is not None:
            raise RuntimeError(f"lock {self.path} is already held by this object")
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, self._mode)
        try:
            fcntl.flock(handle, how)
        except BaseException:
            os.close(handle)
            raise
        os.set_inheritable(handle, self._inheritable)
        self._handle = handle

    def release(self) -> None:
        """Give the lock back, also on behalf of forked children; nothing happens if it is not held."""
        if self._handle is not None:
            fcntl.flock(self._handle, fcntl.LOCK_UN)
            self.forget()

    def forget(self) -> None:
        """Close this process's copy only: a parent or child that shares the lock goes on holding it."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def write(self, text: str) -> None:
        """Replace the content of the file (a process id, say). Only while holding the lock."""
        handle = self._require_held()
        os.ftruncate(handle, 0)
        os.pwrite(handle, text.encode(), 0)

    def fileno(self) -> int:
        """Descriptor of the locked file, to hand to a child. Only while holding the lock."""
        return self._require_held()

    def _require_held(self) -> int:
        if self._handle is None:
            raise RuntimeError(f"lock {self.path} is not held")
        return self._handle

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()


def is_locked(path: str) -> bool:
    """Whether anybody (this process too) holds the lock. Never creates the file, never keeps the lock."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
