"""A real `ganeti-masterd` process with real workers, below a root of its own; no node agent, as the master is alone."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ganeti.base import proc
from ganeti.base.paths import Paths
from ganeti.base.retry import wait_until
from ganeti.job.remote import IDLE_PATIENCE
from ganeti.rpc.luxi_client import LuxiClient
from ganeti.store.reader import Reader
from support.masterd import make_store
from support.objects import small_cluster

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = IDLE_PATIENCE + 15.0
"""A worker that was forked while its daemon ended looks for another one for a while."""
FINAL = ("success", "error", "canceled")


class MasterProcess:
    """The daemon as a process that can be stopped, killed and started again."""

    def __init__(self, root: str, **cluster: Any) -> None:
        self.paths = Paths(root, "node1")
        # Nobody answers on the loopback's port, at once.
        objects = small_cluster(1, **cluster)
        make_store(self.paths, [_at_loopback(obj) for obj in objects])
        Path(self.paths.ssconf("master_node")).write_text("node1\n")
        self.process: proc.Process | None = None
        self.client = LuxiClient(self.paths, connect_timeout=PATIENCE)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        """Start it; the client waits until it answers."""
        path = os.pathsep.join(entry for entry in sys.path if entry)
        environment = proc.clean_environment({**self.paths.environment(), "PYTHONPATH": path})
        command = [sys.executable, str(ROOT / "daemons" / "ganeti-masterd"), "--foreground", "--port", "1"]
        self.process = proc.start(command, env=environment, log_file=self.paths.log_file("output"))

    def kill(self) -> None:
        """As a crash does it."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.client.close()

    def restart(self) -> None:
        self.kill()
        self.start()

    def stop(self) -> int:
        """Ask it to end; returns its exit status."""
        assert self.process is not None
        self.process.terminate()
        status = self.process.wait(PATIENCE)
        self.client.close()
        return status

    def submit(self, *jobs: list[dict[str, Any]]) -> list[int]:
        answers = self.client.call("SubmitManyJobs", list(jobs))
        assert all(ok for ok, _ in answers), answers
        return [job for _, job in answers]

    def field(self, job: int, name: str) -> Any:
        return self.client.call("QueryJobs", [job], [name])[0][0]

    def wait_for(self, job: int, *statuses: str) -> str:
        """Follow a job until it has one of these statuses (none: is final)."""
        row: Any = None
        deadline = time.monotonic() + PATIENCE
        while row is None or row[0] not in (statuses or FINAL):
            assert time.monotonic() < deadline, f"job {job} is still {row}"
            row, _ = self.client.call("WaitForJobChange", job, ["status"], row, None, 5)
        return str(row[0])

    def processes(self) -> list[int]:
        """All processes below this root."""
        return [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and self._belongs(entry)]

    def workers(self) -> list[int]:
        """Processes of workers (and their parents)."""
        return [pid for pid in self.processes() if self.process is None or pid != self.process.pid]

    def _belongs(self, pid: str) -> bool:
        try:
            environment = Path("/proc", pid, "environ").read_bytes().split(b"\0")
            return f"GANETI_ROOTDIR={self.paths.root}".encode() in environment
        except OSError:
            return False

    def worker_of(self, job: int) -> int:
        """The process that executes a job, known by the livelock that it holds open."""
        name = self.livelock_of(job)
        for pid in self.workers():
            for descriptor in Path("/proc", str(pid), "fd").iterdir():
                try:
                    if os.readlink(descriptor) == name:
                        return pid
                except OSError:
                    continue
        raise AssertionError(f"nobody executes job {job}")

    def idle_workers(self) -> int:
        """How many workers have a livelock and no job."""
        locks = [name for name in os.listdir(self.paths.livelocks) if "." not in name]
        with Reader(self.paths.store) as reader:
            busy = {job.worker for job in reader.jobs(unfinished=True)}
        return len([name for name in locks if name not in busy])

    def livelock_of(self, job: int) -> str:
        with Reader(self.paths.store) as reader:
            stored = reader.job(job)
            assert stored is not None and stored.worker is not None
            return os.path.join(self.paths.livelocks, stored.worker)

    def end_everything(self) -> None:
        """Leave no process behind."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.client.close()
        wait_until(self._no_workers_left, timeout=PATIENCE, interval=0.02)

    def _no_workers_left(self) -> bool:
        left = self.workers()
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return not left


def _at_loopback(obj: Any) -> Any:
    return replace(obj, primary_ip="127.0.0.1", secondary_ip="127.0.0.1") if hasattr(obj, "primary_ip") else obj


@contextmanager
def master_process(**cluster: Any) -> Iterator[MasterProcess]:
    """A running daemon over a new cluster of one node."""
    root = tempfile.mkdtemp(prefix="gnt")
    try:
        master = MasterProcess(root, **cluster)
        try:
            master.start()
            yield master
        except BaseException:
            for name in ("output", "ganeti-masterd", "jobs"):
                show(master.paths.log_file(name))
            raise
        finally:
            master.end_everything()
    finally:
        shutil.rmtree(root)


def show(path: str, lines: int = 40) -> None:
    """Print the end of a file for whoever reads a failed test."""
    if os.path.exists(path):
        print(f"--- {path}", *Path(path).read_text().splitlines()[-lines:], sep="\n")


def eventually(condition: Callable[[], Any], what: str = "the condition") -> Any:
    return wait_until(condition, timeout=PATIENCE, interval=0.02, what=what)
