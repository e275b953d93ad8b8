"""What a hypervisor gets from the agent it lives in: the doors to this node, as arguments."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

from ganeti.base.errors import HypervisorError
from ganeti.base.paths import Paths
from ganeti.base.proc import Runner
from ganeti.node.net.door import Net

T = TypeVar("T")


@dataclass(frozen=True)
class HypervisorEnvironment:
    """The doors of a hypervisor. `loop` is the agent's only event loop; node calls run in other threads than it."""

    paths: Paths
    loop: asyncio.AbstractEventLoop
    runner: Runner
    net: Net

    def wait(self, work: Coroutine[Any, Any, T], timeout: float, what: str) -> T:
        """Run a coroutine on the loop and wait for it; called from the threads in which node calls run.

        After `timeout` seconds the coroutine is cancelled and `HypervisorError`, naming `what` was waited for, is raised.
        """
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result(timeout)
        except concurrent.futures.TimeoutError:
            if future.done() and not future.cancelled():
                raise  # the coroutine's own
            future.cancel()
            raise HypervisorError(f"waited {timeout:g} s in vain for {what}") from None


@runtime_checkable
class Resident(Protocol):
    """Optional ability: a hypervisor that keeps something in the agent between calls (such as connections to its guests).

    Guests live on while the agent is restarted, so `open` finds them again and `close` must not hurt them.
    """

    async def open(self) -> None:
        """Called once on the loop before the first call. One guest that cannot be adopted is logged, not an error."""
        ...

    async def close(self) -> None:
        """Called once on the loop when the agent ends."""
        ...
