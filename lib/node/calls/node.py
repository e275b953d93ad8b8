"""Node calls about the node itself: facts, cluster files, the master's address, the replica, hooks."""

from __future__ import annotations

import base64
import logging
import time

from ganeti.base import ssh
from ganeti.base.errors import DecodeError, ExecError
from ganeti.base.secret import Secret
from ganeti.node import cluster_files, facts, hooks, master_address, verify
from ganeti.node.dispatch import handling
from ganeti.node.osdef import definition as definitions
from ganeti.node.services import Services
from ganeti.rpc.node.node import HookResult, LogRange, MasterAddress, NodeApi
from ganeti.rpc.node.replies import NodeInfo, OsVariantInfo, VerifyReply, VerifyRequest, VersionReply

log = logging.getLogger(__name__)

MAX_DELAY = 3000.0
"""Seconds; less than the time limit of the call."""


class NodeCalls(NodeApi):
    """See `NodeApi`."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._paths = services.paths

    @handling(lane="cluster")
    def version(self) -> VersionReply:
        return facts.version(self._services)

    def node_info(self, storage: list[tuple[str, str]], hypervisors: list[str]) -> NodeInfo:
        return facts.node_info(self._services, storage, hypervisors)

    def node_verify(self, request: VerifyRequest) -> VerifyReply:
        return verify.verify(self._services, request)

    def os_list(self) -> list[OsVariantInfo]:
        return [found.info() for found in definitions.find_all(self._paths.os_search_path)]

    # --- cluster files
    @handling(lane="cluster", order="cluster:files")
    def write_ssconf(self, values: dict[str, str]) -> None:
        self._services.ssconf.write(values)

    @handling(lane="cluster", order="cluster:files")
    def upload_file(self, name: str, content: Secret) -> None:
        cluster_files.upload(self._paths, name, content)
        log.info("file %s was replaced", name)

    @handling(lane="cluster", order="cluster:files")
    def write_authorized_keys(self, add: list[str], remove: list[str]) -> None:
        path = self._paths.ssh_directory + "/authorized_keys"
        for line in remove:
            ssh.remove_authorized_key(path, line)
        for line in add:
            ssh.add_authorized_key(path, line)

    # --- master role
    @handling(order="cluster:address")
    def master_address_start(self, address: MasterAddress) -> None:
        master_address.start(self._paths, self._services.scripts, address)
        log.info("cluster address %s is on this node", address.ip)

    @handling(order="cluster:address")
    def master_address_stop(self, address: MasterAddress) -> None:
        master_address.stop(self._paths, self._services.scripts, address)
        log.info("cluster address %s is not on this node any more", address.ip)

    # --- replication
    @handling(lane="cluster", order="cluster:store")
    def store_append(self, log: LogRange) -> int:  # the declaration's name for the argument
        return self._services.replica.append(log.rows)

    @handling(lane="cluster", order="cluster:store")
    def store_replace(self, snapshot: str, serial: int) -> int:
        try:
            content = base64.b64decode(snapshot, validate=True)
        except ValueError as err:
            raise DecodeError("snapshot", f"it is not base64: {err}") from err
        return self._services.replica.replace(content, serial)

    @handling(lane="cluster", order="cluster:store")
    def store_remove(self) -> None:
        self._services.replica.remove()
        cluster_files.forget_candidacy(self._paths)

    # --- membership, hooks, tests
    @handling(order="cluster:files")
    def node_leave(self) -> None:
        # In this order: without its certificates nobody can call this node again, whatever else fails.
        self._services.replica.close()
        cluster_files.forget_cluster(self._paths)
        log.info("this node has left its cluster")
        self._services.stop()

    def run_hooks(self, path: str, phase: str, environment: dict[str, str]) -> list[HookResult]:
        return hooks.run_hooks(self._paths, self._services.scripts, path, phase, environment)

    def test_delay(self, duration: float) -> None:
        if not 0 <= duration <= MAX_DELAY:
            raise ExecError(f"cannot sleep for {duration:g} s: at most {MAX_DELAY:g} s are allowed")
        time.sleep(duration)
