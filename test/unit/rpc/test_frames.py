"""Frames: pure functions, the blocking end over real sockets, and asyncio streams."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganeti.base import errors
from ganeti.rpc import frames

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=20,
)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair()
    with left, right:
        yield left, right


def feed(data: bytes, limit: int | None = None) -> asyncio.StreamReader:
    """A stream that holds `data` and then ends."""
    reader = asyncio.StreamReader() if limit is None else asyncio.StreamReader(limit=limit)
    reader.feed_data(data)
    reader.feed_eof()
    return reader


def read_all(data: bytes, stream_limit: int | None = None, limit: int = frames.MAX_MESSAGE) -> list[Any]:
    async def read() -> list[Any]:
        reader = feed(data, stream_limit)
        found = []
        try:
            while True:
                found.append(await frames.read_frame(reader, limit=limit))
        except frames.EndOfStream:
            return found

    return asyncio.run(read())


# --- frames as data


@given(JSON)
def test_value_survives_framing(value: Any) -> None:
    frame = frames.encode(value)
    assert frame.count(frames.ETX) == 1 and frame.endswith(frames.ETX)
    assert frames.decode(frame[:-1]) == value


@given(st.lists(JSON, max_size=5), st.data())
def test_frames_are_found_wherever_the_stream_is_cut(values: list[Any], data: st.DataObject) -> None:
    stream = b"".join(map(frames.encode, values))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    buffer, found = frames.FrameBuffer(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        buffer.feed(stream[start:end])
        while (frame := buffer.next_frame()) is not None:
            found.append(frames.decode(frame))
    assert found == values
    assert not buffer


@given(st.integers(0, 40), st.integers(0, 40))
def test_frame_is_refused_exactly_beyond_the_limit(size: int, limit: int) -> None:
    buffer = frames.FrameBuffer(limit)
    buffer.feed(b"x" * size + frames.ETX)
    if size > limit:
        with pytest.raises(errors.ProtocolError, match=f"{limit} bytes"):
            buffer.next_frame()
    else:
        assert buffer.next_frame() == b"x" * size


def test_endless_frame_is_refused_before_its_end() -> None:
    buffer = frames.FrameBuffer(10)
    buffer.feed(b"x" * 11)
    with pytest.raises(errors.ProtocolError):
        buffer.next_frame()


@pytest.mark.parametrize("garbage", [b"", b"{", b"nonsense", b"\xff\xfe", b'"open', b"[1] [2]", b"[" * 100_000])
def test_garbage_is_a_protocol_error(garbage: bytes) -> None:
    with pytest.raises(errors.ProtocolError, match="not valid JSON"):
        frames.decode(garbage)


# --- requests and responses


def test_request_is_parsed_and_other_keys_are_ignored() -> None:
    assert frames.parse_request({**frames.request("Query", ["node", []]), "version": 3}) == ("Query", ["node", []])


@pytest.mark.parametrize("value", [None, [], {}, {"method": 1, "args": []}, {"method": "x"}, {"method": "x", "args": {}}])
def test_malformed_request_is_a_protocol_error(value: Any) -> None:
    with pytest.raises(errors.ProtocolError):
        frames.parse_request(value)


def test_error_travels_in_a_response() -> None:
    response = frames.failure(errors.PrereqError("no such node", errors.Code.NOENT))
    with pytest.raises(errors.PrereqError, match="no such node") as caught:
        frames.parse_response(frames.decode(frames.encode(response)[:-1]))
    assert caught.value.code == errors.Code.NOENT


def test_exact_error_keeps_its_class() -> None:
    with pytest.raises(errors.Conflict):
        frames.parse_response(frames.failure(errors.Conflict("changed"), exact=True))


@pytest.mark.parametrize("value", [None, [], {}, {"success": 1, "result": 2}, {"success": True}])
def test_malformed_response_is_a_protocol_error(value: Any) -> None:
    with pytest.raises(errors.ProtocolError):
        frames.parse_response(value)


# --- blocking


def test_values_go_both_ways(pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = map(frames.FrameSocket, pair)
    left.send([1])
    left.send({"a": "\x03ü"})
    assert right.receive(1) == [1]
    assert right.receive(1) == {"a": "\x03ü"}
    right.send(None)
    assert left.receive(1) is None


def test_long_value_passes_while_the_peer_reads(pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = map(frames.FrameSocket, pair)
    value = "x" * 3_000_000
    sender = threading.Thread(target=left.send, args=(value, 10))
    sender.start()
    assert right.receive(10) == value
    sender.join()


def test_silent_peer_is_a_timeout(pair: tuple[socket.socket, socket.socket]) -> None:
    with pytest.raises(errors.Timeout, match="the daemon did not answer within 0.02 seconds"):
        frames.FrameSocket(pair[0], peer="the daemon").receive(0.02)


def test_peer_that_trickles_is_a_timeout(pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = pair
    ended = threading.Event()

    def trickle() -> None:
        while not ended.wait(0.005):
            right.send(b" ")

    thread = threading.Thread(target=trickle)
    thread.start()
    with pytest.raises(errors.Timeout):
        frames.FrameSocket(left).receive(0.05)
    ended.set()
    thread.join()


def test_peer_that_does_not_read_is_a_timeout(pair: tuple[socket.socket, socket.socket]) -> None:
    with pytest.raises(errors.Timeout, match="did not take"):
        frames.FrameSocket(pair[0]).send("x" * 10_000_000, 0.02)


def test_hanging_up_between_frames_is_the_end(pair: tuple[socket.socket, socket.socket]) -> None:
    frames.FrameSocket(pair[1]).send(1)
    pair[1].close()
    end = frames.FrameSocket(pair[0])
    assert end.receive(1) == 1
    with pytest.raises(frames.EndOfStream):
        end.receive(1)


def test_hanging_up_within_a_frame_is_an_error(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[1].send(b'{"half')
    pair[1].close()
    with pytest.raises(errors.Unreachable, match="in the middle") as caught:
        frames.FrameSocket(pair[0]).receive(1)
    assert not isinstance(caught.value, frames.EndOfStream)


def test_sending_to_nobody_is_an_error(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[1].close()
    with pytest.raises(errors.Unreachable, match="broke"):
        frames.FrameSocket(pair[0]).send(1, 1)


def test_too_long_value_is_not_sent(pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = pair
    with pytest.raises(errors.ProtocolError, match="longer than the 10 bytes"):
        frames.FrameSocket(left, limit=10).send("x" * 20)
    right.setblocking(False)
    with pytest.raises(BlockingIOError):
        right.recv(1)


# --- asyncio


@given(st.lists(JSON, max_size=4), st.integers(1, 64))
def test_stream_yields_the_values_whatever_its_own_limit(values: list[Any], stream_limit: int) -> None:
    assert read_all(b"".join(map(frames.encode, values)), stream_limit) == values


def test_stream_refuses_a_frame_beyond_the_limit() -> None:
    assert read_all(b'"' + b"x" * 98 + b'"' + frames.ETX, 16, limit=100) == ["x" * 98]
    with pytest.raises(errors.ProtocolError, match="100 bytes"):
        read_all(b'"' + b"x" * 99 + b'"' + frames.ETX, 16, limit=100)
    with pytest.raises(errors.ProtocolError, match="100 bytes"):
        read_all(b"x" * 1000, 16, limit=100)


def test_stream_that_ends_within_a_frame_is_an_error() -> None:
    for stream_limit in (2, 1000):
        with pytest.raises(errors.Unreachable, match="in the middle"):
            read_all(b"[1, 2", stream_limit)


def test_stream_stands_at_the_next_frame_after_garbage() -> None:
    async def read() -> Any:
        reader = feed(b"garbage\x03[1]\x03")
        with pytest.raises(errors.ProtocolError):
            await frames.read_frame(reader)
        return await frames.read_frame(reader)

    assert asyncio.run(read()) == [1]


def test_written_frame_is_read_at_the_other_end(pair: tuple[socket.socket, socket.socket]) -> None:
    async def write() -> Any:
        _, writer = await asyncio.open_connection(sock=pair[0])
        try:
            await frames.write_frame(writer, {"a": 1})
            value = frames.FrameSocket(pair[1]).receive(1)
            pair[1].close()
            with pytest.raises(errors.Unreachable):
                for _ in range(10):
                    await frames.write_frame(writer, "x")
                    await asyncio.sleep(0)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        return value

    assert asyncio.run(write()) == {"a": 1}
