"""The parent of the job workers: a process that has everything imported and forks on request.

It is a program of its own (`ganeti.job.main --zygote`), so that workers inherit neither the master daemon's event loop nor its
open files. Its standard input is a socket on which both sides send JSON lines:

    to it     {"fork": name}
    from it   {"ready": true}   {"forked": name, "pid": n}   {"exited": pid, "status": n}

When the master daemon ends, the socket ends, and so does this process; workers live on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Any

from ganeti.base import jsontext, proc
from ganeti.base.errors import DecodeError, ExecError, Timeout
from ganeti.base.paths import Paths
from ganeti.base.retry import wait_until
from ganeti.master.workers import SpawnEvents, describe_status

log = logging.getLogger(__name__)

END_TIME = 5.0


def default_command() -> list[str]:
    """How the parent of the workers is started."""
    return [sys.executable, "-m", "ganeti.job.main", "--zygote"]


class Zygote:
    """A `Spawner` that asks the parent process."""

    def __init__(self, paths: Paths, command: Sequence[str] | None = None) -> None:
        self._paths = paths
        self._command = list(command or default_command())
        self._writer: asyncio.StreamWriter | None = None
        self._process: proc.Process | None = None
        self._ready = False
        self._names: dict[int, str] = {}
        self._closed = False

    async def run(self, events: SpawnEvents) -> None:
        """Start the process and listen to it until it ends; raises `ExecError` unless that was wanted."""
        if self._closed:
            return
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = self._process = await asyncio.to_thread(self._start, theirs)
            except BaseException:
                ours.close()
                raise
        self._names.clear()
        reader, self._writer = await asyncio.open_connection(sock=ours)
        try:
            while line := await reader.readline():
                self._heard(line, events)
        except ConnectionError as err:
            log.warning("the parent of the workers: %s", err)
        finally:
            self._ready = False
            self._process = None
            writer, self._writer = self._writer, None
            writer.close()
            status = await asyncio.shield(asyncio.to_thread(_reap, process))
        if not self._closed:
            log_file = self._paths.log_file("jobs")
            raise ExecError(f"the parent of the worker processes ended: {describe_status(status)}; see {log_file}")

    def spawn(self, name: str) -> bool:
        if self._writer is None or not self._ready:
            return False
        self._writer.write(jsontext.dumps({"fork": name}).encode() + b"\n")
        return True

    def reopen_logs(self) -> None:
        if self._process is not None and self._ready:
            self._process.send_signal(signal.SIGHUP)

    async def close(self) -> None:
        self._closed = True
        if self._writer is not None:
            self._writer.close()
            with contextlib.suppress(ConnectionError):
                await self._writer.wait_closed()

    def _start(self, stdin: socket.socket) -> proc.Process:
        # The package may lie anywhere: what this interpreter finds, its child must find too.
        path = os.pathsep.join(entry for entry in sys.path if entry)
        environment = proc.clean_environment({**self._paths.environment(), "PYTHONPATH": path})
        return proc.start(
            self._command,
            env=environment,
            stdin=stdin.fileno(),
            log_file=self._paths.log_file("jobs"),
        )

    def _heard(self, line: bytes, events: SpawnEvents) -> None:
        try:
            message: Any = jsontext.loads(line)
            if "ready" in message:
                self._ready = True
                events.ready()
            elif "forked" in message:
                self._names[message["pid"]] = message["forked"]
            elif "exited" in message:
                name = self._names.pop(message["exited"], None)
                if name is not None:
                    events.exited(name, message["status"])
        except (DecodeError, TypeError, KeyError):
            log.exception("the parent of the workers said something strange: %r", line)


def _reap(process: proc.Process) -> int:
    """Wait for a process that has seen the end of its input; its status."""
    try:
        wait_until(lambda: process.poll() is not None, timeout=END_TIME, interval=0.01, backoff=1.5)
    except Timeout:
        log.warning("the parent of the workers did not end by itself")
    return proc.stop(process)
