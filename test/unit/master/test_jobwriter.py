"""Batches of the job writer, over a store that the test plays."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from ganeti.base.errors import ConfigError, QueueError
from ganeti.master import jobwriter
from ganeti.master.jobwriter import JobWriter
from ganeti.model.job import LogEntry
from ganeti.store.writer import Write
from support.objects import make_job


class Disk:
    def __init__(self) -> None:
        self.writes: list[Write] = []
        self.error: Exception | None = None

    async def write(self, request: Write) -> None:
        await asyncio.sleep(0)
        self.writes.append(request)
        if self.error is not None:
            raise self.error


def run(test: Callable[[JobWriter, Disk], Coroutine[Any, Any, None]]) -> None:
    async def body() -> None:
        disk = Disk()
        await test(JobWriter(disk.write), disk)

    asyncio.run(body())


def line(serial: int) -> LogEntry:
    return LogEntry(serial=serial, op_index=0, timestamp=1, type="message", message="x")


def test_changes_of_one_turn_are_one_transaction() -> None:
    async def test(writer: JobWriter, disk: Disk) -> None:
        writer.append_log(1, line(1))
        first, second = writer.add(make_job(1)), writer.save(make_job(2))
        changed = make_job(1, worker="w1-1")
        third = writer.save(changed)
        await asyncio.gather(first, second, third)
        (write,) = disk.writes
        assert write.new_jobs == [changed]
        assert [job.id for job in write.jobs] == [2]
        assert write.log == {1: [line(1)]}

    run(test)


def test_state_that_nobody_waits_for_rides_along() -> None:
    async def test(writer: JobWriter, disk: Disk) -> None:
        writer.later(make_job(1, worker="w1-1"))
        await asyncio.sleep(0.01)
        assert disk.writes == []
        await writer.save(make_job(2))
        assert [job.id for job in disk.writes[0].jobs] == [1, 2]

    run(test)


def test_state_that_nobody_waits_for_is_written_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobwriter, "LAZY", 0.01)

    async def test(writer: JobWriter, disk: Disk) -> None:
        writer.later(make_job(1))
        await asyncio.sleep(0.03)
        assert len(disk.writes) == 1
        writer.later(make_job(2))
        await writer.flush()
        assert len(disk.writes) == 2

    run(test)


def test_error_reaches_whoever_waits_and_nobody_else() -> None:
    async def test(writer: JobWriter, disk: Disk) -> None:
        disk.error = QueueError("no")
        unattended = writer.save(make_job(1))
        with pytest.raises(QueueError):
            await asyncio.shield(unattended)
        disk.error = None
        await writer.save(make_job(1))

    run(test)


def test_log_lines_survive_a_full_disk() -> None:
    async def test(writer: JobWriter, disk: Disk) -> None:
        disk.error = ConfigError("full")
        writer.append_log(1, line(1))
        await writer.flush()
        disk.error = None
        writer.append_log(1, line(2))
        await writer.flush()
        assert disk.writes[-1].log == {1: [line(1), line(2)]}

    run(test)
