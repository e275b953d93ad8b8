"""A master daemon as workers see it: the job socket, a real store, locks; it can be killed and started again at any point."""

from __future__ import annotations

import socket
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ganeti.base import codec, errors
from ganeti.base.flock import is_locked
from ganeti.base.paths import Paths
from ganeti.model.locks import LockName
from ganeti.model.objects import AnyObject, Change, Put
from ganeti.rpc import frames
from ganeti.rpc.call import implementation
from ganeti.rpc.jobs import Assignment, CommitReply, Held, JobApi, OpProgress
from ganeti.rpc.luxi import WireOp
from ganeti.store.writer import Store


class _Dropped(Exception):
    """The connection goes, the answer does not."""


class FakeMaster(JobApi):
    """Serves the job socket of `paths`. What it knows survives `kill` and `start`, as if it were all on disk."""

    def __init__(self, paths: Paths, objects: Sequence[AnyObject] = ()) -> None:
        Path(paths.sockets).mkdir(parents=True, exist_ok=True)
        Path(paths.data).mkdir(parents=True, exist_ok=True)
        Path(paths.livelocks).mkdir(parents=True, exist_ok=True)
        Path(paths.log).mkdir(parents=True, exist_ok=True)
        self.paths = paths
        self.store = Store.open(paths.store, epoch=3, create=True)
        if objects:
            self.store.commit(None, [Put(obj) for obj in objects]).result()
        self.changed = threading.Condition()
        self.queue: deque[Assignment] = deque()
        self.retire = False
        self.given: dict[str, Assignment] = {}
        self.attached: list[tuple[str, int | None, Held]] = []
        self.pids: dict[str, int] = {}
        self.seen: list[str] = []
        """Methods, in the order in which they were asked."""
        self.progress: list[tuple[int, OpProgress]] = []
        self.finished: dict[int, list[OpProgress]] = {}
        self.lines: dict[int, list[tuple[int, str, Any, int]]] = defaultdict(list)
        self.locks: dict[int, Held] = {}
        self.granted: list[tuple[int, Held]] = []
        """Everything that `acquire` granted."""
        self.blocked: set[LockName] = set()
        """Locks that others hold."""
        self.cancelled: set[int] = set()
        self.lost: set[int] = set()
        self.submitted: dict[str, list[list[WireOp]]] = {}
        self.drop: dict[str, int] = {}
        """Method -> how many of its next requests are done without an answer reaching the worker."""
        self._table = implementation(JobApi, self)
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self._workers: dict[int, str] = {}
        self._listener: socket.socket | None = None

    # --- its own life

    def start(self) -> None:
        Path(self.paths.job_socket).unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.paths.job_socket)
        self._listener.listen()
        self._run(self._accept, self._listener)

    def kill(self) -> None:
        """Be gone at once, whatever is under way."""
        assert self._listener is not None
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._listener = None
        for sock in self._sockets:
            _shut(sock)
        with self.changed:
            self.changed.notify_all()
        for thread in self._threads:
            thread.join()
        for sock in self._sockets:
            sock.close()
        self._threads.clear()
        self._sockets.clear()

    def close(self) -> None:
        if self._listener is not None:
            self.kill()
        self.store.close()

    def wait(self, condition: Callable[[], object], timeout: float = 5.0) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, timeout), f"did not come: {self.seen}"

    def give(self, *assignments: Assignment) -> None:
        with self.changed:
            self.queue.extend(assignments)
            self.changed.notify_all()

    def unblock(self) -> None:
        with self.changed:
            self.blocked.clear()
            self.changed.notify_all()

    def run_job(self, assignment: Assignment, timeout: float = 5.0) -> list[OpProgress]:
        self.give(assignment)
        self.wait(lambda: assignment.job in self.finished, timeout)
        return self.finished[assignment.job]

    # --- connections

    def _run(self, function: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=function, args=args)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            self._sockets.append(sock)
            self._run(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        end = frames.FrameSocket(sock)
        try:
            while True:
                method, args = frames.parse_request(end.receive())
                call, bound = self._table[method]
                with self.changed:
                    self.seen.append(method)
                    self.changed.notify_all()
                    self._local.sock = sock
                    try:
                        answer = frames.success(codec.encode(bound(*call.decode_arguments(args))))
                    except errors.GanetiError as err:
                        answer = frames.failure(err, exact=True)
                    self.changed.notify_all()
                    if self.drop.get(method, 0):
                        self.drop[method] -= 1
                        break
                end.send(answer)
        except (errors.Unreachable, _Dropped):
            pass
        finally:
            _shut(sock)  # also after a defect: the worker must not wait for ever

    _local = threading.local()

    def _wait_here(self, condition: Callable[[], object]) -> None:
        """Wait as a request does that ends when its client hangs up or the daemon dies."""
        sock: socket.socket = self._local.sock
        while not condition():
            self.changed.wait(0.01)
            if _hung_up(sock) or self._listener is None:
                raise _Dropped

    # --- JobApi

    def attach(self, worker: str, pid: int, job: int | None, held: Held) -> int:
        assert is_locked(f"{self.paths.livelocks}/{worker}"), "a worker without its livelock"
        if job in self.lost:
            raise errors.JobLost(f"job {job} was given up")
        self.attached.append((worker, job, held))
        self.pids[worker] = pid
        self._workers[id(self._local.sock)] = worker
        if job is not None:
            self.locks[job] = held
        return self.store.epoch

    def next_job(self) -> Assignment | None:
        worker = self._workers[id(self._local.sock)]
        if worker not in self.given:
            self._wait_here(lambda: self.queue or self.retire)
            if self.retire:
                return None
            self.given[worker] = self.queue.popleft()
        return self.given[worker]

    def op_progress(self, job: int, progress: OpProgress) -> None:
        if job in self.finished:
            raise errors.JobLost(f"job {job} is not executed by this worker any more")
        self.progress.append((job, progress))

    def job_finished(self, job: int, progress: list[OpProgress]) -> None:
        self.finished[job] = progress
        self.locks.pop(job, None)
        self.given.pop(self._workers[id(self._local.sock)], None)

    def log(self, job: int, op_index: int, type: str, message: Any, timestamp: int = 0) -> None:
        lines = self.lines[job]
        if not lines or timestamp > lines[-1][3]:
            lines.append((op_index, type, message, timestamp))

    def acquire(self, job: int, exclusive: list[LockName], shared: list[LockName], priority: int, timeout: float | None) -> bool:
        assert timeout is None
        self._wait_here(lambda: not self.blocked & {*exclusive, *shared})
        self.locks[job] = Held(exclusive, shared)
        self.granted.append((job, self.locks[job]))
        return True

    def acquire_free(self, job: int, names: list[LockName], minimum: int) -> list[LockName]:
        free = [name for name in names if name not in self.blocked]
        if len(free) < minimum:
            return []
        self.locks[job] = Held(self.locks[job].exclusive + free, self.locks[job].shared)
        return free

    def release(self, job: int, names: list[LockName] | None) -> None:
        held = self.locks.pop(job, Held())
        if names is not None:
            kept = [name for name in held.exclusive if name not in names], [name for name in held.shared if name not in names]
            self.locks[job] = Held(*kept)

    def downgrade(self, job: int, names: list[LockName]) -> None:
        held = self.locks[job]
        moved = [name for name in held.exclusive if name in names]
        self.locks[job] = Held([name for name in held.exclusive if name not in names], held.shared + moved)

    def commit(self, job: int, token: str, changes: list[Change]) -> CommitReply:
        done = self.store.commit(token, changes).result()
        return CommitReply(done.serial, [Put(obj) for obj in done.objects])

    def reserve(self, job: int, what: str, value: str) -> None:
        if value == "lost":
            raise errors.JobLost(f"job {job} was given up meanwhile")
        if value == "taken":
            raise errors.PrereqError(f"{what} {value} is in use", errors.Code.NOTUNIQUE)

    def generate(self, job: int, what: str, hint: str = "") -> str:
        return f"{what}-{hint}-1"

    def submit(self, job: int, jobs: list[list[WireOp]], token: str = "") -> list[tuple[bool, int | str]]:
        self.submitted[token] = jobs
        return [(True, 100 + index) for index in range(len(jobs))]

    def is_cancelled(self, job: int) -> bool:
        return job in self.cancelled


def _shut(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def _hung_up(sock: socket.socket) -> bool:
    try:
        return sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def wait_until(condition: Callable[[], object], timeout: float = 5.0) -> None:
    """For what the master is not told."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "did not come"
        time.sleep(0.005)
