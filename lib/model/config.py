"""A consistent view of the whole configuration, and the questions that are asked of it. No I/O: rows come from a `Rows`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TypeVar

from ganeti.base.errors import Code, ConfigError, PrereqError
from ganeti.model.enums import Kind
from ganeti.model.ids import NodeUuid
from ganeti.model.objects import Cluster, Disk, FilterRule, Group, Instance, Network, Node, Stored

S = TypeVar("S", bound=Stored)


class Rows(Protocol):
    """Where a `Config` gets its objects: one consistent snapshot. Implemented by the store and, in memory, for tests."""

    @property
    def serial(self) -> int:
        """Number of the last commit contained."""
        ...

    def get(self, kind: Kind, uuid: str) -> Any | None: ...

    def by_name(self, kind: Kind, name: str) -> Any | None: ...

    def all(self, kind: Kind) -> Iterable[Any]:
        """All objects of a kind, in natural order of their names."""
        ...

    def names(self, kind: Kind) -> Sequence[str]: ...

    def instances_of(self, node: str, *, primary: bool) -> Iterable[Any]:
        """Instances whose primary node (or one of whose secondary nodes) is `node`."""
        ...


class Config:
    """The configuration at one serial number."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    @property
    def serial(self) -> int:
        return self.rows.serial

    # --- by uuid: the object must exist
    @property
    def cluster(self) -> Cluster:
        for cluster in self.rows.all(Kind.CLUSTER):
            assert isinstance(cluster, Cluster)
            return cluster
        raise ConfigError("the store holds no cluster; was it initialised?")

    @property
    def master(self) -> Node:
        return self.node(self.cluster.master_node)

    def node(self, uuid: str) -> Node:
        return self._get(Kind.NODE, uuid, Node)

    def group(self, uuid: str) -> Group:
        return self._get(Kind.GROUP, uuid, Group)

    def instance(self, uuid: str) -> Instance:
        return self._get(Kind.INSTANCE, uuid, Instance)

    def disk(self, uuid: str) -> Disk:
        return self._get(Kind.DISK, uuid, Disk)

    def network(self, uuid: str) -> Network:
        return self._get(Kind.NETWORK, uuid, Network)

    # --- by what a user typed
    def find_node(self, name: str) -> Node:
        """The node with this name, short name or uuid; `PrereqError` if there is none or several."""
        return self._find(Kind.NODE, name, Node)

    def find_instance(self, name: str) -> Instance:
        return self._find(Kind.INSTANCE, name, Instance)

    def find_group(self, name: str) -> Group:
        return self._find(Kind.GROUP, name, Group)

    def find_network(self, name: str) -> Network:
        return self._find(Kind.NETWORK, name, Network)

    # --- all of them, in natural order of their names
    @property
    def nodes(self) -> list[Node]:
        return list(self.rows.all(Kind.NODE))

    @property
    def groups(self) -> list[Group]:
        return list(self.rows.all(Kind.GROUP))

    @property
    def instances(self) -> list[Instance]:
        return list(self.rows.all(Kind.INSTANCE))

    @property
    def networks(self) -> list[Network]:
        return list(self.rows.all(Kind.NETWORK))

    @property
    def filters(self) -> list[FilterRule]:
        return list(self.rows.all(Kind.FILTER))

    # --- relations
    def primary_instances(self, node: str) -> list[Instance]:
        return list(self.rows.instances_of(node, primary=True))

    def secondary_instances(self, node: str) -> list[Instance]:
        return list(self.rows.instances_of(node, primary=False))

    def disks_of(self, instance: Instance) -> list[Disk]:
        """The instance's disks in their order."""
        return [self.disk(uuid) for uuid in instance.disks]

    def nodes_of(self, instance: Instance) -> list[NodeUuid]:
        """Primary first, then the secondaries."""
        return [instance.primary_node, *instance.secondary_nodes]

    @property
    def online_nodes(self) -> list[Node]:
        return [node for node in self.nodes if not node.offline]

    @property
    def candidates(self) -> list[Node]:
        """Nodes that hold a replica of the store, the master among them."""
        return [node for node in self.nodes if node.master_candidate and not node.offline]

    # --- helpers
    def _get(self, kind: Kind, uuid: str, cls: type[S]) -> S:
        found = self.rows.get(kind, uuid)
        if found is None:
            raise ConfigError(f"{kind} {uuid} is not in the configuration any more")
        assert isinstance(found, cls)
        return found

    def _find(self, kind: Kind, name: str, cls: type[S]) -> S:
        found = self.rows.by_name(kind, name) or self.rows.get(kind, name)
        if found is None:
            found = self.rows.by_name(kind, self._complete(kind, name))
        assert isinstance(found, cls)
        return found

    def _complete(self, kind: Kind, name: str) -> str:
        """The full name for an abbreviated host name (whole components, any case)."""
        word = {Kind.GROUP: "node group"}.get(kind, str(kind))
        lowered = name.lower()
        if kind in (Kind.NODE, Kind.INSTANCE):
            matches = [full for full in self.rows.names(kind) if matches_host_name(lowered, full)]
        else:
            matches = []
        if len(matches) == 1:
            return matches[0]
        if matches:
            listed = ", ".join(matches[:5]) + (", ..." if len(matches) > 5 else "")
            raise PrereqError(f"{word} name '{name}' is ambiguous: it could be {listed}", Code.INVAL)
        raise PrereqError(f"{word} '{name}' is not known in this cluster", Code.NOENT)


def matches_host_name(typed: str, full: str) -> bool:
    """Whether `typed` (lower case) is `full` or leading whole components of it: ``web1`` matches ``web1.example.com``."""
    lowered = full.lower()
    return lowered == typed or lowered.startswith(typed + ".")
