"""Everything at once, by chance: jobs, locks, cancels, workers that die or lose their connection, daemons that crash.

Whatever happens, every accepted job ends, none is executed to its end twice, and nothing is left over.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ganeti.base.errors import GanetiError, JobLost
from ganeti.rpc.jobs import Held, OpProgress
from support.masterd import Client, Master, Worker, delay, eventually, running_master

JOBS = 60
NODES = [f"node/{name}" for name in "abc"]
BROKEN = (GanetiError, OSError, TimeoutError)


class Chaos:
    def __init__(self, master: Master, seed: int) -> None:
        self.master = master
        self.chance = random.Random(seed)
        self.done: dict[int, int] = {}
        """How often each job was executed to its end."""
        self.died: set[int] = set()
        """Jobs whose workers died while they had them."""
        self.workers: set[asyncio.Task[None]] = set()
        self.up = asyncio.Event()
        self.up.set()
        self.calm = False

    def happens(self, probability: float) -> bool:
        return not self.calm and self.chance.random() < probability

    # --- workers

    async def make_workers(self) -> None:
        while True:
            await self.up.wait()
            try:
                name = await asyncio.wait_for(self.master.spawner.next_name(), 0.05)
            except TimeoutError:
                continue
            task = asyncio.create_task(self.live(name))
            self.workers.add(task)
            task.add_done_callback(self.workers.discard)

    async def live(self, name: str) -> None:
        worker = Worker(self.master.paths.job_socket, self.master.paths.livelocks, name)
        try:
            await self.connect(worker, None, Held())
            while await self.one_job(worker):
                pass
        except JobLost:
            pass  # the daemon knows better
        finally:
            worker.lock.release()
            if hasattr(worker, "writer"):
                await worker.hang_up()

    async def connect(self, worker: Worker, job: int | None, held: Held) -> None:
        """Attach, however often that takes."""
        while True:
            if hasattr(worker, "writer"):
                await worker.hang_up()
            try:
                await worker.attach(job, held)
                return
            except JobLost:
                raise
            except BROKEN:
                await asyncio.sleep(0.005)

    async def one_job(self, worker: Worker) -> bool:
        """Do one job; False: the worker is to end (or has died)."""
        assignment = await self.next_job(worker)
        if assignment is None:
            return False
        worker.job = assignment["job"]
        held: list[str] = []
        steps = [self.chance.choice(["lock", "run", "log", "free"]) for _ in range(self.chance.randrange(4))]
        for step in [*steps, "end"]:
            if self.happens(0.04):
                self.died.add(worker.job)
                return False
            if self.happens(0.05):
                await self.connect(worker, worker.job, Held(list(held), []))  # type: ignore[arg-type]  # plain text will do
            await self.step(worker, step, held)
        self.done[worker.job] = self.done.get(worker.job, 0) + 1
        return True

    async def next_job(self, worker: Worker) -> Any:
        while True:
            try:
                return await worker.call("next_job")
            except BROKEN:
                await self.connect(worker, None, Held())

    async def step(self, worker: Worker, step: str, held: list[str]) -> None:
        """One request, repeated until it is answered."""
        while True:
            try:
                await self.request(worker, step, held)
                return
            except JobLost:
                raise
            except BROKEN:
                await self.connect(worker, worker.job, Held(list(held), []))  # type: ignore[arg-type]

    async def request(self, worker: Worker, step: str, held: list[str]) -> None:
        if step == "lock" and not held:
            wanted = sorted(self.chance.sample(NODES, self.chance.randrange(1, 4)))
            if await worker.acquire(*wanted, patience=self.chance.choice([0, 0.01, None])):
                held += wanted
        elif step == "free":
            gone = [name for name in held if self.chance.random() < 0.5]
            for name in gone:
                held.remove(name)
            await worker.call("release", worker.job, gone)
        elif step == "run":
            await worker.report("running")
        elif step == "log":
            await worker.call("log", worker.job, 0, "message", "x", 0)
        elif step == "end":
            cancelled = await worker.call("is_cancelled", worker.job)
            status = "canceled" if cancelled else self.chance.choice(["success", "success", "error"])
            await worker.call("job_finished", worker.job, [OpProgress(0, status)])

    # --- clients and daemons

    async def submit(self) -> list[int]:
        accepted: list[int] = []
        while len(accepted) < JOBS:
            await asyncio.sleep(self.chance.random() * 0.01)
            with contextlib.suppress(*BROKEN):
                async with self.client() as client:
                    jobs = [[self.op(accepted)] for _ in range(self.chance.randrange(1, 6))]
                    accepted += [job for ok, job in await client.call("SubmitManyJobs", jobs) if ok]
                    if self.happens(0.2):
                        priority = self.chance.randrange(-20, 20)
                        await client.call("ChangeJobPriority", self.chance.choice(accepted), priority)
                    if self.happens(0.3):
                        await client.send("CancelJob", self.chance.choice(accepted), False)
        return accepted

    def op(self, accepted: list[int]) -> dict[str, object]:
        if accepted and self.chance.random() < 0.2:
            return delay(depends=[[self.chance.choice(accepted), []]])
        return delay(priority=self.chance.choice([-10, 0, 10]))

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        client = Client(self.master.paths.luxi_socket)
        await client.connect()
        try:
            yield client
        finally:
            await client.hang_up()

    async def crash(self) -> None:
        # Not for ever: on a slow machine nothing would be done in between.
        for _ in range(10):
            if self.calm:
                return
            await asyncio.sleep(0.02 + self.chance.random() * 0.15)
            self.up.clear()
            await self.master.crash()
            await self.master.start()
            self.up.set()


async def storm(seed: int) -> None:
    async with running_master(max_running_jobs=4) as master:
        chaos = Chaos(master, seed)
        making = asyncio.create_task(chaos.make_workers())
        crashing = asyncio.create_task(chaos.crash())
        accepted = await chaos.submit()
        chaos.calm = True
        await crashing
        client = await master.client()
        for job in accepted:
            await asyncio.wait_for(client.wait_for(job), 20)
        rows = await client.call("QueryJobs", accepted, ["id", "status", "end_ts"])
        assert all(row and row[2] for row in rows)
        assert max(chaos.done.values()) == 1
        # A job that was executed to its end has ended that way, unless its worker had died before.
        assert not (chaos.died & chaos.done.keys())
        queue, locks = master.parts.queue, master.parts.locks
        await eventually(lambda: not queue.live and queue.running == 0)
        await eventually(lambda: not locks.table.owners() and not locks.table.rows())
        assert queue.scheduler.ready == 0
        making.cancel()
        await master.parts.pool.dismiss()
        for task in list(chaos.workers):
            task.cancel()
        await asyncio.gather(*chaos.workers, return_exceptions=True)


@pytest.mark.parametrize("seed", range(12))
def test_every_job_ends_once_whatever_happens(seed: int) -> None:
    asyncio.run(storm(seed))
