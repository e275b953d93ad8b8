"""The store in memory: commits as the real one does them (its rows are tested with the others in store/test_rows.py)."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from ganeti.base.errors import ConfigError, Conflict
from ganeti.model.memory import MemoryStore
from ganeti.model.objects import Delete, Put
from support.objects import make_group, small_cluster

replace: Any = dataclasses.replace


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(small_cluster(), clock=lambda: 1000.0)


def test_commit_raises_serial_numbers_and_sets_times(store: MemoryStore) -> None:
    first = store.commit(None, [Put(make_group(name="rack"))])
    group: Any = first.objects[0]
    assert (first.serial, group.serial_no, group.ctime, group.mtime) == (1, 1, 1000.0, 1000.0)
    assert store.commit(None, [Put(replace(group, tags=("a",)))]).objects[0].serial_no == 2
    assert store.config().find_group("rack").tags == ("a",)


def test_snapshot_does_not_change(store: MemoryStore) -> None:
    before = store.config()
    store.commit(None, [Put(make_group(name="rack"))])
    assert [group.name for group in before.groups] == ["default"]
    assert (before.serial, store.config().serial) == (0, 1)


def test_repeated_request_gets_the_same_answer(store: MemoryStore) -> None:
    changes = [Put(make_group(name="rack"))]
    assert store.commit("a", changes) == store.commit("a", changes)
    with pytest.raises(Conflict, match="exists already"):
        store.commit("b", changes)


def test_object_changed_or_removed_meanwhile_is_refused(store: MemoryStore) -> None:
    group: Any = store.commit(None, [Put(make_group())]).objects[0]
    store.commit(None, [Put(group)])
    with pytest.raises(Conflict, match="serial number 2, expected 1"):
        store.commit(None, [Delete.of(group)])
    store.commit(None, [Delete.of(replace(group, serial_no=2))])
    with pytest.raises(Conflict, match="removed meanwhile"):
        store.commit(None, [Put(group)])
    with pytest.raises(Conflict, match="removed meanwhile"):
        store.commit(None, [Delete(group.KIND, group.uuid, 0)])


def test_object_is_changed_once_in_a_commit(store: MemoryStore) -> None:
    group = make_group()
    with pytest.raises(ConfigError, match="is changed twice"):
        store.commit(None, [Put(group), Put(group)])
