"""``ganeti-masterd``, the master daemon: runs `master.core` until it is told to stop or finds that it must not go on.

Jobs do not depend on it: their processes go on while it is restarted, or after it has been killed.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
from collections.abc import Callable, Sequence
from typing import Any

from ganeti.base.daemon import install_signal_handlers, run_daemon
from ganeti.base.paths import Paths
from ganeti.master.core import MasterCore
from ganeti.master.zygote import Zygote
from ganeti.model.ids import NodeUuid
from ganeti.rpc.call import NodeCaller
from ganeti.rpc.http import HttpsNodeCaller
from ganeti.rpc.nodes import PORT, NodeTarget
from ganeti.rpc.tls import Credentials
from ganeti.store.reader import Reader

NAME = "ganeti-masterd"


def https_nodes(paths: Paths, port: int = PORT) -> Callable[[Reader, Callable[[], int]], NodeCaller]:
    """Makes the door to the real nodes, whose addresses are those of the configuration."""

    def make(reader: Reader, epoch: Callable[[], int]) -> NodeCaller:
        def resolve(uuid: NodeUuid) -> NodeTarget:
            node = reader.config().node(uuid)
            return NodeTarget(node.name, node.primary_ip, node.offline)

        return HttpsNodeCaller(resolve, Credentials.of(paths), epoch, port)

    return make


async def serve(paths: Paths, options: argparse.Namespace, ready: Callable[[], None]) -> None:
    """Be the master daemon until SIGTERM; raises what makes it impossible to go on."""
    core = MasterCore(paths, https_nodes(paths, options.port), Zygote(paths))
    stop = asyncio.Event()
    install_signal_handlers(asyncio.get_running_loop(), stop.set, core.reopen_logs)
    stopped = asyncio.ensure_future(stop.wait())
    try:
        await core.start()
        # What exists now lives as long as the daemon: the garbage collector need not look at it again.
        gc.freeze()
        ready()
        ends: list[asyncio.Future[Any]] = [stopped, core.failed]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if core.failed.done():
            await core.failed
    finally:
        stopped.cancel()
        await core.stop()


def main(argv: Sequence[str] | None = None) -> int:
    """The daemon's program; returns its exit status (11: this node is not the master)."""
    paths = Paths.from_environment()

    def configure(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("-p", "--port", type=int, default=PORT, help="port of the nodes' agents")

    def run(options: argparse.Namespace, ready: Callable[[], None]) -> None:
        asyncio.run(serve(paths, options, ready))

    return run_daemon(NAME, run, paths, description="the master daemon", configure=configure, argv=argv)
