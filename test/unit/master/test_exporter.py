"""The exported document: equal to the pure export, on this node and on the other candidates."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ganeti.base import codec
from ganeti.base.secret import Secret
from ganeti.master import background
from ganeti.master.exporter import Exporter
from ganeti.model import export
from ganeti.model.config import Config
from ganeti.model.memory import MemoryRows
from ganeti.rpc.memory import MemoryNode, MemoryNodeCaller
from ganeti.rpc.node.node import NodeApi
from support.objects import make_disk, make_instance, make_node, small_cluster

PATIENCE = 10.0


class Agent(NodeApi):
    """A node as far as files go."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}

    def upload_file(self, name: str, content: Secret) -> None:
        self.files[name] = content.reveal()


class World:
    """A master, another candidate, and a node that is none."""

    def __init__(self) -> None:
        self.objects: list[Any] = list(small_cluster(nodes=2))
        self.master, self.candidate = self.objects[2:]
        other = make_node(self.objects[1].uuid)
        self.objects += [other, make_disk(), make_instance(other.uuid, name="web")]
        self.agents = {node.uuid: Agent() for node in (self.master, self.candidate, other)}
        self.memory = {uuid: MemoryNode(uuid, [agent]) for uuid, agent in self.agents.items()}

    def config(self) -> Config:
        return Config(MemoryRows(self.objects, serial=42))

    def document(self) -> Any:
        return json.loads(codec.dumps(export.config_data(self.config())))


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.data"


@pytest.fixture
def exporter(world: World, path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Exporter]:
    monkeypatch.setattr(background, "RETRY_FIRST", 0.01)
    exporter = Exporter(world.config, MemoryNodeCaller(world.memory), str(path), delay=0.0)
    exporter.changed()
    yield exporter
    exporter.close()


def test_document_is_written_here_and_on_the_other_candidates(world: World, exporter: Exporter, path: Path) -> None:
    assert exporter.flush(PATIENCE)
    assert json.loads(path.read_text()) == world.document()
    assert [agent.files for agent in world.agents.values()] == [{}, {"config.data": path.read_text()}, {}]
    assert path.stat().st_mode & 0o777 == 0o640


def test_document_follows_every_change(world: World, exporter: Exporter, path: Path) -> None:
    exporter.flush(PATIENCE)
    web = world.objects.pop()
    world.objects.append(dataclasses.replace(web, serial_no=2, mtime=5.0, tags=("new",)))
    world.objects.append(make_node(world.objects[1].uuid, name="node4"))
    exporter.changed()
    assert exporter.flush(PATIENCE)
    found = json.loads(path.read_text())
    assert found == world.document()
    assert found["instances"][web.uuid]["tags"] == ["new"]
    assert world.objects[-1].uuid in found["nodegroups"][world.objects[1].uuid]["members"]


def test_removed_object_leaves_the_document(world: World, exporter: Exporter, path: Path) -> None:
    exporter.flush(PATIENCE)
    web = world.objects.pop()
    exporter.changed()
    assert exporter.flush(PATIENCE)
    assert web.uuid not in json.loads(path.read_text())["instances"]


def test_unchanged_document_is_not_sent_again(world: World, exporter: Exporter) -> None:
    exporter.flush(PATIENCE)
    exporter.changed()
    assert exporter.flush(PATIENCE)
    assert world.memory[world.candidate.uuid].calls == ["upload_file"]


def test_candidate_that_failed_is_tried_again(world: World, exporter: Exporter, path: Path) -> None:
    exporter.flush(PATIENCE)
    world.memory[world.candidate.uuid].faults.down = True
    world.objects[0] = dataclasses.replace(world.objects[0], tags=("new",))
    exporter.changed()
    assert not exporter.flush(PATIENCE)
    assert json.loads(path.read_text()) == world.document()
    world.memory[world.candidate.uuid].faults.down = False
    assert exporter.flush(PATIENCE)
    assert json.loads(world.agents[world.candidate.uuid].files["config.data"]) == world.document()
