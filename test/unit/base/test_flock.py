from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ganeti.base.errors import LockTimeout
from ganeti.base.flock import FileLock, is_locked


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "lock")


def test_lock_excludes_others_until_released(path: str) -> None:
    first, second = FileLock(path), FileLock(path)
    assert first.try_acquire() and first.held
    assert not second.try_acquire() and not second.held
    with pytest.raises(LockTimeout, match=f"{path} is held by another process"):
        second.acquire(timeout=0.02)
    first.release()
    second.acquire(timeout=0)
    second.release()
    second.release()


def test_shared_locks_coexist_and_exclude_an_exclusive_one(path: str) -> None:
    with FileLock(path) as lock:
        assert lock.held
    readers = [FileLock(path), FileLock(path)]
    for reader in readers:
        reader.acquire(shared=True)
    writer = FileLock(path)
    assert not writer.try_acquire()
    for reader in readers:
        reader.release()
    assert writer.try_acquire()
    assert not readers[0].try_acquire(shared=True)
    writer.release()


def test_locking_twice_is_a_mistake(path: str) -> None:
    with FileLock(path) as lock, pytest.raises(RuntimeError):
        lock.acquire()


def test_is_locked_looks_without_keeping_or_creating(path: str) -> None:
    assert not is_locked(path)
    assert not os.path.exists(path)
    with FileLock(path):
        assert is_locked(path)
    assert not is_locked(path)
    assert FileLock(path).try_acquire()


def test_forked_child_holds_the_lock_after_its_parent_forgot_it(path: str) -> None:
    lock = FileLock(path)
    lock.acquire()
    hold, gone = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(gone)
        os.read(hold, 1)
        os._exit(0)
    os.close(hold)
    lock.forget()
    assert is_locked(path)
    os.close(gone)
    os.waitpid(child, 0)
    assert not is_locked(path)


@pytest.mark.parametrize("inheritable", [False, True])
def test_started_program_keeps_only_an_inheritable_lock(path: str, inheritable: bool) -> None:
    lock = FileLock(path, inheritable=inheritable)
    lock.acquire()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False):
        lock.forget()
        assert is_locked(path) is inheritable
    assert not is_locked(path)


def test_holder_can_leave_a_note(path: str) -> None:
    lock = FileLock(path)
    with pytest.raises(RuntimeError):
        lock.write("x")
    with lock:
        lock.write("12345\n")
        lock.write("67\n")
        assert os.fstat(lock.fileno()).st_ino == os.stat(path).st_ino
    assert Path(path).read_text() == "67\n"


def test_lock_in_a_missing_directory_fails_as_such(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FileLock(str(tmp_path / "no" / "lock")).try_acquire()
