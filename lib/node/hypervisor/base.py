"""What the node agent asks of a hypervisor: a small core, and optional abilities as protocols of their own.

Implementations block; the agent calls them in its thread pool, at most one call per instance at a time. All raise
`HypervisorError` with what failed, on which instance, why, and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from ganeti.model.enums import HypervisorKind
from ganeti.model.filled import FilledInstance
from ganeti.model.objects import Params
from ganeti.rpc.node.replies import ConsoleInfo, HypervisorInfo, InstanceState, MigrationStatus


class Hypervisor(Protocol):
    """Running guests on this node."""

    kind: HypervisorKind

    def start(self, instance: FilledInstance, disks: Sequence[str], *, paused: bool = False) -> list[str]:
        """Start a guest whose disks are found at these paths, in order. Returns when it runs; leaves nothing on failure.

        The result are remarks for the operator, such as that the guest has to be emulated.
        """
        ...

    def stop(self, name: str, *, timeout: float, force: bool = False) -> None:
        """Ask the guest to power off for up to `timeout` seconds, then (or with `force` at once) end it and clean up.

        A guest that is not there is success.
        """
        ...

    def reset(self, instance: FilledInstance) -> None:
        """Reboot inside the running process."""
        ...

    def state(self, name: str) -> InstanceState: ...

    def states(self) -> list[InstanceState]:
        """Every guest that this hypervisor knows on this node, those that powered themselves off included."""
        ...

    def info(self) -> HypervisorInfo: ...

    def console(self, instance: FilledInstance, host: str) -> ConsoleInfo: ...

    def validate(self, hvparams: Params) -> str:
        """Whether these parameters can work on this node: empty, or what is wrong."""
        ...

    def verify(self) -> str:
        """Whether the hypervisor itself works here: empty, or what is wrong; a remark begins with `replies.NOTE`."""
        ...


@runtime_checkable
class Migratable(Protocol):
    """Guests can move to another node while they run."""

    def migration_info(self, name: str) -> str:
        """The runtime state (device model) of a running guest, for `accept`."""
        ...

    def accept(self, instance: FilledInstance, disks: Sequence[str], info: str, address: str) -> str:
        """Start a guest that waits at `address` for its state; returns the URI to send it to."""
        ...

    def migrate(self, instance: FilledInstance, uri: str, *, live: bool) -> None:
        """Begin sending; returns at once."""
        ...

    def migration_status(self, name: str) -> MigrationStatus: ...

    def migration_cancel(self, name: str) -> None: ...

    def finish_source(self, name: str, *, success: bool) -> None: ...

    def finish_target(self, name: str, *, success: bool) -> None: ...
