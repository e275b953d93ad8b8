"""Kinds of storage. `Storage` finds the one for a disk template."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from typing import cast

from ganeti.base.errors import StorageError
from ganeti.base.paths import Paths
from ganeti.model.enums import DiskTemplate
from ganeti.node.storage.base import Device, Space

_CLASSES = {
    DiskTemplate.DISKLESS: "ganeti.node.storage.diskless:DisklessDevice",
    DiskTemplate.FILE: "ganeti.node.storage.file:FileDevice",
    DiskTemplate.SHAREDFILE: "ganeti.node.storage.sharedfile:SharedFileDevice",
}


class Storage:
    """The devices of this node, by template; each kind is imported when it is first needed."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._lock = threading.Lock()
        self._known: dict[DiskTemplate, Device] = {}

    def device(self, template: DiskTemplate) -> Device:
        """Raises `StorageError` for a template that this node cannot handle."""
        with self._lock:
            found = self._known.get(template)
            if found is None:
                found = self._known[template] = self._load(template)
            return found

    def space(self, kind: str) -> Space:
        """The storage whose units are called `kind`."""
        try:
            found = self.device(DiskTemplate(kind))
        except ValueError:
            raise StorageError(f"this node has no storage of kind '{kind}'") from None
        # Each class below is both.
        return cast(Space, found)

    def _load(self, template: DiskTemplate) -> Device:
        place = _CLASSES.get(template)
        if place is None:
            listed = ", ".join(sorted(_CLASSES))
            raise StorageError(f"this node cannot handle disks of template {template}; it can: {listed}")
        module, _, name = place.partition(":")
        factory = cast(Callable[[Paths], Device], getattr(importlib.import_module(module), name))
        return factory(self._paths)
