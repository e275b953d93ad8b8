"""Hypervisors. `Hypervisors` finds the one of a kind, which is imported when it is first needed."""

from __future__ import annotations

import importlib
import logging
import threading
from collections.abc import Callable, Iterable
from typing import cast

from ganeti.base.errors import HypervisorError
from ganeti.model.enums import HypervisorKind
from ganeti.node.environment import HypervisorEnvironment, Resident
from ganeti.node.hypervisor.base import Hypervisor

log = logging.getLogger(__name__)

OPEN_TIMEOUT = 50.0
"""Seconds that adopting the guests of one hypervisor may take."""

_CLASSES = {
    HypervisorKind.KVM: "ganeti.node.hypervisor.kvm:KvmHypervisor",
    HypervisorKind.FAKE: "ganeti.node.hypervisor.fake:FakeHypervisor",
}


def create(kind: HypervisorKind, environment: HypervisorEnvironment) -> Hypervisor:
    """A new hypervisor of this kind, not opened. Raises `HypervisorError` for one that this node does not know."""
    place = _CLASSES.get(kind)
    if place is None:
        raise HypervisorError(f"this node does not know hypervisor {kind}; it knows: {', '.join(sorted(_CLASSES))}")
    module, _, name = place.partition(":")
    factory = cast(Callable[[HypervisorEnvironment], Hypervisor], getattr(importlib.import_module(module), name))
    return factory(environment)


Factory = Callable[[HypervisorKind, HypervisorEnvironment], Hypervisor]


class Hypervisors:
    """The hypervisors of this node, one object of each kind. `get` may be used from any thread but the loop's."""

    def __init__(self, environment: HypervisorEnvironment, *, make: Factory = create) -> None:
        self._environment = environment
        self._make = make
        self._lock = threading.Lock()
        self._known: dict[HypervisorKind, Hypervisor] = {}

    def get(self, name: str) -> Hypervisor:
        """The hypervisor of this name, opened. Raises `HypervisorError`."""
        try:
            kind = HypervisorKind(name)
        except ValueError:
            raise HypervisorError(f"'{name}' is not a hypervisor") from None
        with self._lock:
            found = self._known.get(kind)
            if found is None:
                found = self._make(kind, self._environment)
                if isinstance(found, Resident):
                    self._environment.wait(found.open(), OPEN_TIMEOUT, f"hypervisor {kind} to find its guests")
                self._known[kind] = found
            return found

    def open(self, names: Iterable[str]) -> None:
        """Find the guests of these hypervisors. One that fails is logged: the others must not wait for its repair."""
        for name in names:
            try:
                self.get(name)
            except Exception:
                # It is tried again with the next call, whose caller then gets the error.
                log.exception("hypervisor %s cannot be used", name)

    async def close(self) -> None:
        """Let go of all guests; they live on."""
        for hypervisor in list(self._known.values()):
            if isinstance(hypervisor, Resident):
                try:
                    await hypervisor.close()
                except Exception:
                    log.exception("closing hypervisor %s failed", hypervisor.kind)  # the others are to be closed too
        self._known.clear()
