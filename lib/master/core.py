"""The master daemon as one object: its parts, put together, started in order and taken apart again.

It belongs to one event loop, that of `master.main` or of a test. How nodes are called and how workers are made are arguments.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ganeti.base.errors import (
    Conflict,
    ExecError,
    GanetiError,
    NoCluster,
    NotMaster,
    ProtocolError,
    StaleEpoch,
)
from ganeti.base.files import ensure_directory, read_optional
from ganeti.base.paths import Paths
from ganeti.master.candidate_files import CandidateFiles
from ganeti.master.children import Children
from ganeti.master.commit import Commits, Followers
from ganeti.master.control import JobControl
from ganeti.master.distribute import Distributor
from ganeti.master.exporter import Exporter
from ganeti.master.following import JobViews
from ganeti.master.jobsocket import ConfigDoor, JobDoors, JobSession
from ganeti.master.jobwriter import JobWriter
from ganeti.master.lockservice import Journal, LockService
from ganeti.master.luxi import LuxiDoors, LuxiService, luxi_sessions
from ganeti.master.queries import Queries
from ganeti.master.query import QueryEngine
from ganeti.master.queue import Door, JobQueue
from ganeti.master.recovery import Recovery
from ganeti.master.replicate import Replicator
from ganeti.master.server import Connection, Peer, SocketServer
from ganeti.master.ssconf import SsconfFiles
from ganeti.master.workers import Spawner, WorkerPool
from ganeti.model.config import matches_host_name
from ganeti.model.objects import Change, Cluster, Put
from ganeti.ops import registry
from ganeti.rpc.call import NodeCaller
from ganeti.rpc.jobs import CommitReply
from ganeti.rpc.node.node import MasterAddress, NodeApi
from ganeti.store.reader import Reader
from ganeti.store.writer import Store, Write

log = logging.getLogger(__name__)

T = TypeVar("T")

MakeNodes = Callable[[Reader, Callable[[], int]], NodeCaller]
"""Makes the door to the nodes from the configuration and the epoch."""

STOP_TIME = 8.0
"""Seconds that what is under way gets when the daemon is told to stop."""
LAG_PERIOD, LAG_LIMIT = 0.1, 0.1
_ATTEMPTS = 5


def check_master(paths: Paths) -> None:
    """Raise `NotMaster`, naming the master where it is known, or `NoCluster`, unless this node's store says that it is master."""
    own = paths.hostname
    text = read_optional(paths.ssconf("master_node"))
    named = text.strip() if text else None
    try:
        with Reader(paths.store) as reader:
            config = reader.config()
            named = config.master.name
    except GanetiError:
        if named is None:
            raise NoCluster(f"node {own} belongs to no cluster: there is no cluster store {paths.store}") from None
        if matches_host_name(own.lower(), named):
            raise
    if not matches_host_name(own.lower(), named):
        raise NotMaster(f"this node ({own}) is not the master; the master is {named}")


def check_epoch(paths: Paths, epoch: int) -> None:
    """Raise `NotMaster` if this node has obeyed a master of a higher epoch than the store's."""
    seen = (read_optional(paths.epoch) or "").strip()
    if seen.isdigit() and int(seen) > epoch:
        raise NotMaster(
            f"this node has obeyed a master of epoch {seen}, but its own store is of epoch {epoch}: another node became master"
        )


@dataclass(frozen=True)
class Parts:
    """What a running daemon consists of; tests look inside."""

    store: Store
    reader: Reader
    nodes: NodeCaller
    followers: Followers
    commits: Commits
    locks: LockService
    pool: WorkerPool
    queue: JobQueue
    views: JobViews
    control: JobControl
    children: Children
    luxi: SocketServer
    jobs: SocketServer


class MasterCore:
    """See the text of the module. `start`, then `failed` may become done, then `stop`."""

    def __init__(self, paths: Paths, make_nodes: MakeNodes, spawner: Spawner, *, clock: Callable[[], float] = time.time) -> None:
        self.paths = paths
        self._make_nodes = make_nodes
        self._spawner = spawner
        self._clock = clock
        self._tasks: set[asyncio.Task[Any]] = set()
        self._parts: Parts | None = None
        self._changing_cluster = asyncio.Lock()
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Fails with the reason when the daemon cannot go on."""

    @property
    def parts(self) -> Parts:
        assert self._parts is not None, "the daemon is not started"
        return self._parts

    async def start(self) -> None:
        """Become the master daemon of this node; when this returns, clients and workers are answered.

        Raises `NotMaster`, `NoCluster`, `LockTimeout` (another one runs), `ConfigError`, `OSError`.
        """
        check_master(self.paths)
        store = await asyncio.to_thread(Store.open, self.paths.store)
        try:
            check_epoch(self.paths, store.epoch)
            parts = self._parts = await asyncio.to_thread(self._build, store, asyncio.get_running_loop())
        except BaseException:
            store.close()
            raise
        config = parts.reader.config()
        parts.pool.open(parts.queue)
        self._configure(config.cluster)
        await asyncio.to_thread(parts.followers.start, config)
        reader = parts.reader
        await Recovery(parts.queue, parts.locks, lambda: reader.jobs(unfinished=True), reader.job_log).run()
        for directory, mode in ((self.paths.run, 0o755), (self.paths.sockets, 0o750)):
            ensure_directory(directory, mode)
        await parts.jobs.open()
        await parts.luxi.open()
        self._spawn(parts.pool.run(), vital=True)
        self._spawn(self._start_address())
        self._spawn(asyncio.to_thread(registry.import_all))
        if log.isEnabledFor(logging.DEBUG):
            self._spawn(_watch_lag())
        log.info("master of cluster %s, epoch %d, serial %d", config.cluster.cluster_name, store.epoch, store.serial)

    async def stop(self) -> None:
        """Take no more requests, complete what is under way, write everything down. Workers go on with their jobs."""
        if self._parts is None:
            return
        parts = self.parts
        await parts.luxi.close(STOP_TIME / 2)
        await parts.pool.dismiss()
        await parts.jobs.close(STOP_TIME / 2)
        for task in self._tasks:
            task.cancel()
        try:
            await asyncio.wait_for(parts.queue.close(), STOP_TIME)
        except TimeoutError:
            log.warning("some states of jobs are not on all candidates yet")
        await parts.pool.close()
        await asyncio.to_thread(self._close_files)
        self._parts = None

    def reopen_logs(self) -> None:
        """Have the processes that belong to this daemon go on in new log files, as it has done itself."""
        if self._parts is not None:
            self._parts.pool.reopen_logs()

    def _close_files(self) -> None:
        self.parts.followers.close()
        self.parts.store.close()
        self.parts.reader.close()

    # --- putting together

    def _build(self, store: Store, loop: asyncio.AbstractEventLoop) -> Parts:
        paths = self.paths
        reader = Reader(paths.store)
        nodes = self._make_nodes(reader, lambda: store.epoch)

        def replaced(error: StaleEpoch) -> None:
            loop.call_soon_threadsafe(self._fail, _not_master(error))

        followers = Followers(
            Replicator(paths.store, nodes, on_replaced=replaced),
            Distributor(SsconfFiles(), reader.config, nodes),
            Exporter(reader.config, nodes, paths.config_export),
            Distributor(CandidateFiles(paths.data), reader.config, nodes),
        )
        commits = Commits(store, reader, followers)
        locks = LockService(Journal(paths.livelocks))
        pool = WorkerPool(self._spawner, paths.livelocks, limit=reader.config().cluster.max_running_jobs)
        queue, children = self._build_queue(store, reader, commits, locks, pool)
        views = JobViews(queue, reader.jobs, reader.job_log)
        control = JobControl(queue, locks, commits.write, reader.jobs)
        queries = Queries(QueryEngine(reader.config, nodes), views, locks.table, reader.config)
        service = LuxiService(LuxiDoors(queue, views, control, queries, self._change_cluster))
        config_door = ConfigDoor(self._commit, commits.reserve, commits.generate)
        doors = JobDoors(queue, pool, locks, children, config_door)
        luxi = SocketServer(paths.luxi_socket, luxi_sessions(service), mode=0o660)
        jobs = SocketServer(paths.job_socket, worker_sessions(doors), mode=0o600, exact_errors=True)
        return Parts(store, reader, nodes, followers, commits, locks, pool, queue, views, control, children, luxi, jobs)

    def _build_queue(
        self, store: Store, reader: Reader, commits: Commits, locks: LockService, pool: WorkerPool
    ) -> tuple[JobQueue, Children]:
        def job_ended(job: int) -> None:
            locks.drop(job)
            commits.job_ended(job)
            children.ended(job)

        door = Door(
            allocate_ids=store.allocate_job_ids,
            read_jobs=lambda ids: reader.jobs(ids, archived=True),
            find_op=registry.find,
            now=lambda: int(self._clock() * 1_000_000),
            epoch=lambda: store.epoch,
            job_ended=job_ended,
        )
        queue = JobQueue(door, JobWriter(commits.write), pool, limit=pool.limit)
        children = Children(queue, reader.jobs)
        return queue, children

    # --- the configuration

    async def _commit(self, job: int, token: str, changes: Sequence[Change]) -> CommitReply:
        # A worker that connects again interrupts the call on its old connection, but what was begun must be completed.
        return await asyncio.shield(self._spawn(self._commit_now(job, token, changes)))

    async def _commit_now(self, job: int, token: str, changes: Sequence[Change]) -> CommitReply:
        reply = await self.parts.commits.commit(job, token, changes)
        for change in reply.objects:
            if isinstance(change.obj, Cluster):
                self._configure(change.obj)
        return reply

    async def _change_cluster(self, change: Callable[[Cluster], Cluster]) -> None:
        async with self._changing_cluster:
            for attempt in range(_ATTEMPTS):
                cluster = self.parts.reader.config().cluster
                try:
                    result = await self.parts.commits.write(Write(changes=[Put(change(cluster))]))
                except Conflict:
                    # A job has changed it meanwhile.
                    if attempt == _ATTEMPTS - 1:
                        raise
                else:
                    self._configure(next(obj for obj in result.objects if isinstance(obj, Cluster)))
                    return

    def _configure(self, cluster: Cluster) -> None:
        self.parts.queue.configure(limit=cluster.max_running_jobs, drained=cluster.queue_drained)

    # --- the master's address

    async def _start_address(self) -> None:
        """Have this node's agent take the cluster's address; repeated until it succeeds."""
        pause = 0.5
        while True:
            config = self.parts.reader.config()
            cluster = config.cluster
            address = MasterAddress(
                cluster.master_ip,
                cluster.master_netdev,
                cluster.master_netmask,
                cluster.primary_ip_family,
                cluster.use_external_mip_script,
            )
            try:
                await asyncio.to_thread(self.parts.nodes.call, config.master.uuid, NodeApi.master_address_start, address)
                log.info("the cluster's address %s is on this node", cluster.master_ip)
                return
            except StaleEpoch as err:
                self._fail(_not_master(err))
                return
            except GanetiError as err:
                log.warning("cannot activate the cluster's address %s: %s", cluster.master_ip, err)
            await asyncio.sleep(pause)
            pause = min(2 * pause, 30.0)

    # --- tasks

    def _spawn(self, coroutine: Coroutine[Any, Any, T], *, vital: bool = False) -> asyncio.Task[T]:
        """Run something in the background until the daemon stops. If it is vital and ends, so does the daemon."""

        def ended(task: asyncio.Task[T]) -> None:
            self._tasks.discard(task)
            if task.cancelled():
                return
            error = task.exception()
            if vital:
                self._fail(ExecError(f"a vital part of the master daemon ended: {error or task.get_name()}"))
            if error is not None and not isinstance(error, GanetiError):
                log.error("a task of the master daemon failed", exc_info=error)

        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(ended)
        return task

    def _fail(self, error: GanetiError) -> None:
        if not self.failed.done():
            self.failed.set_exception(error)
            # Whoever runs the daemon looks at it; a test may not.
            self.failed.exception()


def worker_sessions(doors: JobDoors) -> Callable[[Peer, Connection], JobSession]:
    """Makes the session of each new connection to the job socket; only root and the daemon's own user are let in."""

    def connect(peer: Peer, connection: Connection) -> JobSession:
        if peer.uid not in (0, os.geteuid()):
            raise ProtocolError(f"user {peer.uid} may not connect to the job socket")
        return JobSession(doors, peer, connection)

    return connect


def _not_master(error: StaleEpoch) -> NotMaster:
    return NotMaster(f"another node has become master: {error}")


async def _watch_lag() -> None:
    """Log when the event loop was busy for so long that everybody had to wait."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LAG_PERIOD
        await asyncio.sleep(LAG_PERIOD)
        late = loop.time() - due
        if late > LAG_LIMIT:
            log.warning("the event loop was blocked for %.0f ms", late * 1000)
