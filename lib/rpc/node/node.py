"""Node calls about the node itself and its part in the cluster."""

from __future__ import annotations

from dataclasses import dataclass

from ganeti.base.secret import Secret
from ganeti.rpc.call import FAST, NORMAL, SLOW, URGENT, rpc
from ganeti.rpc.node.replies import NodeInfo, OsVariantInfo, VerifyReply, VerifyRequest, VersionReply


@dataclass(frozen=True)
class MasterAddress:
    """The cluster's address and where it belongs."""

    ip: str
    netdev: str
    prefix: int
    family: int
    external_script: bool = False


@dataclass(frozen=True)
class HookResult:
    """One script run: status is ``success``, ``failed`` or ``skipped``."""

    script: str
    status: str
    output: str


@dataclass(frozen=True)
class LogRange:
    """Change-log entries of the store, first to last; each row is [serial, epoch, text]. See `store`."""

    rows: list[tuple[int, int, str]]


class NodeApi:
    """Facts about a node, cluster files on it, and its share of replication."""

    @rpc(timeout=URGENT, offline=True)
    def version(self) -> VersionReply:
        raise NotImplementedError

    @rpc(timeout=URGENT)
    def node_info(self, storage: list[tuple[str, str]], hypervisors: list[str]) -> NodeInfo:
        """Memory, CPUs, boot id, and the space of the storage units asked for ([kind, name])."""
        raise NotImplementedError

    @rpc(timeout=NORMAL)
    def node_verify(self, request: VerifyRequest) -> VerifyReply:
        raise NotImplementedError

    @rpc(timeout=FAST)
    def os_list(self) -> list[OsVariantInfo]:
        raise NotImplementedError

    # --- cluster files
    @rpc(timeout=URGENT)
    def write_ssconf(self, values: dict[str, str]) -> None:
        """Replace the ssconf files (key -> text). Unknown keys are refused."""
        raise NotImplementedError

    @rpc(timeout=URGENT)
    def upload_file(self, name: str, content: Secret) -> None:
        """Replace one of the files on a fixed list of names (`CLUSTER_FILES`)."""
        raise NotImplementedError

    @rpc(timeout=URGENT)
    def write_authorized_keys(self, add: list[str], remove: list[str]) -> None:
        """Add and remove lines of root's authorized_keys."""
        raise NotImplementedError

    # --- master role
    @rpc(timeout=URGENT)
    def master_address_start(self, address: MasterAddress) -> None:
        """Put the cluster's address on this node and announce it. Present already is success."""
        raise NotImplementedError

    @rpc(timeout=URGENT)
    def master_address_stop(self, address: MasterAddress) -> None:
        raise NotImplementedError

    # --- replication of the store (master candidates)
    @rpc(timeout=URGENT)
    def store_append(self, log: LogRange) -> int:
        """Apply change-log entries, in order, durably; returns the last serial this node now has.

        A gap is not applied: the answer then is the serial from which entries are missing.
        """
        raise NotImplementedError

    @rpc(timeout=SLOW)
    def store_replace(self, snapshot: str, serial: int) -> int:
        """Replace the replica by a snapshot (base64 of a compressed SQLite database); returns its serial."""
        raise NotImplementedError

    @rpc(timeout=URGENT)
    def store_remove(self) -> None:
        """This node is no candidate any more: remove the replica and the authority's key."""
        raise NotImplementedError

    # --- membership, hooks, tests
    @rpc(timeout=NORMAL)
    def node_leave(self) -> None:
        """Forget the cluster: remove certificates, ssconf and replica, then stop the agent."""
        raise NotImplementedError

    @rpc(timeout=SLOW)
    def run_hooks(self, path: str, phase: str, environment: dict[str, str]) -> list[HookResult]:
        raise NotImplementedError

    @rpc(timeout=SLOW)
    def test_delay(self, duration: float) -> None:
        """Sleep (tests, benchmarks)."""
        raise NotImplementedError


CANDIDATE_FILES = ("ca.key", "hmac.key", "cluster-domain-secret", "rapi.pem", "rapi/users")
"""Names, below the data directory, of the files that all master candidates have alike, and no other node."""

CLUSTER_FILES = (*CANDIDATE_FILES, "known_hosts", "config.data")
"""Names, below the data directory, that `upload_file` accepts."""

ALL_APIS: tuple[str, ...] = ("InstanceApi", "BlockdevApi", "OsApi", "NodeApi")
