"""A worker's connection to the master daemon, which may be restarted, or killed, at any moment.

When the connection breaks, the worker connects again, attaches with the job and the locks it has, and repeats whatever was not
answered; also the latest reports that were, because the daemon answers those before it has written them down. A thread sees to
that while the job is busy with something else for an hour, so that the new daemon soon knows of it. Reports that nobody has to
wait for (`progress`, `log`) are sent without reading the answer until the next request.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Concatenate, NoReturn, ParamSpec, TypeVar

from ganeti.base.errors import Cancelled, GanetiError, JobLost, ProtocolError, Unreachable
from ganeti.job.cancel import Cancellation
from ganeti.job.master import HeldLocks, JobTaken
from ganeti.model.ids import new_uuid
from ganeti.model.locks import LockName
from ganeti.model.objects import AnyObject, Change
from ganeti.rpc import frames
from ganeti.rpc.call import Call, call_of
from ganeti.rpc.frames import FrameSocket, parse_response
from ganeti.rpc.jobs import Assignment, JobApi, OpProgress
from ganeti.rpc.luxi import WireOp

P = ParamSpec("P")
R = TypeVar("R")

log = logging.getLogger(__name__)

IDLE_PATIENCE = 30.0
"""Seconds for which a worker without a job waits for a master daemon."""
JOB_PATIENCE = 24 * 3600.0
"""Seconds for which a job waits for one."""
MAX_UNANSWERED = 16
REMEMBERED = 256
"""Reports that are told again to the next daemon: the last one may have died before it wrote them down."""
_FINISHED = call_of(JobApi.job_finished).name
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 1.0
_HUNG_UP = select.POLLRDHUP | select.POLLHUP | select.POLLERR


class _Garbled(Exception):
    """What came is no frame with JSON in it."""


class _Request:
    """A request as it is sent, perhaps more than once."""

    def __init__(self, call: Call, args: Sequence[Any]) -> None:
        self.name = call.name
        self.frame = frames.encode(frames.request(call.name, call.encode_arguments(args, {})))


class MasterLink:
    """A `job.master.Master` over the job socket, for one worker and one job at a time.

    `taken` is called when the daemon has given the job up (or has been gone for longer than the patience); if it returns,
    `JobTaken` is raised in whoever makes the next request.
    """

    def __init__(
        self,
        path: str,
        worker: str,
        cancellation: Cancellation,
        taken: Callable[[GanetiError], None] = lambda error: None,
        *,
        idle_patience: float = IDLE_PATIENCE,
        job_patience: float = JOB_PATIENCE,
    ) -> None:
        self._path = path
        self._worker = worker
        self._cancellation = cancellation
        self._taken = taken
        self._idle_patience = idle_patience
        self._job_patience = job_patience
        self._mutex = threading.RLock()
        self._end: FrameSocket | None = None
        self._pending: deque[_Request] = deque()
        self._said_lately: deque[_Request] = deque(maxlen=REMEMBERED)
        self._sent = 0  # how many of the pending ones this connection has seen
        self._dead: GanetiError | None = None
        self._closed = False
        self._gone_since: float | None = None
        self._last_line = 0
        self._held = HeldLocks()
        self.job: int | None = None
        self.epoch = 0

    @property
    def held(self) -> HeldLocks:
        return self._held

    # --- the worker's life

    def open(self) -> None:
        """Connect and begin to watch the connection; raises `JobTaken` if there is no daemon."""
        with self._mutex:
            self._flush()
        threading.Thread(target=self._watch, name="master link", daemon=True).start()

    def close(self) -> None:
        """Hang up."""
        self._closed = True
        with self._mutex:
            self._drop()

    def next_job(self) -> Assignment | None:
        """Wait for a job; None: the worker should end. Raises `JobTaken` if the daemon stays away."""
        with self._mutex:
            self._held.discard(None)
            self.job = None
            assignment = self._call(JobApi.next_job)
            if assignment is not None:
                self.job = assignment.job
                self.epoch = max(self.epoch, assignment.epoch)
                self._said_lately.clear()
                self._last_line = 0
            return assignment

    def is_cancelled(self) -> bool:
        """Whether the daemon wants the job to end."""
        return self._call(JobApi.is_cancelled, self._job)

    def finish(self, reports: Sequence[OpProgress]) -> None:
        """Report the final states; returns when they are on disk. The job has nothing any more."""
        self._call(JobApi.job_finished, self._job, list(reports))
        with self._mutex:
            self._held.discard(None)
            self.job = None

    # --- Master

    def acquire(self, exclusive: Iterable[LockName], shared: Iterable[LockName], priority: int) -> None:
        wanted, also = sorted(exclusive), sorted(shared)
        self._cancellation.check()
        with self._mutex:
            self._call(JobApi.acquire, self._job, wanted, also, priority, None, cancellable=True)
            self._held.add(wanted, also)

    def acquire_free(self, names: Iterable[LockName], minimum: int) -> list[LockName]:
        with self._mutex:
            taken = self._call(JobApi.acquire_free, self._job, sorted(names), minimum)
            self._held.add(taken)
            return taken

    def release(self, names: Iterable[LockName] | None = None) -> None:
        # Forgotten first: what a broken connection makes it present must not be what somebody else may have by then.
        with self._mutex:
            gone = self._held.names if names is None else self._held.names & set(names)
            self._held.discard(gone)
            if gone:
                self._call(JobApi.release, self._job, None if names is None else sorted(gone))

    def downgrade(self, names: Iterable[LockName]) -> None:
        with self._mutex:
            moved = self._held.exclusive & set(names)
            self._held.downgrade(moved)
            if moved:
                self._call(JobApi.downgrade, self._job, sorted(moved))

    def commit(self, changes: Sequence[Change]) -> list[AnyObject]:
        reply = self._call(JobApi.commit, self._job, new_uuid(), list(changes))
        return [put.obj for put in reply.objects]

    def reserve(self, what: str, value: str) -> None:
        self._call(JobApi.reserve, self._job, what, value)

    def generate(self, what: str, hint: str) -> str:
        return self._call(JobApi.generate, self._job, what, hint)

    def submit(self, jobs: list[list[WireOp]]) -> list[tuple[bool, int | str]]:
        return self._call(JobApi.submit, self._job, jobs, new_uuid())

    def progress(self, report: OpProgress) -> None:
        self._post(JobApi.op_progress, self._job, report)

    def log(self, op_index: int, kind: str, message: Any) -> None:
        # By its time the daemon tells a line that is repeated from one that is said twice.
        self._last_line = max(time.time_ns() // 1000, self._last_line + 1)
        self._post(JobApi.log, self._job, op_index, kind, message, self._last_line)

    @property
    def _job(self) -> int:
        assert self.job is not None, "the worker has no job"
        return self.job

    # --- requests

    def _call(
        self,
        method: Callable[Concatenate[Any, P], R],
        *args: Any,
        cancellable: bool = False,
    ) -> R:
        call = call_of(method)
        with self._mutex:
            wanted = _Request(call, args)
            self._pending.append(wanted)
            result: R = call.decode_result(self._answer_to(wanted, cancellable))
            return result

    def _post(self, method: Callable[..., None], *args: Any) -> None:
        call = call_of(method)
        with self._mutex:
            self._pending.append(_Request(call, args))
            self._said_lately.append(self._pending[-1])
            if len(self._pending) > MAX_UNANSWERED:
                self._answer_to(self._pending[-1], False)
            elif self._end is not None:
                try:
                    self._flush()
                except Unreachable:
                    self._drop()  # the watching thread, or the next request, connects again and repeats it

    def _answer_to(self, wanted: _Request, cancellable: bool) -> Any:
        """The answer to the last pending request. Those before it are read on the way."""
        while True:
            try:
                self._flush()
                while True:
                    if cancellable and self._pending[0] is wanted:
                        self._wait_for_answer()
                    assert self._end is not None
                    answer = self._receive(self._end)
                    done = self._pending.popleft()
                    self._sent -= 1
                    if done is wanted:
                        return self._parse(answer)
                    self._settle(done, answer)
            except Unreachable as err:
                log.info("lost the master daemon (%s), connecting again", err)
                self._drop()
            except _Garbled as err:
                log.error("the master daemon sent what is no answer (%s), connecting again", err)
                self._drop()
                time.sleep(_LONGEST_PAUSE)

    @staticmethod
    def _receive(end: FrameSocket) -> Any:
        try:
            return end.receive()
        except ProtocolError as err:
            raise _Garbled(str(err)) from err

    def _wait_for_answer(self) -> None:
        """Return when there is an answer. If the job is cancelled first, withdraw the request and raise `Cancelled`."""
        assert self._end is not None
        poll = select.poll()
        poll.register(self._end.fileno(), select.POLLIN)
        poll.register(self._cancellation.fileno(), select.POLLIN)
        ready = dict(poll.poll())
        if self._cancellation.fileno() in ready and self._end.fileno() not in ready:
            # A new connection takes the place of this one, and what was asked on it is withdrawn.
            self._pending.clear()
            self._drop()
            try:
                self._flush()
            except Unreachable:
                self._drop()
            raise Cancelled("the job was cancelled while it waited for locks")

    def _parse(self, answer: Any) -> Any:
        try:
            return parse_response(answer)
        except JobLost as err:
            self._die(err)

    def _settle(self, done: _Request, answer: Any) -> None:
        try:
            parse_response(answer)
        except GanetiError as err:
            # Told again although the end of the job, which follows, had arrived before the connection broke: of no importance.
            if isinstance(err, JobLost) and self._pending and self._pending[-1].name == _FINISHED:
                return
            if isinstance(err, JobLost):
                self._die(err)
            log.warning("the master daemon refused %s: %s", done.name, err)

    def _flush(self) -> None:
        """Have a connection, waiting for one if need be, on which all pending requests are sent."""
        if self._dead is not None:
            raise JobTaken(str(self._dead))
        if self._end is None:
            self._use(self._connect())
        assert self._end is not None
        self._send_pending(self._end)

    def _use(self, end: FrameSocket) -> None:
        """Go on with a new connection: tell again what was said lately, then what was not answered."""
        self._end, self._sent = end, 0
        if self.job is not None:
            told = [one for one in self._said_lately if one not in self._pending]
            self._pending.extendleft(reversed(told))

    def _send_pending(self, end: FrameSocket) -> None:
        while self._sent < len(self._pending):
            end.send_frame(self._pending[self._sent].frame)
            self._sent += 1

    # --- connections

    def _connect(self) -> FrameSocket:
        """A connection on which this worker is attached. Tries as long as its patience lasts; raises `JobTaken` then."""
        pause = _FIRST_PAUSE
        while True:
            try:
                return self._try_to_connect()
            except Unreachable:
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _try_to_connect(self) -> FrameSocket:
        """The same, once; raises `Unreachable` if it should be tried again."""
        if self._dead is not None or self._closed:
            raise JobTaken(str(self._dead or "the connection to the master daemon was closed"))
        try:
            end = self._attach()
            self._gone_since = None
            return end
        except (Unreachable, OSError) as err:
            now = time.monotonic()
            self._gone_since = self._gone_since or now
            patience = self._idle_patience if self.job is None else self._job_patience
            if now - self._gone_since > patience:
                self._die(Unreachable(f"no master daemon answers on {self._path} ({err}); waited {patience:g} seconds"))
            raise Unreachable(str(err)) from err
        except GanetiError as err:
            self._die(err)

    def _attach(self) -> FrameSocket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(self._path)
            end = FrameSocket(sock, peer="the master daemon")
            call = call_of(JobApi.attach)
            end.send_frame(_Request(call, [self._worker, os.getpid(), self.job, self._held.wire()]).frame)
            self.epoch = call.decode_result(parse_response(end.receive()))
            return end
        except BaseException:
            sock.close()
            raise

    def _drop(self) -> None:
        end, self._end = self._end, None
        if end is not None:
            end.shutdown()  # wakes the watching thread
            end.close()

    def _die(self, error: GanetiError) -> NoReturn:
        if self._dead is None:
            log.error("%s: %s", f"job {self.job} is lost" if self.job else "the worker is not wanted", error)
            self._dead = error
            self._taken(error)
        raise JobTaken(str(error)) from error

    def _watch(self) -> None:
        """Connect again as soon as the connection breaks. Runs in a thread of its own."""
        pause = _FIRST_PAUSE
        while True:
            try:
                with self._mutex:
                    if self._end is None:
                        self._use(self._try_to_connect())
                    assert self._end is not None
                    self._send_pending(self._end)
                    descriptor = os.dup(self._end.fileno())
            except JobTaken:
                return
            except Unreachable:
                # Without the mutex, so that a job which has nothing to ask is not held up.
                with self._mutex:
                    self._drop()
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            pause = _FIRST_PAUSE
            _wait_for_break(descriptor)
            os.close(descriptor)
            with self._mutex:
                # Whoever had the mutex until now may have connected again already; then this connection is another one.
                if self._end is not None and _is_broken(self._end):
                    self._drop()


def _wait_for_break(descriptor: int) -> None:
    poll = select.poll()
    poll.register(descriptor, _HUNG_UP)
    poll.poll()


def _is_broken(end: FrameSocket) -> bool:
    poll = select.poll()
    poll.register(end.fileno(), _HUNG_UP)
    return bool(poll.poll(0))
