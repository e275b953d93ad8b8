"""Texts of failed transfers: each says what failed, why, and what to do."""

from __future__ import annotations

import pycurl
import pytest

from ganeti.rpc.call import Call
from ganeti.rpc.nodes import NodeTarget
from ganeti.rpc.transfer_errors import Outcome, explain, explain_status

TARGET = NodeTarget("node2", "192.0.2.2")
CALL = Call(lambda: None, "instance_start", 300.0, False)


@pytest.mark.parametrize(
    ("outcome", "parts"),
    [
        (Outcome(pycurl.E_OPERATION_TIMEDOUT, "late"), ["react at 192.0.2.2 port 1811", "5 seconds", "--offline yes node2"]),
        (Outcome(pycurl.E_OPERATION_TIMEDOUT, "late", was_sent=True), ["did not finish instance_start", "300 s", "log"]),
        (Outcome(pycurl.E_COULDNT_CONNECT, "refused"), ["cannot be reached", "(refused)", "start ganeti-noded", "--offline yes"]),
        (Outcome(pycurl.E_RECV_ERROR, "tlsv13 alert unknown ca"), ["refuses the certificate", "unknown ca"]),
        (Outcome(pycurl.E_RECV_ERROR, "unexpected eof", was_fresh=True), ["broke", "not known", "refuses the certificate"]),
        (Outcome(pycurl.E_RECV_ERROR, "reset"), ["broke the connection during instance_start", "not known"]),
        (Outcome(pycurl.E_PEER_FAILED_VERIFICATION, "no match"), ["could not prove", "no match", "--readd node2"]),
        (Outcome(pycurl.E_SSL_CERTPROBLEM, "no file"), ["certificates of the calling node", "no file"]),
        (Outcome(pycurl.E_OUT_OF_MEMORY, "no memory"), ["instance_start failed", "no memory"]),
    ],
)
def test_transfer_that_failed_is_explained(outcome: Outcome, parts: list[str]) -> None:
    text = explain(TARGET, 1811, CALL, outcome, 5.0)
    assert [part for part in parts if part not in text] == []


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        (403, b"not listed", "refuses to be commanded by this node: not listed; is this the master"),
        (404, b"", "does not know the call instance_start"),
        (500, b"\xff" * 1000, "answered instance_start with HTTP status 500: "),
        (503, b"busy", "answered instance_start with HTTP status 503: busy"),
    ],
)
def test_status_is_explained(status: int, body: bytes, text: str) -> None:
    found = explain_status(CALL, Outcome(0, "", status, body))
    assert found.startswith(text)
    assert len(found) < 400
