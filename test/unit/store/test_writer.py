"""The writer: all or nothing, checked one by one, shared transactions, repeated requests, faults of the disk."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import resource
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from ganeti.base.errors import ConfigError, Conflict, LockTimeout, QueueError, StaleEpoch
from ganeti.model.enums import JobStatus, Kind
from ganeti.model.job import LogEntry
from ganeti.model.objects import Delete, Put
from ganeti.store import writer
from ganeti.store.reader import Reader
from ganeti.store.schema import LogRow
from ganeti.store.writer import Store, Write
from support.objects import make_group, make_job, make_node, small_cluster


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "cluster.db")


@pytest.fixture
def store(path: str) -> Iterator[Store]:
    with Store.open(path, create=True, epoch=1, clock=lambda: 1000.0) as store:
        store.commit(None, [Put(obj) for obj in small_cluster(nodes=2)]).result()
        yield store


@pytest.fixture
def reader(store: Store) -> Iterator[Reader]:
    with Reader(store.path) as reader:
        yield reader


# --- commits


def test_commit_raises_serial_numbers_and_sets_times(store: Store, reader: Reader) -> None:
    group = store.commit(None, [Put(make_group(name="rack"))]).result().objects[0]
    assert (group.serial_no, group.ctime, group.mtime) == (1, 1000.0, 1000.0)
    again = store.commit(None, [Put(dataclasses.replace(group, tags=("a",), ctime=5.0))]).result().objects[0]
    assert (again.serial_no, again.ctime) == (2, 1000.0)
    assert reader.config().find_group("rack") == again


def test_commit_of_an_object_changed_meanwhile_is_refused(store: Store, reader: Reader) -> None:
    group = reader.config().find_group("default")
    store.commit(None, [Put(dataclasses.replace(group, tags=("a",)))]).result()
    with pytest.raises(Conflict, match=r"nodegroup default .*serial number 2, expected 1"):
        store.commit(None, [Put(dataclasses.replace(group, tags=("b",)))]).result()
    assert reader.config().find_group("default").tags == ("a",)


def test_new_object_with_a_uuid_in_use_is_refused(store: Store, reader: Reader) -> None:
    group = reader.config().find_group("default")
    with pytest.raises(Conflict, match="exists already"):
        store.commit(None, [Put(dataclasses.replace(group, serial_no=0))]).result()


def test_object_removed_meanwhile_cannot_be_changed(store: Store) -> None:
    group = store.commit(None, [Put(make_group(name="rack"))]).result().objects[0]
    store.commit(None, [Delete.of(group)]).result()
    for change in (Put(group), Delete.of(group)):
        with pytest.raises(Conflict, match="removed meanwhile"):
            store.commit(None, [change]).result()


def test_refused_commit_changes_nothing_at_all(store: Store, reader: Reader) -> None:
    before = reader.position(), reader.log_rows(0)
    with pytest.raises(ConfigError, match="refers to nodegroup nowhere"):
        store.commit("token", [Put(make_group(name="rack")), Put(make_node("nowhere"))]).result()
    assert (reader.position(), reader.log_rows(0)) == before
    assert store.commit("token", [Put(make_group(name="rack"))]).result().serial == before[0][1] + 1


def test_repeated_request_gets_the_same_answer(store: Store, path: str) -> None:
    changes = [Put(make_group(name="rack")), Put(make_group(name="row"))]
    first = store.commit("job-7-1", changes).result()
    assert store.commit("job-7-1", changes).result() == first
    store.close()
    with Store.open(path) as reopened:
        assert reopened.commit("job-7-1", changes).result() == first
        assert reopened.serial == first.serial


def test_request_repeated_within_a_transaction_is_done_once(store: Store) -> None:
    changes = [Put(make_group(name="rack"))]
    futures = [store.commit("same", changes) for _ in range(20)]
    assert len({future.result().serial for future in futures}) == 1


def test_bad_request_does_not_fail_its_company(store: Store, reader: Reader) -> None:
    with _held_back(store) as futures:
        futures.append(store.commit(None, [Put(make_group(name="good1"))]))
        futures.append(store.commit(None, [Put(make_group(name="good1"))]))
        futures.append(store.commit(None, [Put(make_node("nowhere"))]))
        futures.append(store.accept_jobs([make_job(77)]))
        futures.append(store.save_jobs([make_job(78)]))
        futures.append(store.commit(None, [Put(make_group(name="good2"))]))
    errors = [type(future.exception()) for future in futures]
    assert errors == [type(None), ConfigError, ConfigError, type(None), QueueError, type(None)]
    assert list(reader.snapshot().names(Kind.GROUP)) == ["default", "good1", "good2"]
    assert reader.position()[1] == store.serial == futures[5].result().serial == futures[0].result().serial + 2


def test_requests_that_come_together_share_a_transaction(store: Store) -> None:
    groups: list[list[LogRow]] = []
    store.on_commit = groups.append
    with _held_back(store) as futures:
        futures.extend(store.commit(None, [Put(make_group())]) for _ in range(50))
    assert [future.result().serial for future in futures] == list(range(store.serial - 49, store.serial + 1))
    assert [len(rows) for rows in groups] == [50]


class _held_back:  # noqa: N801  (reads like a function)
    """Keeps the writer's thread busy, so that what is asked for meanwhile comes together."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.futures: list[Future[Any]] = []

    def __enter__(self) -> list[Future[Any]]:
        started, go = threading.Event(), threading.Event()
        former = self.store.on_commit

        def wait(_rows: list[LogRow]) -> None:
            started.set()
            go.wait()
            self.store.on_commit = former

        self.store.on_commit = wait
        self.store.archive_jobs([0])
        assert started.wait(5)
        self.go = go
        return self.futures

    def __exit__(self, *_: object) -> None:
        self.go.set()
        for future in self.futures:
            future.exception(5)


# --- answering


def test_request_is_answered_when_the_hook_says_so(store: Store) -> None:
    replicated: Future[None] = Future()
    store.on_commit = lambda _rows: replicated
    first = store.commit(None, [Put(make_group())])
    second = store.commit(None, [Put(make_group())])
    store_serial = store.serial
    assert not first.done() and not second.done()
    replicated.set_result(None)
    assert first.result(5).serial <= store_serial + 1
    assert second.result(5).serial > first.result().serial


def test_hook_gets_every_row_in_order(store: Store, reader: Reader) -> None:
    seen: list[LogRow] = []
    start = store.serial
    store.on_commit = seen.extend
    for future in [store.commit(None, [Put(make_group())]) for _ in range(30)]:
        future.result()
    assert seen == reader.log_rows(start)
    assert [row[0] for row in seen] == list(range(start + 1, start + 31))


def test_replaced_master_writes_nothing_more(store: Store) -> None:
    answer: Future[None] = Future()
    answer.set_exception(StaleEpoch("node2 follows epoch 2"))
    store.on_commit = lambda _rows: answer
    with pytest.raises(StaleEpoch):
        store.commit(None, [Put(make_group())]).result()
    serial = store.serial
    with pytest.raises(StaleEpoch):
        store.commit(None, [Put(make_group())]).result()
    assert store.serial == serial


def test_lazy_request_is_written_with_the_next_one(store: Store) -> None:
    groups: list[list[LogRow]] = []
    ids = store.allocate_job_ids(1)
    store.accept_jobs([make_job(ids[0])]).result()
    store.on_commit = groups.append
    lazy = store.append_log(ids[0], [_line(1)], lazy=True)
    store.commit(None, [Put(make_group())]).result()
    assert lazy.done()
    assert [len(rows) for rows in groups] == [2]


def test_lazy_request_without_company_is_written_soon(store: Store, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "LAZY_DELAY", 0.02)
    store.accept_jobs([make_job(1)]).result()
    store.append_log(1, [_line(1)], lazy=True).result(5)
    assert len(reader.job_log(1)) == 1


def test_closing_writes_what_was_asked_for(store: Store, path: str) -> None:
    futures = [store.commit(None, [Put(make_group())]) for _ in range(10)]
    lazy = store.write(Write(new_jobs=[make_job(5)]), lazy=True)
    store.close()
    assert all(future.done() for future in [*futures, lazy])
    with pytest.raises(ConfigError, match="is closed"):
        store.commit(None, [])
    with Reader(path) as reader:
        assert reader.job(5) is not None


# --- jobs


def _line(serial: int, message: Any = "text") -> LogEntry:
    return LogEntry(serial=serial, op_index=0, timestamp=serial * 1000, type="message", message=message)


def test_job_ids_come_in_blocks_and_survive(store: Store, path: str) -> None:
    assert store.allocate_job_ids(3) == [1, 2, 3]
    store.accept_jobs([make_job(ident) for ident in store.allocate_job_ids(2)]).result()
    store.close()
    with Store.open(path) as reopened:
        assert reopened.allocate_job_ids(1) == [6]


def test_job_is_accepted_once(store: Store) -> None:
    store.accept_jobs([make_job(1)]).result()
    with pytest.raises(QueueError, match="job 1 exists"):
        store.accept_jobs([make_job(2), make_job(1)]).result()


def test_unfinished_jobs_are_told_from_the_others(store: Store, reader: Reader) -> None:
    store.accept_jobs([make_job(ident) for ident in range(1, 6)]).result()
    done = make_job(2)
    ops = tuple(dataclasses.replace(op, status=JobStatus.SUCCESS, result=[1, {"a": None}], end=5) for op in done.ops)
    store.save_jobs([dataclasses.replace(done, ops=ops, worker="w1")]).result()
    store.archive_jobs([4]).result()
    assert [job.id for job in reader.jobs()] == [1, 2, 3, 5]
    assert [job.id for job in reader.jobs(unfinished=True)] == [1, 3, 5]
    assert [job.id for job in reader.jobs(archived=True)] == [1, 2, 3, 4, 5]
    assert [job.id for job in reader.jobs([5, 2, 99])] == [2, 5]
    found = reader.job(2)
    assert found is not None and (found.status, found.ops[0].result, found.worker) == (JobStatus.SUCCESS, [1, {"a": None}], "w1")
    archived = reader.job(4)
    assert archived is not None and archived.archived
    assert reader.job(99) is None
    assert reader.last_job_id() == 5


def test_log_is_read_from_where_the_reader_is(store: Store, reader: Reader) -> None:
    store.accept_jobs([make_job(1), make_job(2)]).result()
    store.append_log(1, [_line(1, {"x": [1]}), _line(2)]).result()
    store.write(Write(log={1: [_line(3)], 2: [_line(1)]})).result()
    assert [line.serial for line in reader.job_log(1)] == [1, 2, 3]
    assert reader.job_log(1, after=2) == [_line(3)]
    assert reader.job_log(1)[0].message == {"x": [1]}


def test_removed_job_takes_its_log_along(store: Store, reader: Reader) -> None:
    store.accept_jobs([make_job(1)]).result()
    store.append_log(1, [_line(1)]).result()
    store.remove_jobs([1]).result()
    assert reader.job(1) is None and reader.job_log(1) == [] and reader.last_job_id() == 1


def test_job_and_configuration_change_in_one_transaction(store: Store, reader: Reader) -> None:
    request = Write(changes=[Put(make_group(name="rack"))], new_jobs=[make_job(1)], log={1: [_line(1)]})
    serial = store.write(request).result().serial
    assert reader.position() == (1, serial)
    rows = reader.log_rows(serial - 1)
    assert rows is not None and len(rows) == 1


# --- opening


def test_second_writer_is_refused(store: Store, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "LOCK_WAIT", 0.02)
    with pytest.raises(LockTimeout, match="has another writer"):
        Store.open(path)


def test_missing_store_is_not_made_by_accident(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no cluster store"):
        Store.open(str(tmp_path / "none.db"))
    assert not (tmp_path / "none.db").exists()
    Store.open(str(tmp_path / "none.db"), create=True).close()


def test_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cluster.db").write_text("this is not a database, but a text of some length" * 30)
    with pytest.raises(ConfigError, match="cannot open"):
        Store.open(str(tmp_path / "cluster.db"))


def test_epochs_only_grow(store: Store, path: str) -> None:
    assert store.epoch == 1
    assert store.new_epoch() == 2
    assert store.new_epoch(at_least=7) == 7
    store.commit(None, [Put(make_group(name="rack"))]).result()
    store.close()
    with pytest.raises(StaleEpoch, match="belongs to epoch 7"):
        Store.open(path, epoch=6)
    with Store.open(path) as same:
        assert same.epoch == 7
    with Store.open(path, epoch=9) as later, Reader(path) as reader:
        assert (later.epoch, reader.position()[0]) == (9, 9)


# --- faults of the disk


@contextlib.contextmanager
def _files_cannot_grow(path: str) -> Iterator[None]:
    """Writes beyond the present end of the write-ahead log fail, in this process."""
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = max(os.path.getsize(path + suffix) for suffix in ("", "-wal"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)


def test_failing_disk_refuses_and_later_goes_on(store: Store, reader: Reader) -> None:
    group = reader.config().find_group("default")
    before = reader.position(), reader.log_rows(0)
    with _files_cannot_grow(store.path):
        for token in ("first", "second"):
            with pytest.raises(ConfigError, match="cannot write the cluster store .* nothing was changed"):
                store.commit(token, [Put(make_group(ndparams={"oob_program": "x" * 100_000}))]).result(5)
        assert (reader.position(), reader.log_rows(0)) == before
    stored = store.commit("first", [Put(dataclasses.replace(group, tags=("still", "alive")))]).result()
    assert reader.position()[1] == stored.serial == before[0][1] + 1
    assert reader.query("PRAGMA integrity_check", ()) == [("ok",)]
