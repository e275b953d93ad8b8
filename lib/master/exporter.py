"""The configuration as one document in a file, for tools that read it; written in the background after changes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from time import monotonic

from ganeti.base import codec
from ganeti.base.errors import NodeError
from ganeti.base.files import write_atomic
from ganeti.base.secret import Secret
from ganeti.master.background import Background
from ganeti.model import export
from ganeti.model.config import Config
from ganeti.model.enums import Kind
from ganeti.model.ids import NodeUuid
from ganeti.rpc.call import NodeCaller
from ganeti.rpc.node.node import NodeApi

log = logging.getLogger(__name__)

ReadConfig = Callable[[], Config]


class Exporter:
    """Writes the configuration as one document (`model.export`) to a file here and on the other candidates."""

    NAME = "config.data"

    def __init__(self, read: ReadConfig, nodes: NodeCaller, path: str, *, delay: float = 2.0) -> None:
        self._read = read
        self._nodes = nodes
        self._path = path
        self._least_delay = delay
        self._texts: dict[tuple[Kind, str], tuple[object, str]] = {}
        self._content = ""
        self._holders: frozenset[NodeUuid] = frozenset()
        self._background = Background("export", self._work, delay)

    def changed(self) -> None:
        """The configuration changed; returns at once."""
        self._background.changed()

    def flush(self, timeout: float | None = None) -> bool:
        """Write now; True when this node and every candidate have the document, False after `timeout` seconds."""
        return self._background.flush(timeout)

    def close(self) -> None:
        """Stop without finishing."""
        self._background.close()

    def _work(self) -> bool:
        started = monotonic()
        config = self._read()
        content = self._document(config)
        others = frozenset(node.uuid for node in config.candidates) - {config.cluster.master_node}
        if content != self._content:
            write_atomic(self._path, content, mode=0o640)
            self._content, self._holders = content, frozenset()
        missing = others - self._holders
        written = self._upload(missing, content) if missing else set()
        self._holders = (self._holders & others) | written
        # On large clusters a document takes long; most of the time must remain for other work.
        self._background.delay = max(self._least_delay, 20 * (monotonic() - started))
        return not missing - written

    def _upload(self, nodes: Iterable[NodeUuid], content: str) -> set[NodeUuid]:
        results = self._nodes.call_all(sorted(nodes), NodeApi.upload_file, self.NAME, Secret(content))
        for result in results.values():
            if isinstance(result, NodeError):
                log.info("the exported configuration was not copied: %s", result)
        return {node for node, result in results.items() if not isinstance(result, NodeError)}

    def _document(self, config: Config) -> str:
        """The document's text. Texts of objects that did not change are used again."""
        head = codec.dumps(export.document_head(config))
        parts = [head[:-1]]
        texts: dict[tuple[Kind, str], tuple[object, str]] = {}
        for section, kind in export.SECTIONS.items():
            entries = []
            for obj in config.rows.all(kind):
                # Groups list their members, so they can change without a change of their own.
                state = (obj.serial_no, obj.mtime) if kind is not Kind.GROUP else None
                known = self._texts.get((kind, obj.uuid))
                text = known[1] if known is not None and state is not None and known[0] == state else None
                if text is None:
                    text = codec.dumps(export.encode_object(obj, config))
                texts[(kind, obj.uuid)] = (state, text)
                entries.append(f"{codec.dumps(obj.uuid)}:{text}")
            parts.append(f",{codec.dumps(section)}:{{{','.join(entries)}}}")
        self._texts = texts
        return "".join([*parts, "}\n"])
