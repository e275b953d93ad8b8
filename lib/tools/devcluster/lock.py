"""One command at a time for each cluster, and one at a time that chooses a network.

The lock is an abstract Unix socket: it ends with its process, leaves no file behind (`down` leaves no trace), and processes that
live in different network namespaces do not disturb each other, as they must not.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from ganeti.base.errors import LockTimeout, Timeout
from ganeti.base.retry import wait_until


@contextmanager
def locked(what: str, timeout: float = 120.0) -> Iterator[None]:
    """Hold the lock of this name; wait up to `timeout` seconds for whoever has it. Raises `LockTimeout`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as holder:

        def take() -> bool:
            try:
                holder.bind(f"\0ganeti-devcluster/{what}")
            except OSError:
                return False
            return True

        try:
            wait_until(take, timeout=timeout, interval=0.05, backoff=1.5, max_interval=0.5)
        except Timeout:
            raise LockTimeout(f"another devcluster command ({what}) is at work; waited {timeout:g} s for it") from None
        yield
