"""The master daemon as a process of its own, with real workers and nodes in memory, so that it can be killed.

Run as a program: ``python -m support.masterd_process ROOT`` serves until it is ended; it says "up" on standard output.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from ganeti.base import log
from ganeti.base.paths import Paths
from ganeti.master.core import MasterCore
from ganeti.master.zygote import Zygote
from ganeti.model.ids import NodeUuid
from ganeti.model.objects import AnyObject, Node
from ganeti.rpc.memory import MemoryNode, MemoryNodeCaller
from ganeti.store.reader import Reader
from support.masterd import QuietNode, make_store
from support.objects import small_cluster


class MasterProcess:
    """Starts it and ends it."""

    def __init__(self, root: str, nodes: int = 2) -> None:
        self.paths = Paths(root, "node1")
        os.makedirs(self.paths.livelocks)
        os.makedirs(self.paths.sockets)
        make_store(self.paths, [_without_agent(obj) for obj in small_cluster(nodes)])
        Path(self.paths.ssconf("master_node")).write_text("node1\n")
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        path = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, sys.path)])
        with open(self.paths.log_file("masterd"), "ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "support.masterd_process", self.paths.root],
                env={"PYTHONPATH": path, "PATH": os.defpath},
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "up\n", Path(self.paths.log_file("masterd")).read_text()

    def kill(self) -> None:
        """As with SIGKILL: it can do nothing more."""
        self._end(subprocess.Popen.kill)

    def stop(self) -> None:
        self._end(subprocess.Popen.terminate)

    def _end(self, how: Callable[[subprocess.Popen[str]], None]) -> None:
        process, self._process = self._process, None
        if process is not None:
            how(process)
            process.wait(10)
            assert process.stdout is not None
            process.stdout.close()


def _without_agent(obj: AnyObject) -> AnyObject:
    """Nodes get addresses at which calls are refused at once."""
    if not isinstance(obj, Node):
        return obj
    address = f"127.0.0.{obj.name.removeprefix('node')}"
    return dataclasses.replace(obj, primary_ip=address, secondary_ip=address)


async def serve(paths: Paths) -> None:
    """The daemon's life."""
    with Reader(paths.store) as reader:
        nodes = reader.config().nodes
    agents = {NodeUuid(node.uuid): MemoryNode(node.name, [QuietNode(paths.root, node.name)]) for node in nodes}

    def make_nodes(reader: Reader, epoch: Callable[[], int]) -> MemoryNodeCaller:
        return MemoryNodeCaller(agents, epoch)

    core = MasterCore(paths, make_nodes, Zygote(paths))
    await core.start()
    print("up", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    own = Paths(sys.argv[1], "node1")
    log.setup(own.log_file("masterd"))
    asyncio.run(serve(own))
