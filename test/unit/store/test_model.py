"""The store against its model in memory: random commits, refusals, restarts; and old snapshots that must not change."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ganeti.base.errors import ConfigError
from ganeti.model.changes import Committed
from ganeti.model.enums import Kind
from ganeti.model.index import IndexedRows, entries
from ganeti.model.memory import MemoryRows, MemoryStore
from ganeti.model.objects import Change, Delete, Put
from ganeti.store.reader import Reader, SnapshotRows
from ganeti.store.writer import Store
from support.objects import make_disk, make_group, make_instance, make_nic, make_node, small_cluster

replace: Any = dataclasses.replace
MACS = [f"aa:00:00:00:00:{number:02x}" for number in range(4)]
NAMES = [f"name{number}" for number in range(5)]


def content(rows: IndexedRows) -> dict[Kind, list[Any]]:
    return {kind: list(rows.all(kind)) for kind in Kind}


class StoreAgainstModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.mkdtemp()
        self.path = f"{self.directory}/cluster.db"
        self.now = 1000.0
        self.store = Store.open(self.path, create=True, clock=lambda: self.now)
        self.reader = Reader(self.path)
        self.model = MemoryStore(clock=lambda: self.now)
        self.kept: list[tuple[SnapshotRows, MemoryRows]] = []
        self.commit([Put(obj) for obj in small_cluster(nodes=2)])

    def commit(self, changes: list[Change], token: str | None = None) -> None:
        """Both do the same, or both refuse with the same words."""
        self.now += 1.0
        assert self._outcome(self.store, token, changes) == self._outcome(self.model, token, changes)

    @staticmethod
    def _outcome(store: Store | MemoryStore, token: str | None, changes: list[Change]) -> Any:
        try:
            done = store.commit(token, changes)
            return done.objects if isinstance(done, Committed) else done.result().objects
        except ConfigError as err:
            return type(err), str(err)

    @rule(data=st.data())
    def make(self, data: st.DataObject) -> None:
        node = data.draw(st.sampled_from(self.model.config().nodes)).uuid
        name = data.draw(st.sampled_from(NAMES))
        disk = make_disk()
        new: list[Any] = data.draw(
            st.sampled_from(
                [
                    [make_group(name=name)],
                    [make_node(data.draw(st.sampled_from(self.model.config().groups)).uuid, name=name)],
                    [disk, make_instance(node, name=name, disks=(disk.uuid,))],
                    [make_instance(node, name=name, nics=(make_nic(mac=data.draw(st.sampled_from(MACS))),))],
                    [make_instance("nowhere", name=name), make_group(name=name)],
                ]
            )
        )
        self.commit([Put(obj) for obj in new])

    def _draw(self, data: st.DataObject) -> list[Any]:
        everything = [obj for found in content(self.model.snapshot()).values() for obj in found]
        return data.draw(st.lists(st.sampled_from(everything), min_size=1, max_size=3, unique_by=lambda obj: obj.uuid))

    @rule(data=st.data(), token=st.sampled_from([None, "a", "b", "c"]), stale=st.booleans())
    def change(self, data: st.DataObject, token: str | None, stale: bool) -> None:
        changes: list[Change] = []
        for obj in self._draw(data):
            fields: dict[str, Any] = {"tags": (data.draw(st.text(max_size=4)),)}
            if obj.KIND is Kind.INSTANCE:
                fields["primary_node"] = data.draw(st.sampled_from(self.model.config().nodes)).uuid
            if obj.KIND in (Kind.INSTANCE, Kind.GROUP):
                fields["name"] = data.draw(st.sampled_from(NAMES))
            changes.append(Put(replace(obj, **fields, serial_no=obj.serial_no - stale)))
        self.commit(changes, token)

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        self.commit([Delete.of(obj) for obj in self._draw(data)])

    @rule(clean=st.booleans())
    def restart(self, clean: bool) -> None:
        self.store.close()
        if clean:
            self.reader.close()
        self.store = Store.open(self.path, clock=lambda: self.now)

    @rule(warm=st.sampled_from([None, *Kind]))
    def keep_snapshot(self, warm: Kind | None) -> None:
        """Some of it has been looked at before the configuration goes on, the rest has not."""
        snapshot = self.reader.snapshot()
        if warm is not None:
            snapshot.all(warm)
        self.kept.append((snapshot, self.model.snapshot()))

    @invariant()
    def present_state_equals_the_model(self) -> None:
        self._check_equal(self.reader.snapshot(), self.model.snapshot())

    def teardown(self) -> None:
        try:
            for snapshot, expected in self.kept:
                self._check_equal(snapshot, expected)
        finally:
            self.store.close()
            self.reader.close()
            shutil.rmtree(self.directory)

    @staticmethod
    def _check_equal(found: IndexedRows, expected: MemoryRows) -> None:
        """In all ways of asking; look-ups first, as they must not depend on whole kinds having been read."""
        for objects in content(expected).values():
            for obj in objects:
                assert found.get(obj.KIND, obj.uuid) == obj
                for index, value in entries(obj):
                    assert found.lookup(index, value) == expected.lookup(index, value)
        for name in NAMES:
            for kind in (Kind.INSTANCE, Kind.GROUP, Kind.NODE):
                assert found.by_name(kind, name) == expected.by_name(kind, name)
        for node in expected.all(Kind.NODE):
            assert found.instances_of(node.uuid, primary=True) == expected.instances_of(node.uuid, primary=True)
        for kind in Kind:
            assert list(found.names(kind)) == list(expected.names(kind))
        assert content(found) == content(expected)


TestStoreAgainstModel = StoreAgainstModel.TestCase
TestStoreAgainstModel.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
