"""The replica: equal to the master whatever gets lost, repeated or restarted on the way."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from ganeti.base.errors import ConfigError, DecodeError, LockTimeout, StaleEpoch
from ganeti.model.enums import Kind
from ganeti.model.job import LogEntry
from ganeti.model.objects import Delete, Put
from ganeti.store import replica as replica_module
from ganeti.store import transaction
from ganeti.store.reader import Reader
from ganeti.store.replica import Replica, snapshot
from ganeti.store.schema import LogRow
from ganeti.store.writer import Store, Write
from support.objects import make_group, make_instance, make_job, small_cluster

TABLES = ("meta", "objects", "history", "refs", "versions", "jobs", "job_log", "tokens", "changelog")


def dump(path: str) -> dict[str, list[tuple[Any, ...]]]:
    """The whole content of a store file."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        assert names == set(TABLES)
        return {name: sorted(connection.execute(f"SELECT * FROM {name}").fetchall(), key=repr) for name in TABLES}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(str(tmp_path / "master.db"), create=True, epoch=1) as store:
        store.commit("first", [Put(obj) for obj in small_cluster(nodes=2)]).result()
        yield store


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    with Replica(str(tmp_path / "replica.db")) as replica:
        yield replica


def log_of(store: Store, after: int = 0) -> list[LogRow]:
    with Reader(store.path) as reader:
        rows = reader.log_rows(after)
        assert rows is not None
        return rows


def test_replica_equals_the_master(store: Store, replica: Replica) -> None:
    store.write(Write(new_jobs=[make_job(1)], token="second")).result()
    assert replica.position() == (0, 0)
    assert replica.append(log_of(store)) == store.serial
    assert replica.position() == (1, store.serial)
    assert dump(replica.path) == dump(store.path)


def test_rows_that_are_there_already_are_skipped(store: Store, replica: Replica) -> None:
    rows = log_of(store)
    assert replica.append(rows) == rows[-1][0]
    assert replica.append(rows) == rows[-1][0]
    assert replica.append([]) == rows[-1][0]
    assert dump(replica.path) == dump(store.path)


def test_rows_after_a_gap_are_not_applied(store: Store, replica: Replica) -> None:
    for _ in range(3):
        store.commit(None, [Put(make_group())]).result()
    rows = log_of(store)
    assert replica.append(rows[:2]) == 2
    assert replica.append(rows[3:]) == 2
    assert replica.append([rows[2], rows[4]]) == 3
    assert replica.append(rows[1:]) == rows[-1][0]
    assert dump(replica.path) == dump(store.path)


def test_replica_that_fell_far_behind_needs_a_snapshot(store: Store, replica: Replica) -> None:
    replica.append(log_of(store))
    with Reader(store.path) as reader:
        old = reader.snapshot()
        for _ in range(30):
            store.commit(None, [Put(make_group())]).result()
        assert reader.log_rows(replica.position()[1]) is None
        with pytest.raises(ConfigError, match="too old"):
            old.all(Kind.GROUP)
        assert len(old.all(Kind.NODE)) == 2
    replica.replace(*snapshot(store.path))
    assert dump(replica.path) == dump(store.path)


def test_master_of_an_older_epoch_is_refused(store: Store, replica: Replica, tmp_path: Path) -> None:
    old = log_of(store)
    packed = snapshot(store.path)
    store.new_epoch()
    replica.append(log_of(store))
    before = dump(replica.path)
    with pytest.raises(StaleEpoch, match="follows epoch 2"):
        replica.append([(store.serial + 1, 1, old[0][2])])
    with pytest.raises(StaleEpoch, match="follows epoch 2"):
        replica.replace(*packed)
    assert dump(replica.path) == before


def test_replica_that_followed_another_master_has_to_be_replaced(store: Store, replica: Replica) -> None:
    """Its last entry was never seen by the new master, which wrote another one under the same number."""
    replica.append(log_of(store))
    packed, serial = snapshot(store.path)
    with Replica(replica.path + ".other") as other:
        other.replace(packed, serial)
        store.commit(None, [Put(make_group(name="lost"))]).result()
        replica.append(log_of(store))
        with Store.open(other.path, epoch=2) as successor:
            successor.commit(None, [Put(make_group(name="kept"))]).result()
            assert replica.append(log_of(successor, after=serial)) == 0
            assert replica.replace(*snapshot(successor.path)) == successor.serial
            assert dump(replica.path) == dump(successor.path)


def test_snapshot_replaces_everything_under_the_eyes_of_a_reader(store: Store, replica: Replica) -> None:
    replica.append(log_of(store)[:1])
    with Reader(replica.path) as reader:
        old = reader.snapshot()
        assert list(old.names(Kind.NODE)) == []
        assert replica.replace(*snapshot(store.path)) == store.serial
        assert list(reader.snapshot().names(Kind.NODE)) == ["node1", "node2"]
        assert reader.position() == (1, store.serial)
    assert dump(replica.path) == dump(store.path)


def test_damaged_snapshot_is_refused(store: Store, replica: Replica) -> None:
    packed, serial = snapshot(store.path)
    replica.append(log_of(store))
    before = dump(replica.path)
    for broken in (b"", packed[:-10], b"\x00" * 50):
        with pytest.raises(DecodeError, match="damaged"):
            replica.replace(broken, serial)
    with pytest.raises(DecodeError, match=f"ends at transaction {serial}"):
        replica.replace(packed, serial + 1)
    assert dump(replica.path) == before


def test_damaged_replica_is_replaced(store: Store, replica: Replica) -> None:
    Path(replica.path).write_bytes(b"rubbish" * 1000)
    assert replica.append([]) == replica.append(log_of(store)) == 0
    assert replica.replace(*snapshot(store.path)) == store.serial
    assert dump(replica.path) == dump(store.path)


def test_replica_whose_rows_do_not_fit_is_replaced(store: Store, replica: Replica) -> None:
    """Something else has written to it."""
    replica.append(log_of(store)[:1])
    with contextlib.closing(sqlite3.connect(replica.path, isolation_level=None)) as connection:
        connection.execute("INSERT INTO tokens VALUES ('first', 1, '')")
    assert replica.append(log_of(store)) == 0
    assert replica.replace(*snapshot(store.path)) == store.serial
    assert dump(replica.path) == dump(store.path)


def test_asking_where_a_replica_is_makes_none(replica: Replica) -> None:
    assert replica.append([]) == 0
    assert not Path(replica.path).exists()


def test_replica_becomes_the_store_of_the_next_master(store: Store, replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replica_module, "LOCK_WAIT", 0.02)
    rows = log_of(store)
    replica.append(rows)
    with Store.open(replica.path, epoch=2) as successor:
        group = successor.commit(None, [Put(make_group(name="rack"))]).result().objects[0]
        assert successor.commit("first", []).result().serial == rows[-1][0]
        with pytest.raises(LockTimeout, match="is this node the master"):
            replica.append(rows)
        with Reader(replica.path) as reader:
            assert reader.config().find_group("rack") == group


def test_removed_replica_leaves_nothing_behind(store: Store, replica: Replica) -> None:
    with Reader(replica.path) as reader:
        replica.append(log_of(store))
        assert reader.position()[1] == store.serial
        replica.remove()
        assert replica.position() == (0, 0)
        assert [path.name for path in Path(replica.path).parent.glob("replica.db*")] == ["replica.db.lock"]
        with pytest.raises(ConfigError, match="only master candidates"):
            reader.position()
        replica.append(log_of(store)[:1])
        assert reader.position()[1] == 1


class Replication(RuleBasedStateMachine):
    """A master with random work, and a replica to which rows come in any way a network can manage."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.mkdtemp()
        self.path = f"{self.directory}/master.db"
        self.store = Store.open(self.path, create=True, epoch=1)
        self.replica = Replica(f"{self.directory}/replica.db")

    @initialize()
    def fill(self) -> None:
        self.store.commit(None, [Put(obj) for obj in small_cluster()]).result()

    @rule(count=st.integers(1, 4), token=st.booleans())
    def add(self, count: int, token: bool) -> None:
        with Reader(self.path) as reader:
            node = reader.config().master.uuid
        objects = [make_instance(node) for _ in range(count)]
        self.store.commit(objects[0].uuid if token else None, [Put(obj) for obj in objects]).result()

    @rule(data=st.data(), remove=st.booleans())
    def change(self, data: st.DataObject, remove: bool) -> None:
        with Reader(self.path) as reader:
            instances = reader.config().instances
        if not instances:
            return
        chosen = data.draw(st.lists(st.sampled_from(instances), unique_by=lambda instance: instance.uuid, min_size=1, max_size=3))
        tags = data.draw(st.tuples(st.text(max_size=5)))
        changes = [Delete.of(obj) if remove else Put(dataclasses.replace(obj, tags=tags)) for obj in chosen]
        self.store.commit(None, changes).result()

    @rule(count=st.integers(1, 3))
    def submit(self, count: int) -> None:
        jobs = [make_job(ident) for ident in self.store.allocate_job_ids(count)]
        lines = [LogEntry(serial=1, op_index=0, timestamp=5, type="message", message=["é", None])]
        self.store.write(Write(new_jobs=jobs, log={jobs[0].id: lines})).result()

    @rule(data=st.data())
    def tidy_up(self, data: st.DataObject) -> None:
        with Reader(self.path) as reader:
            ids = [job.id for job in reader.jobs(archived=True)]
        self.store.archive_jobs(ids[::2]).result()
        self.store.remove_jobs(ids[::5]).result()

    @rule()
    def be_replaced(self) -> None:
        self.store.close()
        self.store = Store.open(self.path)
        self.store.new_epoch()

    @rule()
    def restart_replica(self) -> None:
        self.replica.close()
        self.replica = Replica(self.replica.path)

    @rule(back=st.integers(0, 6), ahead=st.integers(0, 3), count=st.integers(0, 5), repeat=st.booleans())
    def deliver(self, back: int, ahead: int, count: int, repeat: bool) -> None:
        """Some rows, from before or after where the replica is."""
        _, serial = self.replica.position()
        with Reader(self.path) as reader:
            rows = reader.log_rows(max(0, serial - back + ahead), limit=max(1, count))
        for _ in range(1 + repeat):
            if rows:
                assert self.replica.append(rows) >= serial

    @precondition(lambda self: self.replica.position()[1] > 0)
    @rule()
    def send_snapshot(self) -> None:
        self.replica.replace(*snapshot(self.path))
        assert dump(self.replica.path) == dump(self.path)

    def teardown(self) -> None:
        try:
            with Reader(self.path) as reader:
                _, serial = self.replica.position()
                rows = reader.log_rows(serial)
                if rows is None:
                    self.replica.replace(*snapshot(self.path))
                else:
                    self.replica.append(rows)
            assert dump(self.replica.path) == dump(self.path)
        finally:
            self.store.close()
            self.replica.close()
            shutil.rmtree(self.directory)


TestReplication = Replication.TestCase
TestReplication.settings = settings(max_examples=20, stateful_step_count=25, deadline=None)


@pytest.fixture(autouse=True)
def short_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forgetting happens every few transactions, so that it is tested along."""
    monkeypatch.setattr(transaction, "PRUNE_EVERY", 10)
    monkeypatch.setattr(transaction, "KEEP_LOG", 15)
    monkeypatch.setattr(transaction, "KEEP_HISTORY", 8)
    monkeypatch.setattr(transaction, "KEEP_TOKENS", 20)
