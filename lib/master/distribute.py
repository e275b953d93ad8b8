"""Keeping files on other nodes up to date in the background; to each node goes only what changed since it was last sent there."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from ganeti.base.errors import NodeError
from ganeti.master.background import Background
from ganeti.model.config import Config
from ganeti.model.ids import NodeUuid
from ganeti.rpc.call import NodeCaller

log = logging.getLogger(__name__)

Values = dict[str, str]
ReadConfig = Callable[[], Config]


class Content(Protocol):
    """A set of files that some nodes have to have."""

    name: str

    def values(self, config: Config) -> Values:
        """The text of each file, by its name."""
        ...

    def targets(self, config: Config) -> set[NodeUuid]:
        """The nodes that have to have them and can be reached."""
        ...

    def send(self, nodes: NodeCaller, targets: Sequence[NodeUuid], values: Values) -> Mapping[NodeUuid, NodeError | None]:
        """Write files on nodes."""
        ...


class Distributor:
    """Sends one `Content` to its nodes whenever it may have changed."""

    def __init__(self, content: Content, read: ReadConfig, nodes: NodeCaller, *, delay: float = 0.1) -> None:
        self._content = content
        self._read = read
        self._nodes = nodes
        self._written: dict[NodeUuid, Values] = {}
        self.failed: dict[NodeUuid, NodeError] = {}
        """Nodes that do not have the present values, and why."""
        self._background = Background(content.name, self._work, delay)

    def changed(self) -> None:
        """The configuration changed; returns at once."""
        self._background.changed()

    def flush(self, timeout: float | None = None) -> bool:
        """Write now; True when every node that is online has the present values, False after `timeout` seconds."""
        return self._background.flush(timeout)

    def close(self) -> None:
        """Stop without finishing."""
        self._background.close()

    def refresh(self) -> None:
        """Write everything to every node again, whatever it is thought to have."""
        self._written = {}
        self.changed()

    def _work(self) -> bool:
        config = self._read()
        values = self._content.values(config)
        online = self._content.targets(config)
        # What is not online is written anew when it comes back.
        self._written = {node: known for node, known in self._written.items() if node in online}
        failed: dict[NodeUuid, NodeError] = {}
        for changed, nodes in self._plan(values, online):
            for node, result in self._content.send(self._nodes, nodes, changed).items():
                if isinstance(result, NodeError):
                    failed[node] = result
                    self._written.pop(node, None)
                else:
                    self._written[node] = values
        self._report(failed)
        return not failed

    def _plan(self, values: Values, online: Iterable[NodeUuid]) -> list[tuple[Values, list[NodeUuid]]]:
        """Nodes by what has to be written to them."""
        groups: dict[frozenset[str], list[NodeUuid]] = defaultdict(list)
        for node in sorted(online):
            known = self._written.get(node, {})
            changed = frozenset(key for key, text in values.items() if known.get(key) != text)
            if changed:
                groups[changed].append(node)
        return [({key: values[key] for key in sorted(changed)}, nodes) for changed, nodes in groups.items()]

    def _report(self, failed: dict[NodeUuid, NodeError]) -> None:
        for node in failed.keys() - self.failed.keys():
            log.warning("%s: files are out of date: %s; will be tried again", self._content.name, failed[node])
        for node in self.failed.keys() - failed.keys():
            log.info("%s: files of node %s are up to date again", self._content.name, node)
        self.failed = failed
