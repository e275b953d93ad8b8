"""Files of the master candidates: who gets them, and when."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ganeti.base.secret import Secret
from ganeti.master import background
from ganeti.master.candidate_files import CandidateFiles
from ganeti.master.distribute import Distributor
from ganeti.model.config import Config
from ganeti.model.memory import MemoryRows
from ganeti.rpc.memory import MemoryNode, MemoryNodeCaller
from ganeti.rpc.node.node import NodeApi
from support.objects import small_cluster

PATIENCE = 10.0


class Agent(NodeApi):
    def __init__(self) -> None:
        self.files: dict[str, str] = {}

    def upload_file(self, name: str, content: Secret) -> None:
        self.files[name] = content.reveal()


class World:
    """A master, another candidate, and a node that is none; the master's files in a directory."""

    def __init__(self, data: Path) -> None:
        self.cluster, self.group, *self.nodes = small_cluster(nodes=3)
        self.nodes = [
            type(node)(**{**vars(node), "master_candidate": number < 2}) for number, node in enumerate(self.nodes)
        ]
        self.agents = [Agent() for _ in self.nodes]
        named = zip(self.nodes, self.agents, strict=True)
        self.memory = {node.uuid: MemoryNode(node.name, [agent]) for node, agent in named}
        (data / "ca.key").write_text("key")
        (data / "hmac.key").write_text("hmac")

    def config(self) -> Config:
        return Config(MemoryRows([self.cluster, self.group, *self.nodes]))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def distributor(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Distributor]:
    monkeypatch.setattr(background, "RETRY_FIRST", 0.01)
    caller = MemoryNodeCaller(world.memory)
    distributor = Distributor(CandidateFiles(str(tmp_path)), world.config, caller, delay=0.0)
    yield distributor
    distributor.close()


def test_the_other_candidates_get_the_files_that_exist_and_nobody_else(world: World, distributor: Distributor) -> None:
    distributor.changed()
    assert distributor.flush(PATIENCE)
    assert [agent.files for agent in world.agents] == [{}, {"ca.key": "key", "hmac.key": "hmac"}, {}]


def test_a_file_that_changed_is_sent_again(world: World, distributor: Distributor, tmp_path: Path) -> None:
    distributor.changed()
    assert distributor.flush(PATIENCE)
    world.agents[1].files.clear()
    (tmp_path / "hmac.key").write_text("other")
    distributor.changed()
    assert distributor.flush(PATIENCE)
    assert world.agents[1].files == {"hmac.key": "other"}


def test_a_candidate_that_was_down_gets_them_when_it_is_back(world: World, distributor: Distributor) -> None:
    world.memory[world.nodes[1].uuid].faults.down = True
    distributor.changed()
    assert not distributor.flush(PATIENCE)
    world.memory[world.nodes[1].uuid].faults.down = False
    distributor.changed()
    assert distributor.flush(PATIENCE)
    assert set(world.agents[1].files) == {"ca.key", "hmac.key"}
