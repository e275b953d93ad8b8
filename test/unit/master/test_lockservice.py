"""Waiting for locks, and the journal."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ganeti.base.errors import ConfigError
from ganeti.master import lockservice
from ganeti.master.lockservice import Journal, LockService
from ganeti.model.locks import LockName, lock

A, B = lock("node", "a"), lock("node", "b")


def service(directory: Path) -> LockService:
    return LockService(Journal(str(directory)))


def test_waiting_request_is_granted_when_the_holder_gives_up(tmp_path: Path) -> None:
    async def body() -> None:
        locks = service(tmp_path)
        assert await locks.acquire(1, "w1-1", [A], [])
        waiting = asyncio.create_task(locks.acquire(2, "w1-2", [A, B], []))
        await asyncio.sleep(0)
        locks.drop(1)
        assert await waiting
        assert locks.table.held(2).exclusive == {A, B}

    asyncio.run(body())


def test_interrupted_request_lets_those_behind_it_through(tmp_path: Path) -> None:
    async def body() -> None:
        locks = service(tmp_path)
        await locks.acquire(1, "w1-1", [A], [])
        second = asyncio.create_task(locks.acquire(2, "w1-2", [A, B], []))
        third = asyncio.create_task(locks.acquire(3, "w1-3", [B], []))
        await asyncio.sleep(0)
        assert not third.done()
        second.cancel()
        assert await third
        assert not locks.table.is_waiting(2)

    asyncio.run(body())


def test_priority_of_a_waiting_request_rises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lockservice, "AGEING", 0.005)

    async def body() -> None:
        locks = service(tmp_path)
        await locks.acquire(1, "w1-1", [A], [])
        patient = asyncio.create_task(locks.acquire(2, "w1-2", [A], [], priority=2))
        await asyncio.sleep(0.04)
        urgent = asyncio.create_task(locks.acquire(3, "w1-3", [A], [], priority=0))
        await asyncio.sleep(0)
        locks.drop(1)
        await patient
        assert not urgent.done()
        urgent.cancel()

    asyncio.run(body())


def test_changed_priority_moves_a_request(tmp_path: Path) -> None:
    async def body() -> None:
        locks = service(tmp_path)
        await locks.acquire(1, "w1-1", [A], [])
        second = asyncio.create_task(locks.acquire(2, "w1-2", [A], []))
        third = asyncio.create_task(locks.acquire(3, "w1-3", [A], []))
        await asyncio.sleep(0)
        locks.set_priority(3, -5)
        locks.drop(1)
        await third
        assert not second.done()
        second.cancel()

    asyncio.run(body())


def test_journal_says_what_the_next_daemon_must_know(tmp_path: Path) -> None:
    async def body() -> None:
        locks = service(tmp_path)
        await locks.acquire(1, "w1-1", [A], [B])
        waiting = asyncio.create_task(locks.acquire(2, "w1-2", [B], []))
        await asyncio.sleep(0)
        locks.release(1, [B])
        await waiting
        locks.downgrade(1, [A])

        after = service(tmp_path)
        after.restore(1, "w1-1")
        after.restore(2, "w1-2")
        assert after.table.held(1) == locks.table.held(1)
        assert after.table.held(2) == locks.table.held(2)

    asyncio.run(body())


def test_entry_of_an_earlier_job_is_not_taken_for_the_present_one(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path))
    journal.write("w1-1", 1, [A], [])
    assert journal.read("w1-1", 2) == ([], [])
    assert journal.read("w1-9", 2) == ([], [])
    assert journal.read("w1-1", 1) == ([A], [])
    journal.remove("w1-1")
    journal.remove("w1-1")
    assert journal.read("w1-1", 1) == ([], [])


def test_damaged_entry_is_nothing(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path))
    Path(journal.path("w1-1")).write_text("{")
    assert journal.read("w1-1", 1) == ([], [])


def test_journal_that_cannot_be_written_does_not_stop_jobs(tmp_path: Path) -> None:
    async def body() -> None:
        locks = LockService(Journal(str(tmp_path / "gone")))
        assert await locks.acquire(1, "w1-1", [A], [])

    asyncio.run(body())


def test_restored_locks_that_conflict_are_refused(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path))
    names: list[LockName] = [A]
    journal.write("w1-1", 1, names, [])
    journal.write("w1-2", 2, names, [])
    locks = service(tmp_path)
    locks.restore(1, "w1-1")
    with pytest.raises(ConfigError, match="claims locks that others hold"):
        locks.restore(2, "w1-2")
