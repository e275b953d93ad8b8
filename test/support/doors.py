"""What hypervisors and node calls need around them, for tests in one process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ganeti.base import proc
from ganeti.base.paths import Paths
from ganeti.node.environment import HypervisorEnvironment
from ganeti.node.net.door import Net
from ganeti.node.net.memory import MemoryNet


@contextmanager
def running_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop that runs in a thread, as the agent's does for the threads of calls."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


@contextmanager
def open_doors(paths: Paths, *, runner: proc.Runner = proc.run, net: Net | None = None) -> Iterator[HypervisorEnvironment]:
    """The doors of a hypervisor over a running loop; nothing but files below the paths' root is real."""
    with running_loop() as loop:
        yield HypervisorEnvironment(paths, loop, runner, net or MemoryNet())
