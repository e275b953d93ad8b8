"""The master daemon inside a test: the real `MasterCore` with its sockets, nodes in memory, and workers that the test plays."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from ganeti.base import codec
from ganeti.base.flock import FileLock
from ganeti.base.paths import Paths
from ganeti.master.core import MasterCore, Parts
from ganeti.master.workers import SpawnEvents
from ganeti.model.ids import NodeUuid
from ganeti.model.objects import Node, Put
from ganeti.rpc import frames
from ganeti.rpc.jobs import Held, OpProgress
from ganeti.rpc.memory import MemoryNode, MemoryNodeCaller
from ganeti.rpc.node.node import LogRange, MasterAddress, NodeApi
from ganeti.store.reader import Reader
from ganeti.store.replica import Replica
from ganeti.store.writer import Store
from support.objects import small_cluster

PATIENCE = 10.0
"""Seconds after which a test gives up waiting for something."""


class QuietNode(NodeApi):
    """A node that takes what the master daemon sends by itself; a candidate keeps a real replica."""

    def __init__(self, directory: str, name: str) -> None:
        self.addresses: list[str] = []
        self.ssconf: dict[str, str] = {}
        self._replica = Replica(os.path.join(directory, f"replica-{name}.db"))

    def master_address_start(self, address: MasterAddress) -> None:
        self.addresses.append(address.ip)

    def write_ssconf(self, values: dict[str, str]) -> None:
        self.ssconf.update(values)

    def upload_file(self, name: str, content: Any) -> None:
        """Taken and forgotten."""

    def store_append(self, log: LogRange) -> int:
        return self._replica.append(log.rows)

    def store_replace(self, snapshot: str, serial: int) -> int:
        raise NotImplementedError


class ManualSpawner:
    """Writes down which workers are wanted; the test makes them."""

    def __init__(self) -> None:
        self.wanted: list[str] = []
        self.events: SpawnEvents | None = None
        self._closed = asyncio.Event()
        self._asked = asyncio.Event()

    async def run(self, events: SpawnEvents) -> None:
        self.events = events
        events.ready()
        await self._closed.wait()

    def spawn(self, name: str) -> bool:
        if self.events is None:
            return False
        self.wanted.append(name)
        self._asked.set()
        return True

    def reopen_logs(self) -> None:
        """Nothing logs."""

    async def close(self) -> None:
        self._closed.set()

    async def next_name(self) -> str:
        """The name of a worker that is wanted."""
        while not self.wanted:
            self._asked.clear()
            await asyncio.wait_for(self._asked.wait(), PATIENCE)
        return self.wanted.pop(0)


class Client:
    """A client of one of the daemon's sockets."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def connect(self) -> None:
        self.reader, self.writer = await asyncio.open_unix_connection(self.path)

    async def send(self, method: str, *args: Any) -> None:
        await frames.write_frame(self.writer, frames.request(method, [codec.encode(arg) for arg in args]))

    async def receive(self) -> Any:
        """The next answer; raises the error it carries."""
        return frames.parse_response(await asyncio.wait_for(frames.read_frame(self.reader), PATIENCE))

    async def call(self, method: str, *args: Any) -> Any:
        await self.send(method, *args)
        return await self.receive()

    async def hang_up(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except OSError:
            pass  # it had been hung up on

    async def status(self, job: int) -> str:
        return str((await self.call("QueryJobs", [job], ["status"]))[0][0])

    async def wait_for(self, job: int, *statuses: str) -> list[Any]:
        """Follow a job until it has one of these statuses (none: is final); returns [status, results]."""
        wanted = statuses or ("success", "error", "canceled")
        row: Any = None
        while row is None or row[0] not in wanted:
            row, _ = await self.call("WaitForJobChange", job, ["status", "opresult"], row, None, PATIENCE)
        return list(row)


class Worker(Client):
    """A worker that does what the test says."""

    def __init__(self, path: str, directory: str, name: str) -> None:
        super().__init__(path)
        self.name = name
        self.lock = FileLock(os.path.join(directory, name))
        self.lock.acquire(0)
        self.job = 0

    async def attach(self, job: int | None = None, held: Held | None = None) -> int:
        """Connect (again)."""
        await self.connect()
        epoch: int = await self.call("attach", self.name, os.getpid(), job, held or Held())
        return epoch

    async def take(self) -> dict[str, Any]:
        """The next job."""
        assignment: dict[str, Any] = await self.call("next_job")
        self.job = assignment["job"]
        return assignment

    async def report(self, status: str, index: int = 0, result: Any = None) -> None:
        await self.call("op_progress", self.job, OpProgress(index, status, result))

    async def finish(self, *results: Any, status: str = "success") -> None:
        progress = [OpProgress(index, status, result) for index, result in enumerate(results or (None,))]
        await self.call("job_finished", self.job, progress)

    async def acquire(self, *names: str, shared: tuple[str, ...] = (), patience: float | None = None) -> bool:
        return bool(await self.call("acquire", self.job, list(names), list(shared), 0, patience))

    async def die(self) -> None:
        """Be gone as if killed."""
        self.lock.release()
        await self.hang_up()


class Master:
    """A running daemon and the ways to it."""

    def __init__(self, root: str, cluster: list[Any]) -> None:
        self.root = root
        self.paths = Paths(root, "node1")
        self.nodes = [obj for obj in cluster if isinstance(obj, Node)]
        self.agents = {node.uuid: QuietNode(root, node.name) for node in self.nodes}
        self.memory_nodes = {
            NodeUuid(node.uuid): MemoryNode(node.name, [self.agents[node.uuid]]) for node in self.nodes
        }
        self.spawner = ManualSpawner()
        self.core: MasterCore
        self._workers: list[Worker] = []
        self._clients: list[Client] = []

    @property
    def parts(self) -> Parts:
        return self.core.parts

    async def start(self) -> None:
        self.spawner = ManualSpawner()
        self.core = MasterCore(self.paths, self._make_nodes, self.spawner)
        await self.core.start()

    def _make_nodes(self, reader: Reader, epoch: Callable[[], int]) -> MemoryNodeCaller:
        return MemoryNodeCaller(self.memory_nodes, epoch)

    async def stop(self) -> None:
        await self.core.stop()

    async def crash(self) -> None:
        """End without saying good-bye or writing anything down, as a killed process does."""
        core, parts = self.core, self.parts
        await parts.queue.writer.flush()
        for server in (parts.luxi, parts.jobs):
            await server.close(0)
        await core.stop()

    async def client(self) -> Client:
        client = Client(self.paths.luxi_socket)
        await client.connect()
        self._clients.append(client)
        return client

    async def worker(self) -> Worker:
        """A worker that the daemon wanted, attached."""
        worker = Worker(self.paths.job_socket, self.paths.livelocks, await self.spawner.next_name())
        await worker.attach()
        self._workers.append(worker)
        return worker

    async def close(self) -> None:
        for client in [*self._clients, *self._workers]:
            await client.hang_up()
        await self.stop()
        for worker in self._workers:
            worker.lock.forget()
        for agent in self.agents.values():
            agent._replica.close()


def delay(duration: object = 0, **fields: Any) -> dict[str, Any]:
    """The opcode that does nothing."""
    return {"OP_ID": "OP_TEST_DELAY", "duration": duration, **fields}


def make_store(paths: Paths, cluster: list[Any]) -> None:
    """The store of a cluster whose master is the first node."""
    for directory in (paths.data, paths.run, paths.log):
        os.makedirs(directory, exist_ok=True)
    with Store.open(paths.store, create=True) as store:
        store.new_epoch()
        store.commit(None, [Put(obj) for obj in cluster]).result()


@asynccontextmanager
async def running_master(nodes: int = 1, **fields: Any) -> AsyncIterator[Master]:
    """A daemon over a new cluster. `fields` are those of the cluster."""
    # Not pytest's directory: the path of a socket must be short.
    root = tempfile.mkdtemp(prefix="gnt")
    try:
        cluster = small_cluster(nodes, **fields)
        master = Master(root, cluster)
        make_store(master.paths, cluster)
        await master.start()
        try:
            yield master
        finally:
            await master.close()
    finally:
        shutil.rmtree(root)


def run_with_master(test: Callable[[Master], Coroutine[Any, Any, None]], nodes: int = 1, **fields: Any) -> None:
    """Run a coroutine with a daemon."""

    async def body() -> None:
        async with running_master(nodes, **fields) as master:
            await asyncio.wait_for(test(master), 3 * PATIENCE)

    asyncio.run(body())


async def eventually(condition: Callable[[], object], what: str = "the condition") -> None:
    """Let the daemon work until the condition holds."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"waited in vain for {what}"
        await asyncio.sleep(0.005)

