"""Frames of LUXI and of the job socket: one JSON value, then the byte 0x03, which JSON text cannot contain.

Requests and responses inside the frames, a blocking end (`FrameSocket`) and helpers for asyncio streams. Every command imports
this module, so it imports nothing that takes time.
"""

from __future__ import annotations

import time

from ganeti.base import errors, jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from typing import Any, Protocol

    class StreamSocket(Protocol):
        """What is used of a connected stream socket."""

        def recv(self, size: int, /) -> bytes: ...
        def send(self, data: memoryview, /) -> int: ...
        def settimeout(self, seconds: float | None, /) -> None: ...
        def fileno(self) -> int: ...
        def shutdown(self, how: int, /) -> None: ...
        def close(self) -> object: ...


ETX = b"\x03"
MAX_MESSAGE = 64 * 1024 * 1024
"""Bytes; a longer frame ends the connection."""
_CHUNK = 256 * 1024


class EndOfStream(errors.Unreachable):
    """The peer closed the connection between two frames, as it does when it has nothing more to say."""


# --- frames as data


def encode(value: Any, *, limit: int = MAX_MESSAGE) -> bytes:
    """The frame of a plain JSON value; `ProtocolError` if it would be longer than the limit."""
    text = jsontext.dumps(value).encode()
    if len(text) > limit:
        raise errors.ProtocolError(f"a message of {len(text)} bytes is longer than the {limit} bytes that are allowed")
    return text + ETX


def decode(frame: bytes | bytearray) -> Any:
    """The value of a frame (without its final byte); `ProtocolError` if it is not JSON."""
    try:
        return jsontext.loads(bytes(frame))
    except errors.DecodeError as err:
        raise errors.ProtocolError(f"a message of {len(frame)} bytes is {err}") from err


class FrameBuffer:
    """Cuts a stream of bytes into frames. Holds at most one incomplete frame, of `limit` bytes."""

    def __init__(self, limit: int = MAX_MESSAGE) -> None:
        self._limit = limit
        self._data = bytearray()
        self._searched = 0

    def feed(self, data: bytes) -> None:
        self._data += data

    def __bool__(self) -> bool:
        """Whether there are bytes of a frame that is not complete yet."""
        return bool(self._data)

    def next_frame(self) -> bytes | None:
        """The next complete frame without its final byte; `ProtocolError` if it grows beyond the limit."""
        end = self._data.find(ETX, self._searched)
        if end < 0:
            self._searched = len(self._data)
        if max(end, self._searched) > self._limit:
            raise errors.ProtocolError(f"a message is longer than the {self._limit} bytes that are allowed")
        if end < 0:
            return None
        frame = bytes(self._data[:end])
        del self._data[: end + 1]
        self._searched = 0
        return frame


# --- requests and responses


def request(method: str, args: list[Any]) -> dict[str, Any]:
    """What a client sends."""
    return {"method": method, "args": args}


def success(result: Any) -> dict[str, Any]:
    """The response that carries a plain JSON value."""
    return {"success": True, "result": result}


def failure(error: BaseException, *, exact: bool = False) -> dict[str, Any]:
    """The response for an error; `exact` as for `errors.to_wire`."""
    return {"success": False, "result": errors.to_wire(error, exact=exact)}


def parse_request(value: Any) -> tuple[str, list[Any]]:
    """Method and arguments of a request; unknown keys (a client's `version`) are ignored."""
    if not isinstance(value, dict) or not isinstance(value.get("method"), str):
        raise errors.ProtocolError("a request must be an object with a method")
    args = value.get("args")
    if not isinstance(args, list):
        raise errors.ProtocolError(f"the arguments of {value['method']} must be a list")
    return value["method"], args


def parse_response(value: Any) -> Any:
    """The result of a response; raises the error it carries."""
    if not isinstance(value, dict) or not isinstance(value.get("success"), bool) or "result" not in value:
        raise errors.ProtocolError("a response must be an object with success and result")
    if not value["success"]:
        raise errors.from_wire(value["result"])
    return value["result"]


# --- blocking


class FrameSocket:
    """One end of a connection on which whole frames are sent and received. Not for several threads at once.

    Time-outs are for a whole frame, in seconds (None: for ever), and raise `errors.Timeout`; a broken connection raises
    `errors.Unreachable` (`EndOfStream` if it was closed between frames). After any error the connection is of no use.
    """

    def __init__(self, sock: StreamSocket, *, peer: str = "the peer", limit: int = MAX_MESSAGE) -> None:
        self._sock = sock
        self._peer = peer
        self._limit = limit
        self._buffer = FrameBuffer(limit)

    def send(self, value: Any, timeout: float | None = None) -> None:
        self.send_frame(encode(value, limit=self._limit), timeout)

    def send_frame(self, frame: bytes, timeout: float | None = None) -> None:
        """Send a value that has been encoded already."""
        deadline = _Deadline(timeout, f"{self._peer} did not take a message within {timeout} seconds")
        rest = memoryview(frame)
        while rest:
            self._sock.settimeout(deadline.remaining())
            try:
                rest = rest[self._sock.send(rest) :]
            except TimeoutError as err:
                raise deadline.error() from err
            except OSError as err:
                raise errors.Unreachable(f"the connection to {self._peer} broke: {err}") from err

    def receive(self, timeout: float | None = None) -> Any:
        deadline = _Deadline(timeout, f"{self._peer} did not answer within {timeout} seconds")
        while (frame := self._buffer.next_frame()) is None:
            self._sock.settimeout(deadline.remaining())
            try:
                data = self._sock.recv(_CHUNK)
            except TimeoutError as err:
                raise deadline.error() from err
            except OSError as err:
                raise errors.Unreachable(f"the connection to {self._peer} broke: {err}") from err
            if not data:
                raise self._hung_up()
            self._buffer.feed(data)
        return decode(frame)

    def _hung_up(self) -> errors.Unreachable:
        if self._buffer:
            return errors.Unreachable(f"{self._peer} hung up in the middle of a message")
        return EndOfStream(f"{self._peer} closed the connection")

    def fileno(self) -> int:
        return self._sock.fileno()

    def shutdown(self) -> None:
        """End both directions at once, for everybody who has the socket; `close` must follow."""
        try:
            self._sock.shutdown(2)
        except OSError:
            pass  # the peer was faster

    def close(self) -> None:
        self._sock.close()


class _Deadline:
    def __init__(self, timeout: float | None, text: str) -> None:
        self._end = None if timeout is None else time.monotonic() + timeout
        self._text = text

    def remaining(self) -> float | None:
        if self._end is None:
            return None
        left = self._end - time.monotonic()
        if left <= 0:
            raise self.error()
        return left

    def error(self) -> errors.Timeout:
        return errors.Timeout(self._text)


# --- asyncio


async def read_frame(reader: asyncio.StreamReader, *, limit: int = MAX_MESSAGE) -> Any:
    """The next value from a stream, whatever the stream's own limit.

    Raises `EndOfStream` if the peer closed between frames, `Unreachable` if within one, `ProtocolError` for a frame that is
    too long or is not JSON (after the latter the stream stands at the next frame).
    """
    from asyncio import IncompleteReadError, LimitOverrunError

    parts = bytearray()
    while True:
        try:
            parts += await reader.readuntil(ETX)
        except LimitOverrunError as err:
            parts += await reader.readexactly(err.consumed)
        except IncompleteReadError as err:
            if parts or err.partial:
                raise errors.Unreachable("the peer hung up in the middle of a message") from err
            raise EndOfStream("the peer closed the connection") from err
        except OSError as err:
            raise errors.Unreachable(f"the connection to the peer broke: {err}") from err
        complete = parts.endswith(ETX)
        if len(parts) - complete > limit:
            raise errors.ProtocolError(f"a message is longer than the {limit} bytes that are allowed")
        if complete:
            return decode(parts[:-1])


async def write_frame(writer: asyncio.StreamWriter, value: Any) -> None:
    """Send a value; returns when the stream can take more. A broken connection raises `Unreachable`."""
    try:
        writer.write(encode(value))
        await writer.drain()
    except OSError as err:
        raise errors.Unreachable(f"the connection to the peer broke: {err}") from err
