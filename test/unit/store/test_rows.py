"""One contract for every kind of rows: in memory, a snapshot of the store, and the store's present state."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ganeti.model.config import Config
from ganeti.model.enums import DiskTemplate, Kind
from ganeti.model.index import IndexedRows
from ganeti.model.memory import MemoryRows
from ganeti.model.objects import AnyObject, Put
from ganeti.store import schema
from ganeti.store.reader import Reader
from ganeti.store.rows import PRESENT, DecodeCache, TableRows, run
from ganeti.store.writer import Store
from support.objects import (
    make_disk,
    make_group,
    make_instance,
    make_network,
    make_nic,
    make_node,
    small_cluster,
)

Build = Callable[[Sequence[AnyObject]], IndexedRows]


def _fill(path: Path, objects: Sequence[AnyObject]) -> None:
    with Store.open(str(path), create=True) as store:
        store.commit(None, [Put(obj) for obj in objects]).result()


@pytest.fixture(params=["memory", "snapshot", "old snapshot", "whole kinds", "present"])
def build(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Build]:
    cleanup: list[Callable[[], None]] = []
    path = tmp_path / "cluster.db"

    def snapshot(objects: Sequence[AnyObject]) -> IndexedRows:
        _fill(path, objects)
        reader = Reader(str(path))
        cleanup.append(reader.close)
        rows = reader.snapshot()
        if request.param == "old snapshot":
            _change_everything(str(path))
        if request.param == "whole kinds":
            for kind in Kind:
                rows.all(kind)
        return rows

    def present(objects: Sequence[AnyObject]) -> IndexedRows:
        _fill(path, objects)
        connection = schema.connect(str(path), writable=False)
        cleanup.append(connection.close)
        return TableRows(lambda sql, arguments: run(connection, sql, arguments), DecodeCache(), PRESENT)

    yield {"memory": MemoryRows, "present": present}.get(request.param, snapshot)
    for function in cleanup:
        function()


def _change_everything(path: str) -> None:
    """Every object changes, and an instance comes that was not there."""
    with Store.open(path) as store, Reader(path) as reader:
        rows = reader.snapshot()
        everything = [obj for kind in Kind for obj in rows.all(kind)]
        changed: list[Any] = [_renamed(obj) for obj in everything]
        new: list[Any] = [make_instance(node.uuid, name="web0") for node in rows.all(Kind.NODE)[:1]] or [make_group()]
        store.commit(None, [Put(obj) for obj in [*changed, *new]]).result()


def _renamed(obj: Any) -> Any:
    if obj.KIND is Kind.INSTANCE:
        node = (*obj.secondary_nodes, obj.primary_node)[0]
        return dataclasses.replace(obj, name="x" + obj.name, nics=(), primary_node=node, secondary_nodes=())
    return dataclasses.replace(obj, tags=("changed",))


@pytest.fixture
def objects() -> dict[str, Any]:
    everything = small_cluster(nodes=3)
    node1, node2, node3 = everything[2:]
    disk = make_disk()
    network = make_network(name="lan")
    web10 = make_instance(
        node1.uuid,
        name="web10",
        secondary_nodes=(node2.uuid,),
        disk_template=DiskTemplate.SHAREDFILE,
        disks=(disk.uuid,),
        network_port=11001,
    )
    nic = make_nic(mac="AA:00:00:AA:BB:CC", ip="198.51.100.7", network=network.uuid)
    web9 = make_instance(node2.uuid, name="web9", nics=(nic,))
    nodes = {"node1": node1, "node2": node2, "node3": node3}
    settings = {"cluster": everything[0], "group": everything[1]}
    return {**settings, **nodes, "disk": disk, "network": network, "web10": web10, "web9": web9}


def test_object_is_found_by_uuid(build: Build, objects: dict[str, Any]) -> None:
    rows = build(list(objects.values()))
    found = rows.get(Kind.INSTANCE, objects["web10"].uuid)
    assert (found.name, found.serial_no, found.network_port) == ("web10", 1, 11001)
    assert rows.get(Kind.NODE, objects["web10"].uuid) is None
    assert rows.get(Kind.INSTANCE, "nothing") is None


def test_object_is_found_by_name_within_its_kind(build: Build, objects: dict[str, Any]) -> None:
    rows = build(list(objects.values()))
    assert rows.by_name(Kind.NODE, "node2").uuid == objects["node2"].uuid
    assert rows.by_name(Kind.NETWORK, "lan").uuid == objects["network"].uuid
    assert rows.by_name(Kind.INSTANCE, "node2") is None
    assert rows.by_name(Kind.INSTANCE, "web0") is None


def test_objects_come_in_natural_order_of_their_names(build: Build, objects: dict[str, Any]) -> None:
    rows = build(list(reversed(objects.values())))
    assert list(rows.names(Kind.INSTANCE)) == ["web9", "web10"]
    assert [instance.name for instance in rows.all(Kind.INSTANCE)] == ["web9", "web10"]
    assert [node.name for node in rows.all(Kind.NODE)] == ["node1", "node2", "node3"]
    assert list(rows.names(Kind.DISK)) == []


def test_instances_are_found_by_node(build: Build, objects: dict[str, Any]) -> None:
    rows = build(list(objects.values()))

    def names(node: str, *, primary: bool) -> list[str]:
        return [instance.name for instance in rows.instances_of(objects[node].uuid, primary=primary)]

    assert names("node1", primary=True) == ["web10"]
    assert names("node2", primary=True) == ["web9"]
    assert names("node2", primary=False) == ["web10"]
    assert names("node3", primary=True) == []


def test_objects_are_looked_up_by_what_they_hold(build: Build, objects: dict[str, Any]) -> None:
    rows = build(list(objects.values()))
    web9, web10 = (Kind.INSTANCE, objects["web9"].uuid), (Kind.INSTANCE, objects["web10"].uuid)
    assert rows.lookup("mac", "aa:00:00:aa:bb:cc") == [web9]
    assert rows.lookup(f"ip/{objects['network'].uuid}", "198.51.100.7") == [web9]
    assert rows.lookup("network", objects["network"].uuid) == [web9]
    assert rows.lookup("port", "11001") == [web10]
    assert rows.lookup("disk", objects["disk"].uuid) == [web10]
    assert len(rows.lookup("group", objects["group"].uuid)) == 3
    assert rows.lookup("mac", "aa:00:00:00:00:00") == []


def test_configuration_answers_from_any_rows(build: Build, objects: dict[str, Any]) -> None:
    config = Config(build(list(objects.values())))
    assert config.cluster.cluster_name == "cluster.example.com"
    assert config.master.name == "node1"
    assert config.find_instance("web10").uuid == objects["web10"].uuid
    assert [disk.uuid for disk in config.disks_of(config.find_instance("web10"))] == [objects["disk"].uuid]


def test_no_objects_are_an_empty_configuration(build: Build) -> None:
    rows = build([])
    assert [list(rows.all(kind)) for kind in Kind] == [[]] * len(Kind)
    assert list(rows.names(Kind.NODE)) == []
    assert make_node("group").uuid not in [uuid for _, uuid in rows.lookup("group", "group")]
