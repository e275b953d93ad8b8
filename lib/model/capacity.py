"""How much memory of a node may be given to another guest. The one model that every operation and check uses.

Two limits hold, and the smaller one counts:

* what is free now, less what the instances that should run on the node may still take (an instance that is down by accident,
  or that was ballooned below its maximum, has a claim to the rest);
* what the node has in all, less the maximum memory of those instances. A hypervisor that hands out pages on first use would
  otherwise promise the same free memory again and again.

All sizes are MiB.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ganeti.model.config import Config
from ganeti.model.enums import AdminState
from ganeti.model.filled import fill_beparams


@dataclass(frozen=True)
class Claim:
    """An instance that should run on the node: its maximum memory, and what it has now (0: it does not run)."""

    name: str
    maximum: int
    used: int = 0


@dataclass(frozen=True)
class NodeMemory:
    """A node's memory as its hypervisor reports it, and the claims on it."""

    total: int
    free: int
    claims: tuple[Claim, ...] = ()

    @property
    def available(self) -> int:
        """What another guest may have; negative if the node has promised more than it has."""
        outstanding = sum(max(0, claim.maximum - claim.used) for claim in self.claims)
        promised = sum(claim.maximum for claim in self.claims)
        return min(self.free - outstanding, self.total - promised)

    def missing(self, wanted: int) -> int:
        """By how much `wanted` does not fit (0: it fits)."""
        return max(0, wanted - self.available)


def claims_on(config: Config, node: str, used: Mapping[str, int], *, besides: Iterable[str] = ()) -> tuple[Claim, ...]:
    """Claims of the instances that should run on a node (uuid), except those named in `besides`.

    `used` maps the names of the guests that run there now to their memory. An instance that is being made (forthcoming) has a
    claim already, so that two operations do not give the same memory away.
    """
    left_out = frozenset(besides)
    return tuple(
        Claim(instance.name, int(fill_beparams(config.cluster, instance)["maxmem"]), used.get(instance.name, 0))
        for instance in config.primary_instances(node)
        if (instance.admin_state is AdminState.UP or instance.forthcoming) and instance.name not in left_out
    )
