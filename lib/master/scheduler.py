"""Which queued jobs may start, which must not run at all because of a dependency, and why the others wait.

Pure: no clock, no I/O. `Scheduler` is told what happens and answers with decisions; each step costs in proportion to the jobs
it concerns. A job may start when all jobs that it depends on are final and ended as it wants, in order of priority (lowest
number first), then of submission.
"""

from __future__ import annotations

import enum
import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ganeti.base.errors import Code, PrereqError
from ganeti.model.enums import JobStatus
from ganeti.model.job import Dependency

JobStatuses = Mapping[int, JobStatus | None]
"""Status of jobs; None: there is no such job (any more)."""


class Outcome(enum.Enum):
    """What becomes of a job whose dependencies have all ended."""

    READY = "ready"
    CANCEL = "cancel"
    FAIL = "fail"


@dataclass(frozen=True)
class Verdict:
    """An outcome and, unless the job is ready, its reason."""

    outcome: Outcome
    reason: str = ""


@dataclass(frozen=True)
class Pending:
    """A queued job as the scheduler sees it."""

    id: int
    priority: int
    depends: tuple[Dependency, ...] = ()


def parse_dependencies(job: int, ops: Iterable[Sequence[tuple[int, Sequence[str]]] | None]) -> tuple[Dependency, ...]:
    """The dependencies of all opcodes of a job, relative (negative) ids counted back from its own. Raises `PrereqError`."""
    found: dict[Dependency, None] = {}
    for depends in ops:
        for number, words in depends or ():
            other = job + number if number < 0 else number
            if other <= 0:
                raise PrereqError(f"depends: there is no job {-number} places before job {job}", Code.INVAL)
            found[Dependency(other, tuple(_final_status(word) for word in words))] = None
    return tuple(found)


def _final_status(word: str) -> JobStatus:
    final = [str(status) for status in JobStatus if status.is_final]
    if word not in final:
        raise PrereqError(f"depends: '{word}' is no final status of a job; those are {', '.join(final)}", Code.INVAL)
    return JobStatus(word)


def judge(job: int, depends: Iterable[Dependency], statuses: JobStatuses) -> Verdict:
    """The outcome for a job whose dependencies have all ended (or do not exist); the first that objects decides."""
    for dependency in depends:
        status = statuses.get(dependency.job)
        if dependency.job == job:
            return Verdict(Outcome.FAIL, f"job {job} depends on itself")
        if status is None:
            return Verdict(Outcome.FAIL, f"job {job} depends on job {dependency.job}, which does not exist")
        if status is JobStatus.CANCELED and status not in dependency.statuses:
            return Verdict(Outcome.CANCEL, f"job {dependency.job}, on which job {job} depends, was cancelled")
        if dependency.statuses and status not in dependency.statuses:
            wanted = " or ".join(map(str, dependency.statuses))
            text = f"job {dependency.job}, on which job {job} depends, ended with status {status} instead of {wanted}"
            return Verdict(Outcome.FAIL, text)
    return Verdict(Outcome.READY)


@dataclass
class _Blocked:
    job: Pending
    statuses: dict[int, JobStatus | None]
    open: set[int] = field(default_factory=set)


class Scheduler:
    """All queued jobs. A job leaves when it is picked, removed or judged."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        """How many jobs may run at once."""
        self._ready: dict[int, Pending] = {}
        self._heap: list[tuple[int, int]] = []
        self._blocked: dict[int, _Blocked] = {}
        self._dependents: dict[int, set[int]] = {}

    def add(self, job: Pending, statuses: JobStatuses) -> Verdict | None:
        """A job was queued; `statuses` are those of its dependencies now. Returns a verdict unless it must wait for them."""
        known = {dependency.job: statuses.get(dependency.job) for dependency in job.depends}
        # A job that comes later can only have been meant by mistake, and might wait for this one.
        known = {number: status if number < job.id else None for number, status in known.items()}
        unfinished = {number for number, status in known.items() if status is not None and not status.is_final}
        if unfinished:
            self._blocked[job.id] = _Blocked(job, known, unfinished)
            for number in unfinished:
                self._dependents.setdefault(number, set()).add(job.id)
            return None
        return self._judge(job, known)

    def ended(self, job: int, status: JobStatus) -> dict[int, Verdict]:
        """A job became final. Returns the verdicts on jobs that waited for nothing else, in order of their ids."""
        self.remove(job)
        verdicts = {}
        for number in sorted(self._dependents.pop(job, ())):
            blocked = self._blocked[number]
            blocked.statuses[job] = status
            blocked.open.discard(job)
            if not blocked.open:
                del self._blocked[number]
                verdicts[number] = self._judge(blocked.job, blocked.statuses)
        return verdicts

    def remove(self, job: int) -> None:
        """A queued job is not to be started any more."""
        self._ready.pop(job, None)
        blocked = self._blocked.pop(job, None)
        for number in blocked.open if blocked else ():
            waiting = self._dependents[number]
            waiting.discard(job)
            if not waiting:
                del self._dependents[number]

    def set_priority(self, job: int, priority: int) -> None:
        """A queued job's priority was changed."""
        if job in self._ready:
            self._push(Pending(job, priority, self._ready[job].depends))
        elif job in self._blocked:
            blocked = self._blocked[job]
            blocked.job = Pending(job, priority, blocked.job.depends)

    def pick(self, running: int, slots: int) -> list[int]:
        """The jobs to start now, `running` being under way and `slots` workers free; they leave the scheduler."""
        picked: list[int] = []
        room = min(slots, self.limit - running)
        while len(picked) < room and self._ready:
            priority, number = heapq.heappop(self._heap)
            job = self._ready.get(number)
            if job is not None and job.priority == priority:
                del self._ready[number]
                picked.append(number)
        if not self._ready:
            self._heap.clear()
        return picked

    @property
    def ready(self) -> int:
        """How many jobs could start if there were room."""
        return len(self._ready)

    def why(self, job: int, running: int) -> str:
        """Why a queued job has not started, in words; empty if it is not queued."""
        blocked = self._blocked.get(job)
        if blocked is not None:
            return f"waits for the end of {_jobs(blocked.open)}"
        mine = self._ready.get(job)
        if mine is None:
            return ""
        ahead = sum((other.priority, other.id) < (mine.priority, mine.id) for other in self._ready.values())
        if running >= self.limit:
            return f"{running} jobs run, at most {self.limit} may; {ahead} queued jobs come first"
        return f"waits for a worker process; {ahead} queued jobs come first"

    def _judge(self, job: Pending, statuses: JobStatuses) -> Verdict:
        verdict = judge(job.id, job.depends, statuses)
        if verdict.outcome is Outcome.READY:
            self._push(job)
        return verdict

    def _push(self, job: Pending) -> None:
        # An entry of an earlier priority stays in the heap; `pick` passes over it.
        self._ready[job.id] = job
        heapq.heappush(self._heap, (job.priority, job.id))


def _jobs(numbers: Iterable[int]) -> str:
    listed = sorted(numbers)
    return ("job " if len(listed) == 1 else "jobs ") + ", ".join(map(str, listed))
