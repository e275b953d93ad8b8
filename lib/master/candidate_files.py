"""The files that every master candidate has to have, so that it can become the master: authority, keys, certificates."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from ganeti.base.errors import NodeError
from ganeti.base.files import read_optional
from ganeti.base.secret import Secret
from ganeti.master.distribute import Values
from ganeti.model.config import Config
from ganeti.model.ids import NodeUuid
from ganeti.rpc.call import NodeCaller
from ganeti.rpc.node.node import CANDIDATE_FILES, NodeApi


class CandidateFiles:
    """What the `distribute.Distributor` sends to the other master candidates: the master's own files."""

    name = "candidate files"

    def __init__(self, data: str) -> None:
        """`data`: the directory in which the files are."""
        self._data = data

    def values(self, config: Config) -> Values:
        """Those of the files that exist."""
        texts = {name: read_optional(os.path.join(self._data, name)) for name in CANDIDATE_FILES}
        return {name: text for name, text in texts.items() if text is not None}

    def targets(self, config: Config) -> set[NodeUuid]:
        """Candidates that are online, the master excepted."""
        return {node.uuid for node in config.candidates} - {config.cluster.master_node}

    def send(self, nodes: NodeCaller, targets: Sequence[NodeUuid], values: Values) -> Mapping[NodeUuid, NodeError | None]:
        """One file after the other; a node that failed at one is not sent the next."""
        results: dict[NodeUuid, NodeError | None] = dict.fromkeys(targets)
        for name, text in values.items():
            still = [node for node in targets if results[node] is None]
            results.update(nodes.call_all(still, NodeApi.upload_file, name, Secret(text)))
        return results
