"""LUXI: the methods of the master daemon's public socket. Names and shapes on the wire are fixed by the public contract.

Framing (`rpc.frames`): UTF-8 JSON followed by one byte 0x03; one request at a time on a connection.
Request ``{"method": ..., "args": [...]}``, response ``{"success": bool, "result": ...}``; an error's result is
``[class, [args]]``.
"""

from __future__ import annotations

from typing import Any

from ganeti.rpc import frames
from ganeti.rpc.call import URGENT, rpc

MAX_MESSAGE = frames.MAX_MESSAGE
WAIT_FOR_CHANGE_MAX = 89.0
"""Seconds that `wait_for_job_change` waits at most."""

WireOp = dict[str, Any]
"""An opcode in wire form, with its ``OP_ID``."""
Row = list[Any]


class LuxiApi:
    """All methods; the master daemon implements them as coroutines of the same names."""

    @rpc(timeout=URGENT, name="SubmitJob")
    def submit_job(self, ops: list[WireOp]) -> int:
        """Accept a job; it is on disk (and on the candidates) when the id is returned."""
        raise NotImplementedError

    @rpc(timeout=URGENT, name="SubmitJobToDrainedQueue")
    def submit_job_to_drained_queue(self, ops: list[WireOp]) -> int:
        raise NotImplementedError

    @rpc(timeout=URGENT, name="SubmitManyJobs")
    def submit_many_jobs(self, jobs: list[list[WireOp]]) -> list[tuple[bool, int | str]]:
        """Accept several jobs in one transaction; negative dependencies count back from the job itself."""
        raise NotImplementedError

    @rpc(timeout=URGENT, name="WaitForJobChange")
    def wait_for_job_change(
        self,
        job: int | str,
        fields: list[str],
        previous: Any = None,
        serial: int | None = None,
        timeout: float = WAIT_FOR_CHANGE_MAX,
    ) -> Any:
        """``[[values], [log entries]]`` as soon as the job differs from what the caller knows, or is final."""
        raise NotImplementedError

    @rpc(timeout=URGENT, name="CancelJob")
    def cancel_job(self, job: int | str, kill: bool = False) -> tuple[bool, str]:
        raise NotImplementedError

    @rpc(timeout=URGENT, name="ArchiveJob")
    def archive_job(self, job: int | str) -> bool:
        raise NotImplementedError

    @rpc(timeout=URGENT, name="AutoArchiveJobs")
    def auto_archive_jobs(self, age: float, timeout: float) -> tuple[int, int]:
        raise NotImplementedError

    @rpc(timeout=URGENT, name="ChangeJobPriority")
    def change_job_priority(self, job: int | str, priority: int) -> tuple[bool, str]:
        raise NotImplementedError

    @rpc(timeout=URGENT, name="SetDrainFlag")
    def set_drain_flag(self, flag: bool) -> bool:
        raise NotImplementedError

    @rpc(timeout=URGENT, name="SetWatcherPause")
    def set_watcher_pause(self, until: float | None) -> float | None:
        raise NotImplementedError

    @rpc(timeout=URGENT, name="Query")
    def query(self, what: str, fields: list[str], qfilter: Any = None) -> dict[str, Any]:
        """``{"fields": [{name, title, kind, doc}], "data": [[[status, value], ...], ...]}``."""
        raise NotImplementedError

    @rpc(timeout=URGENT, name="QueryFields")
    def query_fields(self, what: str, fields: list[str] | None = None) -> dict[str, Any]:
        raise NotImplementedError

    @rpc(timeout=URGENT, name="QueryJobs")
    def query_jobs(self, ids: list[int | str] | None, fields: list[str]) -> list[Row | None]:
        raise NotImplementedError

    @rpc(timeout=URGENT, name="QueryInstances")
    def query_instances(self, names: list[str] | None, fields: list[str], lock: bool = False) -> list[Row]:
        raise NotImplementedError

    @rpc(timeout=URGENT, name="QueryNodes")
    def query_nodes(self, names: list[str] | None, fields: list[str], lock: bool = False) -> list[Row]:
        raise NotImplementedError

    @rpc(timeout=URGENT, name="QueryGroups")
    def query_groups(self, names: list[str] | None, fields: list[str], lock: bool = False) -> list[Row]:
        raise NotImplementedError

    @rpc(timeout=URGENT, name="QueryClusterInfo")
    def query_cluster_info(self) -> dict[str, Any]:
        raise NotImplementedError

    @rpc(timeout=URGENT, name="QueryConfigValues")
    def query_config_values(self, fields: list[str]) -> list[Any]:
        raise NotImplementedError

    @rpc(timeout=URGENT, name="QueryTags")
    def query_tags(self, kind: str, name: str = "") -> list[str]:
        raise NotImplementedError
