"""The QEMU process of a guest: found by its pid file, believed only if its command line names the guest."""

from __future__ import annotations

import logging
import time
from typing import Self

import psutil

from ganeti.base import proc
from ganeti.base.files import read_optional
from ganeti.node.hypervisor.kvm.places import GuestPlaces

log = logging.getLogger(__name__)

POLL_SECONDS = 0.02

_CHILDREN: dict[int, proc.Process] = {}
"""Guests that this Python process started and that have not been seen to end: whoever starts a process has to reap it."""


class GuestProcess:
    """A QEMU process. Safe against its number being used by another process later."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        self._child = _CHILDREN.get(process.pid)
        self.pid = process.pid

    @classmethod
    def of_child(cls, child: proc.Process) -> Self:
        """A process that this agent has just started."""
        _CHILDREN[child.pid] = child
        return cls(psutil.Process(child.pid))

    @classmethod
    def find(cls, places: GuestPlaces, uuid: str | None = None) -> Self | None:
        """The living process of a guest; `uuid` is checked too where it is known."""
        text = read_optional(places.pid)
        if text is None or not text.strip().isdigit():
            return None
        try:
            process = psutil.Process(int(text))
            words = process.cmdline()
        except psutil.Error:
            return None
        found = cls(process)
        return found if found.is_alive() and names_guest(words, places.name, uuid) else None

    def is_alive(self) -> bool:
        """Whether it runs; a child of ours that has ended is reaped by asking."""
        if self._child is not None:
            if self._child.poll() is None:
                return True
            _CHILDREN.pop(self.pid, None)
            return False
        try:
            return self._process.is_running() and self._process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def cpu_seconds(self) -> float:
        """User and system time it has used so far."""
        try:
            times = self._process.cpu_times()
        except psutil.Error:
            return 0.0
        return float(times.user + times.system)

    def resident_bytes(self) -> int:
        """How much of the node's memory it occupies."""
        try:
            return int(self._process.memory_info().rss)
        except psutil.Error:
            return 0

    def wait(self, timeout: float) -> bool:
        """Wait for its end, up to `timeout` seconds; whether it has ended."""
        deadline = time.monotonic() + timeout
        while self.is_alive():
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def end(self, grace: float) -> bool:
        """SIGTERM, on which QEMU writes out what is pending, and SIGKILL after `grace` seconds; whether it has ended."""
        for send in (self._process.terminate, self._process.kill):
            try:
                send()
            except psutil.NoSuchProcess:
                return True
            if self.wait(grace):
                return True
            log.warning("QEMU process %s did not end within %g s of %s", self.pid, grace, send.__name__)
        return False


def names_guest(words: list[str], name: str, uuid: str | None) -> bool:
    """Whether this is the command line of the guest's QEMU (see `command.build_argv`)."""
    has_name = any(word.startswith(f"guest={name},") for word in words)
    return has_name and (uuid is None or uuid in words)
