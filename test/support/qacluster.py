"""A whole cluster on this machine for end-to-end tests: made by `devcluster`, used by the installed commands, looked at from
outside."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganeti.base import proc
from ganeti.base.paths import Paths
from ganeti.base.retry import wait_until
from ganeti.model.export import config_data
from ganeti.model.job import Job, LogEntry
from ganeti.rpc.luxi_client import LuxiClient
from ganeti.store.reader import Reader
from ganeti.tools.devcluster import machine, product
from ganeti.tools.devcluster.plan import BASE_DIRECTORY, Node, Plan, default_state, from_json, plan_file

TOOL = Path(__file__).resolve().parents[2] / "tools" / "devcluster"
COMMAND_TIMEOUT = 120.0
LOG_LINES = 25
OF_THE_NODE = ("acceleration.json", "capabilities/")
"""Files in the directory of the KVM hypervisor that are about the node, not about a guest."""

_numbers = itertools.count()


def unused_name() -> str:
    """A name that no other test process of this machine uses."""
    return f"q{'abcdefghijklmnopqrstuvwxyz'[next(_numbers) % 26]}{os.getpid() % 10**6}"


def remove_abandoned() -> None:
    """Remove clusters of test processes that were killed."""
    alive = {int(name) % 10**6 for name in os.listdir("/proc") if name.isdigit()}
    names = os.listdir(BASE_DIRECTORY) if os.path.isdir(BASE_DIRECTORY) else []
    for name in names:
        found = re.fullmatch(r"q[a-z](\d+)", name)
        if found and int(found[1]) not in alive:
            QaCluster(name).tool("down")


@dataclass(frozen=True)
class Done:
    """What came of a command."""

    argv: tuple[str, ...]
    status: int
    out: str
    err: str

    @property
    def rows(self) -> list[list[str]]:
        """Its output as words."""
        return [line.split() for line in self.out.splitlines()]

    def __str__(self) -> str:
        return f"$ {' '.join(self.argv)}\n{self.out}{self.err}=> {self.status}"


@dataclass(frozen=True)
class Traces:
    """Everything on the nodes that belongs to some instance, by place. Two of them can be compared."""

    disks: frozenset[str]
    links: frozenset[str]
    taps: frozenset[str]
    guests: frozenset[str]
    runtime: frozenset[str]
    locks: frozenset[str]


@dataclass
class QaCluster:
    """One cluster. `run` and its relatives run commands on the master unless a node is named."""

    name: str
    hypervisor: str = "fake"
    size: int = 3

    # --- the machines
    def tool(self, verb: str, *words: str, timeout: float = 300.0) -> str:
        """Run `devcluster`; returns what it says."""
        argv = [sys.executable, str(TOOL), "--name", self.name, verb, *words]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=timeout)
        assert done.returncode == 0, f"devcluster {verb}: {done.stdout}{done.stderr}"
        return done.stdout

    @property
    def plan(self) -> Plan:
        return from_json(Path(plan_file(default_state(self.name))).read_text())

    def node(self, short: str) -> Node:
        return self.plan.find(short)

    def paths(self, short: str = "node1") -> Paths:
        return self.node(short).paths

    @property
    def master(self) -> str:
        """Short name of the node that commands run on."""
        return Path(self.plan.master_file).read_text().strip()

    def initialise(self) -> None:
        """Make the cluster on bare machines, by the commands that a user would type."""
        self.ok(*product.build_init(self.plan), timeout=300)
        for node in self.plan.nodes[1:]:
            self.ok(*product.build_add(node))

    # --- commands
    def environment(self, node: str | None = None) -> dict[str, str]:
        """As after ``eval "$(devcluster env)"``."""
        chosen = {"DEVCLUSTER_NODE": node} if node else {}
        path = f"{self.plan.commands}:{proc.SEARCH_PATH}"
        return proc.clean_environment({"PATH": path, "HOME": "/root", "TERM": "dumb", **chosen})

    def start(self, *argv: str, node: str | None = None) -> subprocess.Popen[str]:
        """Begin a command; whoever calls this waits for its end with `finish`."""
        return subprocess.Popen(
            argv,
            env=self.environment(node),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def finish(self, process: subprocess.Popen[str], timeout: float = COMMAND_TIMEOUT) -> Done:
        """Wait for a command that was begun."""
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"{process.args} did not end in {timeout} s:\n{out}{err}") from None
        assert isinstance(process.args, (list, tuple))
        return Done(tuple(map(str, process.args)), process.returncode, out, err)

    def run(self, *argv: str, node: str | None = None, timeout: float = COMMAND_TIMEOUT) -> Done:
        return self.finish(self.start(*argv, node=node), timeout)

    def ok(self, *argv: str, node: str | None = None, timeout: float = COMMAND_TIMEOUT) -> Done:
        """A command that must succeed."""
        done = self.run(*argv, node=node, timeout=timeout)
        assert done.status == 0, str(done)
        return done

    def fails(self, *argv: str, status: int = 1, node: str | None = None, timeout: float = COMMAND_TIMEOUT) -> str:
        """A command that must fail, with one error and no traceback; returns what it says on standard error."""
        done = self.run(*argv, node=node, timeout=timeout)
        assert done.status == status, str(done)
        assert done.err.count("Failure: ") <= 1 and "Traceback" not in done.err, str(done)
        assert done.err.strip(), f"said nothing: {done}"
        return done.err

    def on(self, node: str, *argv: str) -> str:
        """Run any program on a node; returns its output."""
        return machine.run(self.plan, self.node(node), list(argv)).stdout

    def cell(self, what: str, name: str, column: str) -> str:
        """One value of ``gnt-<what> list``."""
        return self.ok(f"gnt-{what}", "list", "--no-headers", "--separator=|", "-o", column, name).out.strip()

    # --- from outside
    def luxi(self) -> LuxiClient:
        return LuxiClient(self.paths(self.master))

    def call(self, method: str, *args: Any) -> Any:
        with self.luxi() as client:
            return client.call(method, *args)

    def wait_for_job(self, job: int, timeout: float = COMMAND_TIMEOUT) -> Job:
        """Wait until a job is final, through everything that may happen to the daemon meanwhile."""
        return wait_until(lambda: self._final(job), timeout=timeout, interval=0.02, what=f"job {job} to end")

    def _final(self, job: int) -> Job | None:
        found = self.job(job)
        return found if found is not None and found.status.is_final else None

    def job(self, job: int) -> Job | None:
        reader = Reader(self.paths(self.master).store)
        try:
            return reader.job(job)  # type: ignore[arg-type]  # a job's id is an int
        finally:
            reader.close()

    def jobs(self) -> list[Job]:
        reader = Reader(self.paths(self.master).store)
        try:
            return reader.jobs(archived=True)
        finally:
            reader.close()

    def job_log(self, job: int) -> list[LogEntry]:
        reader = Reader(self.paths(self.master).store)
        try:
            return reader.job_log(job)  # type: ignore[arg-type]  # a job's id is an int
        finally:
            reader.close()

    def objects(self, node: str | None = None) -> dict[str, Any]:
        """The whole configuration, with the serial number of each object (the document's own counts jobs too)."""
        reader = Reader(self.paths(node or self.master).store)
        try:
            return {**config_data(reader.config()), "serial_no": 0}
        finally:
            reader.close()

    # --- daemons
    def daemon(self, name: str, node: str | None = None) -> int | None:
        """Process id, on this host, of a daemon (without its prefix)."""
        where = self.node(node or self.master)
        init = machine.require_init(self.plan, where)
        return product.find_daemons(machine.find_members(init)).get(name)

    def kill_daemon(self, name: str, node: str | None = None, number: int = signal.SIGKILL) -> None:
        """End a daemon as a crash would, and wait until it is gone."""
        pid = self.daemon(name, node)
        assert pid is not None, f"{name} does not run"
        os.kill(pid, number)
        wait_until(lambda: not _lives(pid), timeout=20, interval=0.005, what=f"{name} to end")

    def start_daemon(self, name: str, node: str | None = None) -> None:
        """Start a daemon as its service manager would."""
        self.ok(f"ganeti-{name}", node=node)

    def restart_master_daemon(self) -> None:
        """kill -9, and start again."""
        self.kill_daemon("masterd")
        self.start_daemon("masterd")

    def worker_of(self, job: int) -> int:
        """Process id, on this host, of the worker that runs a job."""
        found = self.job(job)
        assert found is not None and found.worker, f"job {job} has no worker"
        livelock = os.path.join(self.paths(self.master).livelocks, found.worker)
        inode = os.stat(livelock).st_ino
        for member in machine.find_members(machine.require_init(self.plan, self.node(self.master))):
            if _holds(member.pid, inode):
                return member.pid
        raise AssertionError(f"nobody holds {livelock}")

    # --- what is left of instances
    def traces(self) -> Traces:
        """Disks, links, interfaces, guests, files of guests and locks, at this moment."""
        plan = self.plan
        disks: set[str] = set()
        disks |= _files(Path(plan.shared_storage))
        links, taps, guests, runtime = set(), set(), set(), set()
        for node in plan.nodes:
            init = machine.find_init(plan, node)
            disks |= {f"{node.short}:{name}" for name in _files(Path(node.root) / "srv/ganeti/file-storage")}
            links |= {f"{node.short}:{name}" for name in _files(Path(node.paths.run) / "instance-disks")}
            runtime |= {f"{node.short}:{name}" for name in _files(Path(node.paths.kvm)) if not name.startswith(OF_THE_NODE)}
            if init is None:
                continue
            found = json.loads(machine.run(plan, node, ["ip", "-j", "link"]).stdout)
            taps |= {f"{node.short}:{one['ifname']}" for one in found if one["ifname"].startswith(("tap", "gnt", "vif"))}
            names = product.find_guests(node, machine.find_members(init))
            guests |= {f"{node.short}:{name}" for name in names if not name.startswith("settings.json")}
        return Traces(*map(frozenset, (disks, links, taps, guests, runtime, self.held_locks())))

    def held_locks(self) -> set[str]:
        """Locks that somebody holds or waits for."""
        answer = self.call("Query", "lock", ["name", "mode", "owner", "pending"], None)
        values = [[cell[1] for cell in row] for row in answer["data"]]
        return {f"{name} {owner} {pending}" for name, _mode, owner, pending in values if owner or pending}

    # --- the fake hypervisor
    def slow_down(self, **settings: Any) -> None:
        """Settings of the fake hypervisor on all nodes; none: as fast as it can."""
        for node in self.plan.nodes:
            folder = Path(node.paths.fake_hypervisor)
            folder.mkdir(parents=True, exist_ok=True)
            file = folder / "settings.json"
            if settings:
                file.write_text(json.dumps(settings))
            else:
                file.unlink(missing_ok=True)

    def add_os(self, name: str, create: str) -> None:
        """Give all nodes an OS definition whose create script is this shell code."""
        for node in self.plan.nodes:
            folder = Path(node.root) / "srv/ganeti/os" / name
            folder.mkdir(exist_ok=True)
            scripts = {"create": create, "import": "exit 1", "export": "exit 1", "rename": "exit 0", "verify": "exit 0"}
            for script, code in scripts.items():
                (folder / script).write_text(f"#!/bin/sh\n{code}\n")
                (folder / script).chmod(0o755)
            (folder / "ganeti_api_version").write_text("20\n")
            (folder / "parameters.list").touch()

    # --- instances
    def add_instance(self, name: str, *more: str, node: str = "node1", start: bool = True) -> Done:
        """Create an instance quickly."""
        words = ["-t", "sharedfile", "-s", "8m", "-o", "noop", "-n", node, *more, *([] if start else ["--no-start"])]
        return self.ok("gnt-instance", "add", *words, name)

    def remove_instances(self) -> None:
        """Bring the cluster back to having none."""
        for line in self.ok("gnt-instance", "list", "--no-headers", "-o", "name").out.split():
            self.ok("gnt-instance", "remove", "-f", "--ignore-failures", "--shutdown-timeout=0", line)

    # --- logs
    def logs(self) -> str:
        """The last lines of all logs, for a test that failed."""
        parts = []
        for node in self.plan.nodes:
            folder = Path(node.paths.log)
            for file in sorted(folder.glob("*.log")) if folder.is_dir() else ():
                lines = [line for line in file.read_text(errors="replace").splitlines() if not _is_routine(line)]
                parts.append("\n".join([f"--- {node.short} {file.name}", *lines[-LOG_LINES:]]))
        return "\n".join(parts)

    def keep_logs(self, folder: Path) -> None:
        """Copy all logs to a folder that outlives the cluster."""
        for node in self.plan.nodes:
            if os.path.isdir(node.paths.log):
                shutil.copytree(node.paths.log, folder / node.name, dirs_exist_ok=True)


def _is_routine(line: str) -> bool:
    return " ganeti.node.access: " in line and ": ok, " in line


def _lives(pid: int) -> bool:
    found = machine.read_stat(pid)
    return found is not None and found[0] not in "ZX"


def _holds(pid: int, inode: int) -> bool:
    folder = f"/proc/{pid}/fd"
    try:
        return any(os.stat(os.path.join(folder, name)).st_ino == inode for name in os.listdir(folder))
    except OSError:
        return False


def _files(folder: Path) -> set[str]:
    found = set()
    for base, _folders, names in os.walk(folder):
        found |= {os.path.relpath(os.path.join(base, name), folder) for name in names}
    return found


LIVING: list[QaCluster] = []
"""Clusters that are up now, for whoever reports a failure."""

FACTS: list[str] = []
"""What was measured on the way, for the summary."""


def note(fact: str) -> None:
    """Tell a measured fact, and have it repeated in the summary of all tests."""
    FACTS.append(fact)
    print(fact)


@contextmanager
def running(hypervisor: str = "fake", *, size: int = 3, bare: bool = False) -> Iterator[QaCluster]:
    """A cluster, from its first machine to its last trace."""
    remove_abandoned()
    cluster = QaCluster(unused_name(), hypervisor, size)
    try:
        begun = time.monotonic()
        words = ["--nodes", str(size), "--hypervisor", hypervisor, *(["--bare"] if bare else [])]
        cluster.tool("up", *words, timeout=900)
        if not bare:
            note(f"{size} nodes ({hypervisor}) were a cluster after {time.monotonic() - begun:.1f} s")
        LIVING.append(cluster)
        yield cluster
    finally:
        if cluster in LIVING:
            LIVING.remove(cluster)
        cluster.tool("down")
