"""Every error this system raises on purpose, and its name on the wire.

    GanetiError
    |-- PrereqError        the user can fix it; nothing was changed (carries an error code)
    |   |-- ResolverError  a host name that cannot be resolved
    |-- ExecError          something had been started when it failed
    |   |-- CommandError   an external command failed
    |   |-- HooksAbort     a pre hook refused the operation
    |   |-- HypervisorError, StorageError
    |-- NodeError          a node could not be asked, or answered with an error (names the node)
    |   |-- NodeOffline    the node is marked offline and was not asked
    |-- ConfigError        the configuration would become, or is, inconsistent
    |   |-- Conflict       somebody else changed the object since it was read
    |-- Timeout            something did not happen in time
    |   |-- LockTimeout
    |-- Cancelled          the job was cancelled
    |-- DecodeError        data of the wrong shape (carries the path inside the data)
    |-- ProtocolError      a peer that does not keep to the protocol
    |-- Unreachable        a daemon that does not answer, or hung up
    |   |-- AnswerLost     a request was sent that must not be sent twice, and its answer never came
    |-- NotMaster          asked of a node that is not the master
    |-- NoCluster          asked of a host that is in no cluster
    |-- StaleEpoch         commanded by a master that has been replaced
    |-- QueueError         the job queue refuses (drained, full, unknown job)

Wire form: ``[name, [arguments]]`` with the names of the public contract; `to_wire` and `from_wire` are the only translation.
"""

from __future__ import annotations

# Every command imports this module; `typing` alone would cost it 3 ms. Type checkers take the name for true.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Code:
    """Error codes of `PrereqError`, as they stand on the wire."""

    RESOLVER = "resolver_error"
    NORES = "insufficient_resources"
    TEMP_NORES = "temp_insufficient_resources"
    INVAL = "wrong_input"
    STATE = "wrong_state"
    NOENT = "unknown_entity"
    EXISTS = "already_exists"
    NOTUNIQUE = "resource_not_unique"
    FAULT = "internal_error"
    ENVIRON = "environment_error"


class GanetiError(Exception):
    """Root of the tree. The message says what failed, on which object, why, and what to do."""

    wire_name = "GenericError"

    @property
    def message(self) -> str:
        return str(self.args[0]) if self.args else self.__class__.__name__

    def wire_args(self) -> list[Any]:
        return [self.message]

    def __str__(self) -> str:
        return self.message


class PrereqError(GanetiError):
    """The operation cannot start; nothing was changed. `code` is one of `Code`."""

    wire_name = "OpPrereqError"

    def __init__(self, message: str, code: str = Code.INVAL) -> None:
        super().__init__(message, code)
        self.code = code

    def wire_args(self) -> list[Any]:
        return [self.message, self.code]


class ResolverError(PrereqError):
    """A name that cannot be resolved to an address."""

    def __init__(self, message: str, code: str = Code.RESOLVER) -> None:
        super().__init__(message, code)


class ExecError(GanetiError):
    """The operation had been started when it failed."""

    wire_name = "OpExecError"


class CommandError(ExecError):
    """An external command ended with an unexpected status. `result` holds its argv, status and output."""

    wire_name = "CommandError"

    def __init__(self, message: str, result: Any = None) -> None:
        super().__init__(message)
        self.result = result


class HooksAbort(ExecError):
    """Pre hooks refused: `failures` is a list of [node, script, output]."""

    wire_name = "HooksAbort"

    def __init__(self, failures: list[list[str]]) -> None:
        super().__init__("; ".join(f"hook {script} on {node} failed: {output}" for node, script, output in failures))
        self.failures = failures

    def wire_args(self) -> list[Any]:
        return [self.failures]


class HypervisorError(ExecError):
    """A hypervisor could not do what was asked."""

    wire_name = "HypervisorError"


class StorageError(ExecError):
    """A device could not be made, used or removed."""

    wire_name = "StorageError"


class NodeError(GanetiError):
    """A node call failed: the node could not be reached, or the call failed there."""

    wire_name = "OpExecError"

    def __init__(self, node: str, message: str) -> None:
        super().__init__(f"node {node}: {message}")
        self.node = node
        self.reason = message


class NodeOffline(NodeError):
    """The node is marked offline, so it was not asked."""

    def __init__(self, node: str, message: str = "is marked offline") -> None:
        super().__init__(node, message)


class ConfigError(GanetiError):
    """The configuration would become, or is, inconsistent."""

    wire_name = "ConfigurationError"


class Conflict(ConfigError):
    """The object was changed by somebody else since it was read."""


class Timeout(GanetiError):
    """Something did not happen in the time given."""


class LockTimeout(Timeout):
    """A lock was not free in time."""

    wire_name = "LockError"


class Cancelled(GanetiError):
    """The job was cancelled."""

    wire_name = "JobCanceled"


class DecodeError(GanetiError):
    """Data of the wrong shape. `path` names the place inside the data, such as ``disks[0].size``."""

    wire_name = "ParameterError"

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path
        self.reason = message


class ProtocolError(GanetiError):
    """A peer does not keep to the protocol."""

    wire_name = "LuxiError"


class NotMaster(GanetiError):
    """Asked of a node that is not the master. The message names the master where it is known."""


class NoCluster(GanetiError):
    """This host is in no cluster."""


class Unreachable(GanetiError):
    """A daemon that cannot be reached or hung up; whether it did what it was asked may be unknown."""


class AnswerLost(Unreachable):
    """Whether the request was carried out is not known, and it must not simply be repeated."""


class StaleEpoch(GanetiError):
    """A master of an older epoch commanded: it has been replaced and must step down."""

    wire_name = "StaleEpoch"


class QueueError(GanetiError):
    """The job queue refuses."""

    wire_name = "JobQueueError"


class JobLost(QueueError):
    """The job is not in the queue (any more)."""

    wire_name = "JobLost"


# Names which other implementations use for errors that are one class here.
_ALIASES: dict[str, type[GanetiError]] = {
    "ResolverError": ResolverError,
    "ConfigVersionMismatch": ConfigError,
    "BlockDeviceError": StorageError,
    "JobQueueFull": QueueError,
    "JobQueueDrainError": QueueError,
    "TypeEnforcementError": DecodeError,
    "RemoteError": ExecError,
}


def _registry() -> dict[str, type[GanetiError]]:
    found: dict[str, type[GanetiError]] = dict(_ALIASES)
    pending: list[type[GanetiError]] = [GanetiError]
    while pending:
        cls = pending.pop(0)
        found.setdefault(cls.wire_name, cls)
        found.setdefault(cls.__name__, cls)
        pending.extend(cls.__subclasses__())
    return found


def to_wire(error: BaseException, *, exact: bool = False) -> list[Any]:
    """The wire form of any exception; one that is not of this tree becomes an execution error with its text.

    `exact`: between processes of ours, name the very class (`Conflict`) and not the public contract's (ConfigurationError).
    """
    if isinstance(error, GanetiError):
        return [type(error).__name__ if exact else error.wire_name, error.wire_args()]
    return [ExecError.wire_name, [f"{type(error).__name__}: {error}"]]


def from_wire(value: Any) -> GanetiError:
    """The exception that a wire form stands for; whatever cannot be understood becomes a plain `GanetiError`."""
    if isinstance(value, (list, tuple)) and len(value) == 2 and isinstance(value[0], str):
        name, args = value
        cls = _registry().get(name)
        if cls is PrereqError and isinstance(args, list) and len(args) >= 2:
            return PrereqError(str(args[0]), str(args[1]))
        if cls is HooksAbort and isinstance(args, list) and args and isinstance(args[0], list):
            return HooksAbort(args[0])
        text = str(args[0]) if isinstance(args, list) and args else str(args)
        if cls is not None and cls not in (HooksAbort, NodeError, NodeOffline, DecodeError):
            return cls(text)
        return GanetiError(text)
    return GanetiError(str(value))
