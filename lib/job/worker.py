"""A worker process: it executes one job after the other and outlives the master daemon."""

from __future__ import annotations

import logging
import os
import signal

from ganeti.base import log as logs
from ganeti.base.errors import ExecError, GanetiError, to_wire
from ganeti.base.flock import FileLock
from ganeti.base.paths import Paths
from ganeti.job.cancel import Cancellation
from ganeti.job.context import CurrentConfig, Doors
from ganeti.job.executor import Executor
from ganeti.job.master import JobTaken
from ganeti.job.remote import MasterLink
from ganeti.model.enums import JobStatus
from ganeti.rpc.http import HttpsNodeCaller
from ganeti.rpc.jobs import Assignment, OpProgress
from ganeti.rpc.nodes import PORT
from ganeti.rpc.tls import Credentials
from ganeti.store.reader import Reader

log = logging.getLogger(__name__)

EXIT_JOB_LOST = 75
"""Exit status of a worker whose job was given up by the master daemon."""
LIVELOCK_TIME = 5.0
"""Seconds; somebody may just be looking whether the lock is held."""


def run(name: str, paths: Paths, port: int = PORT) -> int:
    """The life of a worker, in a process of its own; returns its exit status."""
    os.setsid()  # so that nothing that ends the daemon's session ends the job
    livelock = claim_livelock(name, paths)
    cancellation = Cancellation()
    handle_signals(cancellation)
    link = MasterLink(paths.job_socket, name, cancellation, lambda error: os._exit(_status_of(link)))
    current = CurrentConfig(Reader(paths.store))
    nodes = HttpsNodeCaller(current.find_target, Credentials.of(paths), lambda: link.epoch, port)
    executor = Executor(Doors(link, current, nodes, cancellation, paths.hooks, paths.data))
    try:
        link.open()
        set_title("ganeti-worker")
        _open_store(current)
        while (assignment := link.next_job()) is not None:
            set_title(f"ganeti-job {assignment.job}")
            work(link, executor, cancellation, assignment)
            set_title("ganeti-worker")
        return 0
    except JobTaken:
        return _status_of(link)
    finally:
        log.debug("worker %s ends", name)
        livelock.forget()


def work(link: MasterLink, executor: Executor, cancellation: Cancellation, assignment: Assignment) -> None:
    """Execute one job and report its end."""
    if cancellation.is_set():
        # The signal may have been meant for the job before this one.
        cancellation.clear()
        if link.is_cancelled():
            cancellation.set()
    reports = executor.execute(assignment)
    try:
        link.finish(reports)
    except GanetiError as err:
        log.exception("the end of job %d cannot be reported", assignment.job)
        error = to_wire(ExecError(f"the job ran, but its results cannot be stored: {err}"))
        indexes = range(assignment.start_at, len(assignment.ops))
        link.finish([OpProgress(index, JobStatus.ERROR, error) for index in indexes])


def _open_store(current: CurrentConfig) -> None:
    """Read the configuration once while there is nothing else to do: the first time takes longest."""
    try:
        log.debug("the configuration is at serial %d", current.config.serial)
    except GanetiError as err:
        log.warning("%s", err)
    current.outdate()


def _status_of(link: MasterLink) -> int:
    return 0 if link.job is None else EXIT_JOB_LOST


def claim_livelock(name: str, paths: Paths) -> FileLock:
    """Hold the lock that proves, as long as this process lives, that this worker lives."""
    os.makedirs(paths.livelocks, mode=0o700, exist_ok=True)
    livelock = FileLock(os.path.join(paths.livelocks, name))
    livelock.acquire(LIVELOCK_TIME)
    return livelock


def handle_signals(cancellation: Cancellation) -> None:
    """SIGTERM wishes the job to end, SIGHUP reopens the log. Handlers must not raise: libraries may be calling back."""
    signal.signal(signal.SIGTERM, lambda number, frame: cancellation.set())
    signal.signal(signal.SIGHUP, lambda number, frame: logs.reopen())
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def set_title(title: str) -> None:
    """Show in `ps` and `top` what the process does (15 characters)."""
    try:
        with open("/proc/self/comm", "wb", buffering=0) as stream:
            stream.write(title.encode()[:15])
    except OSError:
        pass  # of no importance
