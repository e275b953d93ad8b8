"""Watching a guest from outside: does it answer, does its counter go on, how long was it away."""

from __future__ import annotations

import os
import re
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ganeti.base import proc
from ganeti.base.errors import ExecError, Timeout
from ganeti.base.files import read_text
from ganeti.base.retry import wait_until

INTERVAL = 0.05
"""Seconds between pings."""
COUNTER_PORT = 7

_ANSWER = re.compile(r"^\[(\d+\.\d+)\] \d+ bytes from ", re.MULTILINE)


@dataclass
class PingLog:
    """Answers to a series of pings. `times` are seconds since the epoch."""

    times: list[float] = field(default_factory=list)

    @property
    def longest_gap(self) -> float:
        """Longest time between two answers, in seconds."""
        return max((later - earlier for earlier, later in zip(self.times, self.times[1:], strict=False)), default=0.0)


def parse_ping(text: str) -> PingLog:
    """Read the output of ``ping -D``."""
    return PingLog([float(match[1]) for match in _ANSWER.finditer(text)])


@contextmanager
def pinging(address: str) -> Iterator[PingLog]:
    """Ping all the time while the block runs; the log is filled when it ends."""
    log = PingLog()
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "ping")
        process = proc.start(["ping", "-D", "-n", "-i", str(INTERVAL), address], log_file=file)
        try:
            yield log
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=5)
            finally:
                proc.stop(process)
            log.times += parse_ping(read_text(file)).times


def wait_for_ping(address: str, timeout: float) -> float:
    """Wait until the address answers a ping; returns how many seconds that took. Raises `ExecError`."""
    start = time.monotonic()

    def answers() -> bool:
        return proc.run(["ping", "-c", "1", "-W", "0.2", "-n", address], ok=proc.ANY_STATUS).status == 0

    try:
        wait_until(answers, timeout=timeout, interval=0.02, what=f"{address} to answer a ping")
    except Timeout as err:
        raise ExecError(f"the guest did not start: {err.message}; look at its console and at the logs of its node") from None
    return time.monotonic() - start


def read_counter(address: str, at_least: int = 1, timeout: float = 60.0) -> int:
    """The guest's counter, which goes on only as long as the guest does; waits until it has come to `at_least`."""

    def ask() -> int:
        try:
            with socket.create_connection((address, COUNTER_PORT), timeout=2) as connection:
                value = int(connection.makefile().readline())
        except (OSError, ValueError):
            return 0  # it is starting
        return value if value >= at_least else 0

    return wait_until(ask, timeout=timeout, interval=0.1, what=f"the counter of {address} to reach {at_least}")
