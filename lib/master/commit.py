"""What the daemon's sockets use to change the configuration: commit, replicate, answer, and have the copies follow."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from ganeti.master.distribute import Distributor
from ganeti.master.exporter import Exporter
from ganeti.master.replicate import Replicator
from ganeti.master.reservations import Reservations
from ganeti.model.changes import Committed, target
from ganeti.model.config import Config
from ganeti.model.enums import Kind
from ganeti.model.objects import Change, Node, Put
from ganeti.rpc.jobs import CommitReply
from ganeti.store.reader import Reader
from ganeti.store.writer import Store, Write

CANDIDATE_WAIT = 5.0
"""Seconds that a commit about nodes waits for candidates to have their files; the rest comes later."""

_IN_SSCONF = {Kind.CLUSTER, Kind.NODE, Kind.GROUP, Kind.INSTANCE, Kind.NETWORK}


@dataclass(frozen=True)
class Followers:
    """What has to follow when the configuration changes; each may be missing (tests, a cluster of one node)."""

    replicator: Replicator | None = None
    distributor: Distributor | None = None
    exporter: Exporter | None = None
    secrets: Distributor | None = None
    """Files of the master candidates."""

    def start(self, config: Config) -> None:
        """Have them look at the configuration as it is when the daemon starts. May block for some seconds."""
        if self.replicator is not None:
            self.replicator.set_candidates(_other_candidates(config), trusted=True)
        for follower in (self.distributor, self.secrets, self.exporter):
            if follower is not None:
                follower.changed()

    def close(self) -> None:
        """Stop them all."""
        for follower in (self.distributor, self.secrets, self.exporter, self.replicator):
            if follower is not None:
                follower.close()


class Commits:
    """Coroutines for the event loop's thread; each raises what `store.writer.Store` puts into its futures."""

    def __init__(self, store: Store, reader: Reader, followers: Followers | None = None) -> None:
        self._store = store
        self._reader = reader
        self._followers = followers or Followers()
        self._reservations = Reservations(reader.snapshot)
        if self._followers.replicator is not None:
            store.on_commit = self._followers.replicator.on_commit

    async def commit(self, job: int, token: str, changes: Sequence[Change]) -> CommitReply:
        """Store changes on behalf of a job. The same token again, from the same job, gives the same answer."""
        result = await self.write(Write(changes=changes, token=f"{job}/{token}"))
        return CommitReply(result.serial, [Put(obj) for obj in result.objects])

    async def write(self, request: Write) -> Committed:
        """Store a request; returns when it is on disk here and on the candidates."""
        result = await asyncio.wrap_future(self._store.write(request))
        if request.changes:
            await self._follow({Kind(target(change)[0]) for change in request.changes})
        return result

    async def reserve(self, job: int, what: str, value: str) -> None:
        """See `Reservations.reserve`."""
        self._reservations.reserve(job, what, value)

    async def generate(self, job: int, what: str, hint: str) -> str:
        """See `Reservations.generate`."""
        return self._reservations.generate(job, what, hint)

    def job_ended(self, job: int) -> None:
        """What the job had reserved is free again."""
        self._reservations.drop(job)

    async def _follow(self, kinds: set[Kind]) -> None:
        followers = self._followers
        if followers.replicator is not None and kinds & {Kind.NODE, Kind.CLUSTER}:
            # Before the answer: when a node has ceased to be a candidate, the job may remove its replica at once.
            await asyncio.to_thread(self._set_candidates, followers.replicator)
        if followers.distributor is not None and kinds & _IN_SSCONF:
            followers.distributor.changed()
        if followers.secrets is not None and Kind.NODE in kinds:
            followers.secrets.changed()
            # A node that becomes a candidate has what a master needs when its job goes on, if it answers.
            await asyncio.to_thread(followers.secrets.flush, CANDIDATE_WAIT)
        if followers.exporter is not None:
            followers.exporter.changed()

    def _set_candidates(self, replicator: Replicator) -> None:
        replicator.set_candidates(_other_candidates(self._reader.config()))


def _other_candidates(config: Config) -> list[Node]:
    """The candidates but the master, which has the store itself."""
    return [node for node in config.candidates if node.uuid != config.cluster.master_node]
