"""The job queue: every job that is not final, in memory, from its acceptance to its end.

The store has the same jobs on disk (`master.jobwriter` keeps it up to date); it is read only for jobs that ended long ago and
when the daemon starts. A client is told of a final state only when that is on disk. Everything here belongs to the event loop's
thread and changes state without waiting in between; only the outcome of a write is waited for.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ganeti.base.errors import ExecError, GanetiError, JobLost, PrereqError, QueueError
from ganeti.master import jobstate
from ganeti.master.acceptance import Accepted, FindOp, accept
from ganeti.master.jobwriter import JobWriter
from ganeti.master.scheduler import Outcome, Pending, Scheduler, Verdict
from ganeti.master.workers import Worker, WorkerPool
from ganeti.model.enums import JobStatus
from ganeti.model.ids import JobId
from ganeti.model.job import Dependency, Job, LogEntry
from ganeti.rpc.jobs import Assignment, OpProgress
from ganeti.rpc.luxi import WireOp

log = logging.getLogger(__name__)

MAX_UNFINISHED = 50_000
"""Jobs that are not final; more are refused."""
REMEMBERED = 500
"""Jobs that are kept in memory for a while after their end, as their clients will ask for them."""
RETRY = 1.0
_YIELD_EVERY = 50


@dataclass(frozen=True)
class Door:
    """What the queue needs of the rest of the daemon."""

    allocate_ids: Callable[[int], list[JobId]]
    read_jobs: Callable[[Iterable[int]], list[Job]]
    """Jobs in the store, archived ones too. Blocking."""
    find_op: FindOp
    now: Callable[[], int]
    """Microseconds since 1970."""
    epoch: Callable[[], int]
    job_ended: Callable[[int], None]
    """The job's locks and reservations can go."""


@dataclass(eq=False)
class LiveJob:
    """A job in memory. `job` is what everybody may see; a final state is seen when it is on disk."""

    job: Job
    ops: list[WireOp]
    depends: tuple[Dependency, ...] = ()
    log: list[LogEntry] = field(default_factory=list)
    worker: Worker | None = None
    recovered: bool = False
    """It was being executed when this daemon started."""
    unusable: GanetiError | None = None
    """Why it could not be given to a worker again."""
    cancelled: bool = False
    """Somebody asked for it to be cancelled (or, with `killed`, killed)."""
    killed: bool = False
    ending: Job | None = None
    """Its final state, which is being written."""
    done: asyncio.Event = field(default_factory=asyncio.Event)
    """The final state is on disk (or the job was never accepted)."""
    watchers: set[asyncio.Future[None]] = field(default_factory=set)

    def changed(self) -> None:
        """Wake those who wait for a change."""
        watchers, self.watchers = self.watchers, set()
        for future in watchers:
            if not future.done():
                future.set_result(None)


class JobQueue:
    """See the text of the module."""

    def __init__(self, door: Door, writer: JobWriter, pool: WorkerPool, *, limit: int) -> None:
        self.door = door
        self.writer = writer
        self.pool = pool
        self.drained = False
        self.live: dict[int, LiveJob] = {}
        self.ended: OrderedDict[int, LiveJob] = OrderedDict()
        self.scheduler = Scheduler(limit)
        self.running = 0
        self._open = True
        self._tasks: set[asyncio.Task[None]] = set()

    def configure(self, *, limit: int, drained: bool) -> None:
        """Take over settings of the cluster."""
        self.drained = drained
        self.scheduler.limit = self.pool.limit = limit
        self.dispatch()

    async def close(self) -> None:
        """Start nothing more; returns when all that was begun is on disk."""
        self._open = False
        await self.writer.flush()
        for task in self._tasks:
            task.cancel()

    # --- submission

    async def submit(self, jobs: Sequence[Sequence[WireOp]], *, even_if_drained: bool = False) -> list[int | GanetiError]:
        """Accept jobs; for each its id, once it is on disk, or what is wrong with it. `QueueError` if none can be taken."""
        if self.drained and not even_if_drained:
            raise QueueError("the job queue is drained: no new jobs are accepted until `gnt-cluster queue undrain`")
        if len(self.live) + len(jobs) > MAX_UNFINISHED:
            raise QueueError(f"there are {len(self.live)} unfinished jobs; at most {MAX_UNFINISHED} are accepted")
        answers: list[int | GanetiError] = []
        accepted: list[Accepted] = []
        # Each has its id even if it is refused, so that relative dependencies of the others mean what was meant.
        for ident, ops in zip(self.door.allocate_ids(len(jobs)), jobs, strict=True):
            try:
                accepted.append(accept(ident, ops, self.door.now(), self.door.find_op))
                answers.append(ident)
            except PrereqError as err:
                answers.append(err)
            if len(answers) % _YIELD_EVERY == 0:
                await asyncio.sleep(0)
        if accepted:
            await self._enter(accepted)
        return answers

    async def _enter(self, accepted: Sequence[Accepted]) -> None:
        statuses = await self.statuses_of({dependency.job for one in accepted for dependency in one.depends})
        entered = [LiveJob(one.job, one.ops, one.depends) for one in accepted]
        futures = []
        for live in entered:
            self.live[live.job.id] = live
            futures.append(self.writer.add(live.job))
            self.schedule(live, statuses)
        self.dispatch()
        try:
            await asyncio.shield(futures[0])
        except GanetiError:
            # One transaction: either all of them are stored or none.
            self._forget(entered)
            raise

    def _forget(self, entered: Iterable[LiveJob]) -> None:
        for live in entered:
            self.live.pop(live.job.id, None)
            self.scheduler.ended(live.job.id, JobStatus.ERROR)
            live.done.set()
            live.changed()

    async def statuses_of(self, ids: set[int]) -> dict[int, JobStatus | None]:
        """Status of jobs that may have left memory. What is still live is looked up again where it is used."""
        unknown = {ident for ident in ids if ident not in self.live and ident not in self.ended}
        found = await asyncio.to_thread(self.door.read_jobs, unknown) if unknown else []
        statuses: dict[int, JobStatus | None] = {job.id: job.status for job in found}
        return statuses | {ident: self.ended[ident].job.status for ident in ids if ident in self.ended}

    def schedule(self, live: LiveJob, statuses: dict[int, JobStatus | None]) -> None:
        """Hand a queued job to the scheduler; `statuses` of dependencies that are not live."""
        known = dict(statuses)
        for dependency in live.depends:
            other = self.live.get(dependency.job)
            if other is not None:
                known[dependency.job] = (other.ending or other.job).status
        job = live.job
        verdict = self.scheduler.add(Pending(job.id, job.priority, live.depends), known)
        if verdict is not None:
            self._execute({job.id: verdict})

    # --- starting

    def worker_free(self) -> None:
        self.dispatch()

    def dispatch(self) -> None:
        """Start what may start."""
        if not self._open:
            return
        started: list[tuple[LiveJob, Worker]] = []
        for ident in self.scheduler.pick(self.running, self.pool.free):
            live, worker = self.live[ident], self.pool.take(ident)
            assert worker is not None
            self.running += 1
            live.worker = worker
            live.job = jobstate.started(live.job, worker.name, self.door.now())
            live.changed()
            started.append((live, worker))
        if started:
            futures = [self.writer.save(live.job) for live, _ in started]
            self._spawn(self._hand_over(started, futures[0]))
        self.pool.want(max(0, min(self.scheduler.ready, self.scheduler.limit - self.running)))

    async def _hand_over(self, started: Sequence[tuple[LiveJob, Worker]], saved: asyncio.Future[None]) -> None:
        """Give jobs to their workers as soon as it is on disk which worker has which."""
        try:
            await asyncio.shield(saved)
        except GanetiError as err:
            for live, worker in started:
                # Unless it was cancelled, or the worker died, in the meantime.
                if live.ending is None and live.worker is worker:
                    log.error("job %d could not be started: %s", live.job.id, err)
                    self._take_back(live)
                    self.pool.give_back(worker)
            await asyncio.sleep(RETRY)
            self.dispatch()
            return
        for live, worker in started:
            if live.ending is None and live.worker is worker:
                self.hand(live)

    def hand(self, live: LiveJob) -> None:
        """Let the worker that was chosen begin."""
        assert live.worker is not None
        job = live.job
        self.pool.hand(
            live.worker,
            Assignment(
                job=job.id,
                ops=live.ops,
                priorities=[op.priority for op in job.ops],
                start_at=jobstate.next_op(job) or 0,
                epoch=self.door.epoch(),
            ),
        )

    def _take_back(self, live: LiveJob) -> None:
        """The worker that was chosen for the job never saw it: it is queued again."""
        live.worker = None
        self.running -= 1
        live.job = jobstate.requeued(live.job)
        live.changed()
        if live.job.id in self.live:
            self.scheduler.add(Pending(live.job.id, live.job.priority), {})

    # --- what workers report

    def of_worker(self, ident: int, worker: Worker) -> LiveJob:
        """The job that this worker is executing; `JobLost` if it is not (any more)."""
        live = self.live.get(ident)
        if live is None or live.worker is not worker or live.ending is not None:
            raise JobLost(f"job {ident} is not executed by worker {worker.name} (any more)")
        return live

    def progress(self, ident: int, worker: Worker, report: OpProgress) -> None:
        """An opcode waits, runs or has ended."""
        live = self.of_worker(ident, worker)
        live.job = jobstate.progressed(live.job, report, self.door.now())
        self.writer.later(live.job)
        live.changed()

    def append_log(
        self, ident: int, worker: Worker, op_index: int, entries: Sequence[tuple[str, Any]], at: int = 0
    ) -> None:
        """Add lines, each (type, message), to the job's log. Lines not later than its last are there already."""
        live = self.of_worker(ident, worker)
        if not 0 <= op_index < len(live.job.ops):
            raise PrereqError(f"job {ident} has no opcode {op_index}")
        last = live.log[-1] if live.log else None
        if at and last is not None and at <= last.timestamp:
            return
        serial = last.serial if last is not None else 0
        for word, message in entries:
            serial += 1
            entry = LogEntry(
                serial=serial, op_index=op_index, timestamp=at or self.door.now(), type=word, message=message
            )
            live.log.append(entry)
            self.writer.append_log(ident, entry)
        live.changed()

    async def finished(self, ident: int, worker: Worker, reports: Sequence[OpProgress]) -> None:
        """The worker is done with the job; returns when its end is on disk. Repeating the report is harmless."""
        live = self.live.get(ident)
        if live is None:
            await self.check_worker_of(ident, worker)
            return
        if live.worker is not worker:
            raise JobLost(f"job {ident} is not executed by worker {worker.name} (any more)")
        if live.ending is None:
            self.conclude(live, jobstate.finished(live.job, reports, self.door.now()))
        await live.done.wait()

    async def check_worker_of(self, ident: int, worker: Worker) -> None:
        known = self.ended.get(ident)
        found = [known.job] if known else await asyncio.to_thread(self.door.read_jobs, [ident])
        if not found or found[0].worker != worker.name:
            raise JobLost(f"job {ident} is not executed by worker {worker.name} (any more)")

    def worker_died(self, worker: Worker, how: str) -> None:
        """A job whose worker never saw it is queued again; one that was being executed fails."""
        live = self.live.get(worker.job) if worker.job is not None else None
        if live is None or live.ending is not None or live.worker is not worker:
            self.dispatch()
        elif live.cancelled and not live.killed:
            self.conclude(live, jobstate.cancelled(live.job, self.door.now()))
        elif worker.delivered:
            reason = "it was killed on request" if live.killed else how
            text = (
                f"the process that executed job {live.job.id} (worker {worker.name}, process {worker.pid}) is gone: {reason};"
                " what it had begun was neither finished nor undone: look at the objects it worked on"
            )
            self.conclude(live, jobstate.failed(live.job, ExecError(text), self.door.now()))
        else:
            self._take_back(live)
            self.writer.later(live.job)
            self.dispatch()

    # --- ending

    def conclude(self, live: LiveJob, final: Job) -> None:
        """The job has this final state; everything that follows from it begins. `live.done` is set when it is on disk."""
        pending = [(live, final)]
        while pending:
            one, state = pending.pop()
            verdicts = self._conclude(one, state)
            pending.extend(self._final_states(verdicts))
        self.dispatch()

    def _conclude(self, live: LiveJob, final: Job) -> dict[int, Verdict]:
        live.ending = final
        worker = live.worker
        if worker is not None:
            self.running -= 1
        self.door.job_ended(final.id)
        self._spawn(self._record_end(live, final, self.writer.save(final)))
        verdicts = self.scheduler.ended(final.id, final.status)
        if worker is not None and worker.job == final.id:
            self.pool.give_back(worker)
        return verdicts

    def _final_states(self, verdicts: dict[int, Verdict]) -> list[tuple[LiveJob, Job]]:
        """Of jobs that must not run because of a dependency."""
        now = self.door.now()
        states = []
        for ident, verdict in verdicts.items():
            live = self.live[ident]
            if verdict.outcome is Outcome.CANCEL:
                states.append((live, jobstate.cancelled(live.job, now)))
            elif verdict.outcome is Outcome.FAIL:
                states.append((live, jobstate.failed(live.job, ExecError(verdict.reason), now)))
        return states

    def _execute(self, verdicts: dict[int, Verdict]) -> None:
        for live, final in self._final_states(verdicts):
            self.conclude(live, final)

    async def _record_end(self, live: LiveJob, final: Job, saved: asyncio.Future[None]) -> None:
        while final.id in self.live:
            try:
                await asyncio.shield(saved)
            except GanetiError as err:
                # It has ended, whatever becomes of the record: try until it is on disk.
                log.error("cannot record the end of job %d: %s", final.id, err)
                await asyncio.sleep(RETRY)
                saved = self.writer.save(final)
                continue
            live.job = final
            del self.live[final.id]
            self._remember(live)
        live.done.set()
        live.changed()

    def _remember(self, live: LiveJob) -> None:
        live.ops = []
        self.ended[live.job.id] = live
        while len(self.ended) > REMEMBERED:
            self.ended.popitem(last=False)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._finish_task)

    def _finish_task(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a task of the job queue failed", exc_info=task.exception())
