"""What a failed transfer means to an operator: cause and remedy. No I/O."""

from __future__ import annotations

from dataclasses import dataclass

import pycurl

from ganeti.rpc.call import Call
from ganeti.rpc.nodes import NodeTarget


@dataclass(frozen=True)
class Outcome:
    """How a transfer ended: with an answer (`code` 0), or with one of libcurl's codes and its text."""

    code: int
    text: str
    status: int = 0
    body: bytes = b""
    was_sent: bool = False
    """Whether the request was sent, so that the node may have begun to do what it was asked."""
    was_fresh: bool = False
    """Whether a new connection was made for it."""


_BROKEN = (
    pycurl.E_RECV_ERROR,
    pycurl.E_SEND_ERROR,
    pycurl.E_SEND_FAIL_REWIND,
    pycurl.E_GOT_NOTHING,
    pycurl.E_PARTIAL_FILE,
    pycurl.E_SSL_CONNECT_ERROR,
)
_OWN_FILES = (pycurl.E_SSL_CERTPROBLEM, pycurl.E_SSL_CACERT_BADFILE)


def explain(target: NodeTarget, port: int, call: Call, outcome: Outcome, connect_timeout: float) -> str:
    """Why there is no answer, and what to do."""
    where = f"{target.ip} port {port}"
    down = f"if the host is known to be down, 'gnt-node modify --offline yes {target.name}' lets others do without it"
    text = outcome.text
    if outcome.code == pycurl.E_OPERATION_TIMEDOUT and not outcome.was_sent:
        return f"does not react at {where} within {min(connect_timeout, call.timeout):g} seconds; {down}"
    if outcome.code == pycurl.E_OPERATION_TIMEDOUT:
        return f"did not finish {call.name} within {call.timeout:g} seconds; it may still be at it, see its log node-daemon.log"
    if outcome.code == pycurl.E_COULDNT_CONNECT:
        return f"cannot be reached at {where} ({text}); start ganeti-noded on it; {down}"
    if outcome.code in _BROKEN and "alert" in text:
        return f"refuses the certificate of this node ({text}); is it a node of this cluster, and is this its master?"
    if outcome.code in _BROKEN:
        text = f"broke the connection during {call.name} ({text}); whether it was carried out is not known"
        doubt = "; or it refuses the certificate of this node: is this its master?" if outcome.was_fresh else ""
        return text + doubt
    if outcome.code == pycurl.E_PEER_FAILED_VERIFICATION:
        text = f"what answers at {where} could not prove to be this node of this cluster ({text})"
        return f"{text}; check its address, or give it a new certificate with 'gnt-node add --readd {target.name}'"
    if outcome.code in _OWN_FILES:
        return f"could not be asked, because the certificates of the calling node cannot be used ({text})"
    return f"{call.name} failed on the way ({text})"


def explain_status(call: Call, outcome: Outcome) -> str:
    """What an HTTP status other than 200 says."""
    detail = outcome.body[:200].decode(errors="replace").strip()
    tail = f": {detail}" if detail else ""
    if outcome.status in (401, 403):
        return f"refuses to be commanded by this node{tail}; is this the master, and does the node's ssconf list its certificate?"
    if outcome.status == 404:
        return f"does not know the call {call.name}; does it run the same version of the software?"
    return f"answered {call.name} with HTTP status {outcome.status}{tail}"
