"""A small cluster in memory, and immediate mode on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ganeti.job.immediate import Immediate
from ganeti.model.ids import NodeUuid
from ganeti.model.memory import MemoryStore
from ganeti.model.objects import Node
from ganeti.rpc.memory import MemoryNode, MemoryNodeCaller
from ganeti.rpc.node.node import HookResult, NodeApi
from support.objects import small_cluster


class HookedNode(NodeApi):
    """A node that notes which hooks it was asked to run, and answers as it was told."""

    def __init__(self, name: str, asked: list[tuple[str, str, str, dict[str, str]]]) -> None:
        self.name = name
        self.asked = asked
        self.answers: list[HookResult] = []
        self.slept = 0.0

    def run_hooks(self, path: str, phase: str, environment: dict[str, str]) -> list[HookResult]:
        self.asked.append((self.name, path, phase, environment))
        return self.answers

    def test_delay(self, duration: float) -> None:
        self.slept += duration


class World:
    """Three nodes, the first of which is the master."""

    def __init__(self, hooks: Path) -> None:
        objects = small_cluster(3)
        self.store = MemoryStore(objects)
        self.uuids = [obj.uuid for obj in objects if isinstance(obj, Node)]
        self.asked: list[tuple[str, str, str, dict[str, str]]] = []
        """Hooks that were asked for: node, path, phase, variables."""
        self.agents = [HookedNode(node.name, self.asked) for node in self.store.config().nodes]
        pairs = zip(self.uuids, self.agents, strict=True)
        self.nodes = {NodeUuid(uuid): MemoryNode(agent.name, [agent]) for uuid, agent in pairs}
        self.hooks = hooks
        self.naps: list[float] = []
        self.immediate = Immediate(self.store, MemoryNodeCaller(self.nodes), hooks_directory=str(hooks), sleep=self._sleep)
        self.master = self.immediate.master

    def _sleep(self, seconds: float) -> bool:
        self.naps.append(seconds)
        return False

    def add_hook(self, folder: str) -> None:
        """Put a script on the master (what it does, the agent in memory decides)."""
        (self.hooks / folder).mkdir(parents=True)
        (self.hooks / folder / "10-script").write_text("#!/bin/sh\n")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "hooks")
    yield world
    world.immediate.close()
