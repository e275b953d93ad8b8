"""What every transport of node calls has in common: whom to ask, how data travel, and what errors become.

Wire: ``POST https://<node>:1811/<call>``, header `EPOCH_HEADER`, body a JSON array of arguments; the answer is
``[true, result]`` or ``[false, [error class, [arguments]]]``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from ganeti.base import codec, errors
from ganeti.rpc.call import Call

PORT = 1811
EPOCH_HEADER = "X-Ganeti-Epoch"


@dataclass(frozen=True)
class NodeTarget:
    """Where a node's agent is found. `name` must be the one in its certificate."""

    name: str
    ip: str
    offline: bool = False


def encode_call(call: Call, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
    """The body of a request."""
    return codec.dumps(call.encode_arguments(args, kwargs)).encode()


def answer(call: Call, method: Callable[..., Any], body: bytes) -> bytes:
    """What a node answers to a request: the call is decoded, carried out, and its result or error encoded."""
    try:
        result = method(*call.decode_arguments(codec.loads(body)))
        return codec.dumps([True, codec.encode(result)]).encode()
    except Exception as err:  # whatever it is, the caller has to know
        return refusal(err)


def refusal(error: BaseException) -> bytes:
    """The answer that carries an error."""
    return codec.dumps([False, errors.to_wire(error, exact=True)]).encode()


def decode_answer(node: str, call: Call, body: bytes) -> Any:
    """The result in a node's answer; raises `NodeError` for an error, and `StaleEpoch` as what it is."""
    try:
        match codec.loads(body):
            case [True, result]:
                return call.decode_result(result)
            case [False, error]:
                _raise_remote(node, errors.from_wire(error))
    except errors.DecodeError as err:
        text = f"gave an answer to {call.name} that cannot be understood ({err}); does it run the same version of the software?"
        raise errors.NodeError(node, text) from err
    raise errors.NodeError(node, f"gave an answer to {call.name} that is neither a result nor an error")


def _raise_remote(node: str, error: errors.GanetiError) -> NoReturn:
    if isinstance(error, errors.StaleEpoch):
        raise error
    raise errors.NodeError(node, error.message) from error


def check_online(target: NodeTarget, call: Call) -> None:
    """Raise `NodeOffline` for a node that must not be asked."""
    if target.offline and not call.offline:
        raise errors.NodeOffline(target.name)
