"""The event loop for transfers and the pool of loops, against a plain HTTP server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pycurl
import pytest

from ganeti.rpc.transfer_loop import LoopPool, Transfer, TransferLoop

Get = Callable[[str], Transfer]
"""Makes the transfer that gets a path."""


class Handler(BaseHTTPRequestHandler):
    """Answers with the path."""

    protocol_version = "HTTP/1.1"
    together = 0
    most = 0
    lock = threading.Lock()

    def do_GET(self) -> None:
        with self.lock:
            Handler.together += 1
            Handler.most = max(Handler.most, Handler.together)
        threading.Event().wait(0.01)
        with self.lock:
            Handler.together -= 1
        body = self.path.encode()
        self.send_response(200 if self.path != "/missing" else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def get() -> Iterator[Get]:
    Handler.most = 0
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        address = f"http://127.0.0.1:{server.server_address[1]}"

        yield lambda path: (address, lambda curl: curl.setopt(pycurl.URL, address + path))
        server.shutdown()
        thread.join()


@pytest.fixture
def loop() -> Iterator[TransferLoop]:
    loop = TransferLoop(parallel=3)
    yield loop
    loop.close()


def test_outcomes_come_in_the_order_of_the_transfers(
    loop: TransferLoop, get: Get
) -> None:
    outcomes = loop.run([get(f"/{number}") for number in range(10)])
    assert [outcome.body for outcome in outcomes] == [f"/{number}".encode() for number in range(10)]
    assert {(outcome.code, outcome.status, outcome.was_sent) for outcome in outcomes} == {(0, 200, True)}


def test_no_more_than_the_limit_run_together(loop: TransferLoop, get: Get) -> None:
    loop.run([get("/") for _ in range(12)])
    assert Handler.most == 3


def test_failures_stand_among_the_others(loop: TransferLoop, get: Get) -> None:
    def nowhere(curl: pycurl.Curl) -> None:
        curl.setopt(pycurl.URL, "http://127.0.0.1:1/")

    good, missing, refused = loop.run([get("/good"), get("/missing"), ("nowhere", nowhere)])
    assert (good.code, good.status) == (0, 200)
    assert (missing.code, missing.status) == (0, 404)
    assert refused.code == pycurl.E_COULDNT_CONNECT and "127.0.0.1" in refused.text and not refused.was_sent


def test_nothing_to_do_is_done_at_once(loop: TransferLoop) -> None:
    assert loop.run([]) == []


def test_exception_leaves_no_transfer_behind(loop: TransferLoop, get: Get) -> None:
    def refuse(curl: pycurl.Curl) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.run([get("/1"), ("x", refuse)])
    assert loop.run([get("/2")])[0].body == b"/2"


def test_connection_is_used_again(loop: TransferLoop, get: Get) -> None:
    assert [loop.run([get("/")])[0].was_fresh for _ in range(3)] == [True, False, False]


def test_pool_lends_the_loop_that_came_back_last() -> None:
    pool = LoopPool()
    with pool.borrow() as first, pool.borrow() as second:
        assert first is not second
    with pool.borrow() as third:
        assert third is first
    pool.close()


def test_pool_does_not_lend_a_loop_that_was_interrupted() -> None:
    pool = LoopPool()
    with pytest.raises(KeyboardInterrupt), pool.borrow() as first:
        raise KeyboardInterrupt
    with pool.borrow() as second:
        assert second is not first
    pool.close()
