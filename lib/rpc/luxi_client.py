"""The client of the master daemon's public socket, for every `gnt-*` command and the REST server.

Every command imports this module, so it imports nothing that takes time: no `typing`, no dataclasses, and `_socket` because
`socket` builds enumerations of all its constants (4 ms).
"""

from __future__ import annotations

import _socket
import errno
import time

from ganeti.base import errors
from ganeti.rpc.frames import FrameSocket, parse_response, request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Self

    from ganeti.base.paths import Paths

CONNECT_TIMEOUT = 30.0
"""Seconds for which a master without a listening daemon is waited for (it may just be restarted)."""
READ_TIMEOUT = 180.0
"""Seconds; twice what the daemon may take for any answer."""
ATTEMPTS = 15
PAUSE = 0.02
"""Seconds, times the number of attempts so far, before a request is repeated: its daemon may be killed several times."""
WAIT_FOR_CHANGE = 89.0
PEER = "the master daemon"

_NOT_REPEATABLE = frozenset({"SubmitJob", "SubmitJobToDrainedQueue", "SubmitManyJobs"})
_ABSENT = (errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR)


class LuxiClient:
    """A connection to the master daemon, made at the first call and made again when it breaks. Not for several threads.

    Calls raise what the daemon answered (`errors.from_wire`), `errors.NoCluster` and `errors.NotMaster` if this host can have
    no master daemon, `errors.Unreachable` and `errors.Timeout` if it has one that does not answer. A request whose answer was
    lost is repeated, except one that would submit a job twice.
    """

    def __init__(
        self,
        paths: Paths,
        socket_path: str | None = None,
        *,
        connect_timeout: float = CONNECT_TIMEOUT,
        read_timeout: float = READ_TIMEOUT,
    ) -> None:
        self._paths = paths
        self._path = socket_path or paths.luxi_socket
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._end: FrameSocket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        if self._end is not None:
            self._end.close()
            self._end = None

    def call(self, method: str, *args: Any) -> Any:
        """Ask for one method by its wire name, with plain JSON values; returns its plain result."""
        attempt = 1
        while True:
            try:
                return parse_response(self._exchange(method, list(args)))
            except _Lost as err:
                if method in _NOT_REPEATABLE and err.was_sent:
                    text = f"{err}; whether it accepted the job is not known, look with 'gnt-job list' before trying again"
                    raise errors.AnswerLost(text) from err
                if attempt == ATTEMPTS:
                    raise
                time.sleep(PAUSE * attempt)
                attempt += 1

    def _exchange(self, method: str, args: list[Any]) -> Any:
        end, was_sent = self._connected(), False
        try:
            end.send(request(method, args), self._read_timeout)
            was_sent = True
            return end.receive(self._read_timeout)
        except errors.GanetiError as err:
            # Nothing that comes later on this connection could be told from the answer that did not come.
            self.close()
            if isinstance(err, errors.Unreachable):
                raise _Lost(err.message, was_sent) from err
            raise

    # --- connecting

    def _connected(self) -> FrameSocket:
        if self._end is None:
            self._end = FrameSocket(self._connect(), peer=PEER)
        return self._end

    def _connect(self) -> _socket.socket:
        deadline = time.monotonic() + self._connect_timeout
        pause = 0.01
        while True:
            sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
            sock.settimeout(self._connect_timeout)
            try:
                sock.connect(self._path)
                return sock
            except OSError as err:
                sock.close()
                self._check_worth_waiting(err)
                if time.monotonic() + pause > deadline:
                    raise self._no_daemon(err) from err
            time.sleep(pause)
            pause = min(2 * pause, 1.0)

    def _check_worth_waiting(self, err: OSError) -> None:
        """Raise unless a daemon that is expected here is merely not listening yet."""
        if err.errno == errno.EAGAIN:  # its queue of new connections is full
            return
        if err.errno in _ABSENT:
            self._check_master()
        elif err.errno in (errno.EACCES, errno.EPERM):
            raise errors.Unreachable(f"no permission to talk to {PEER} on {self._path}; run the command as root") from err
        else:
            raise self._no_daemon(err) from err

    def _check_master(self) -> None:
        file = self._paths.ssconf("master_node")
        try:
            master = _first_line(file)
        except PermissionError:
            raise errors.Unreachable(f"no permission to read {file}; run the command as root") from None
        if master is None:
            text = "this host is in no cluster; make one with 'gnt-cluster init', or add this host to one with 'gnt-node add'"
            raise errors.NoCluster(f"{text} ({file} does not exist)")
        if not _same_host(master, self._paths.hostname):
            text = f"this node ({self._paths.hostname}) is not the master of its cluster"
            raise errors.NotMaster(f"{text}; run the command on {master}")

    def _no_daemon(self, err: OSError) -> errors.Unreachable:
        text = f"{PEER} does not answer on {self._path} ({err.strerror})"
        log = self._paths.log_file("ganeti-masterd")
        return errors.Unreachable(f"{text}; see whether ganeti-masterd runs, and its log {log}")

    # --- jobs

    def submit_job(self, ops: list[dict[str, Any]]) -> int:
        """Submit opcodes in wire form as one job; returns its id."""
        return int(self.call("SubmitJob", ops))

    def submit_job_to_drained_queue(self, ops: list[dict[str, Any]]) -> int:
        return int(self.call("SubmitJobToDrainedQueue", ops))

    def submit_many_jobs(self, jobs: list[list[dict[str, Any]]]) -> list[tuple[bool, int | str]]:
        return [(ok, value) for ok, value in self.call("SubmitManyJobs", jobs)]

    def wait_for_job_change(
        self,
        job: int | str,
        fields: list[str],
        previous: list[Any] | None = None,
        serial: int | None = None,
        timeout: float = WAIT_FOR_CHANGE,
    ) -> Any:
        """``[[values], [log entries]]`` once the job differs from `previous` or has log entries after `serial`."""
        return self.call("WaitForJobChange", job, fields, previous, serial, timeout)

    def cancel_job(self, job: int | str, kill: bool = False) -> tuple[bool, str]:
        done, text = self.call("CancelJob", job, kill)
        return done, text

    def archive_job(self, job: int | str) -> bool:
        return bool(self.call("ArchiveJob", job))

    def auto_archive_jobs(self, age: float, timeout: float) -> tuple[int, int]:
        archived, left = self.call("AutoArchiveJobs", age, timeout)
        return archived, left

    def change_job_priority(self, job: int | str, priority: int) -> tuple[bool, str]:
        done, text = self.call("ChangeJobPriority", job, priority)
        return done, text

    def set_drain_flag(self, flag: bool) -> bool:
        return bool(self.call("SetDrainFlag", flag))

    def set_watcher_pause(self, until: float | None) -> Any:
        return self.call("SetWatcherPause", until)

    # --- queries

    def query(self, what: str, fields: list[str], qfilter: Any = None) -> dict[str, Any]:
        """``{"fields": [definitions], "data": [[[status, value], ...], ...]}``."""
        result: dict[str, Any] = self.call("Query", what, fields, qfilter)
        return result

    def query_fields(self, what: str, fields: list[str] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = self.call("QueryFields", what, fields)
        return result

    def query_jobs(self, ids: list[int | str] | None, fields: list[str]) -> list[list[Any] | None]:
        return list(self.call("QueryJobs", ids, fields))

    def query_instances(self, names: list[str], fields: list[str]) -> list[list[Any]]:
        return list(self.call("QueryInstances", names, fields, False))

    def query_nodes(self, names: list[str], fields: list[str]) -> list[list[Any]]:
        return list(self.call("QueryNodes", names, fields, False))

    def query_groups(self, names: list[str], fields: list[str]) -> list[list[Any]]:
        return list(self.call("QueryGroups", names, fields, False))

    def query_cluster_info(self) -> dict[str, Any]:
        return dict(self.call("QueryClusterInfo"))

    def query_config_values(self, fields: list[str]) -> list[Any]:
        return list(self.call("QueryConfigValues", fields))

    def query_tags(self, kind: str, name: str = "") -> list[str]:
        return list(self.call("QueryTags", kind, name))


class _Lost(errors.Unreachable):
    """The connection broke. `was_sent`: the daemon may have carried out the request."""

    def __init__(self, message: str, was_sent: bool) -> None:
        super().__init__(message)
        self.was_sent = was_sent


def _first_line(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.readline().strip() or None
    except (FileNotFoundError, NotADirectoryError):
        return None


def _same_host(name: str, other: str) -> bool:
    """Whether two names are one host's: equal, or one is the other without its domain."""
    a, b = name.lower(), other.lower()
    return a == b or a.startswith(b + ".") or b.startswith(a + ".")
