"""Node calls over HTTPS.

Connections are kept and used again, whichever thread calls; a call to several nodes runs as one event loop in the calling
thread. The URL names the node, not its address, so that the usual check of host names proves that the node which answers is
the one that was meant.
"""

from __future__ import annotations

import io
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

import pycurl

from ganeti.base.errors import GanetiError, NodeError, StaleEpoch
from ganeti.model.ids import NodeUuid
from ganeti.rpc import nodes
from ganeti.rpc.call import Call, call_of
from ganeti.rpc.nodes import NodeTarget
from ganeti.rpc.tls import Credentials
from ganeti.rpc.transfer_errors import Outcome, explain, explain_status
from ganeti.rpc.transfer_loop import LoopPool

P = ParamSpec("P")
R = TypeVar("R")

CONNECT_TIMEOUT = 5.0
"""Seconds until a node that does not react counts as unreachable."""
IDLE_LIMIT = 45
"""Seconds for which an idle connection is used again. Agents must keep theirs longer, or a request could meet its closing."""
DEAD_AFTER = 30
"""Seconds without any sign of life from the other end's TCP, during a call, until the connection counts as broken."""


class HttpsNodeCaller:
    """A `rpc.call.NodeCaller` for real nodes. May be used by several threads, and in children forked later."""

    def __init__(
        self,
        resolve: Callable[[NodeUuid], NodeTarget],
        credentials: Credentials,
        epoch: Callable[[], int],
        port: int = nodes.PORT,
        *,
        connect_timeout: float = CONNECT_TIMEOUT,
    ) -> None:
        self._resolve = resolve
        self._credentials = credentials
        self._epoch = epoch
        self._port = port
        self._connect_timeout = connect_timeout
        self._loops = LoopPool()

    def call(self, node: NodeUuid, method: Callable[Concatenate[Any, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """See `NodeCaller.call`; raises `StaleEpoch` if the node obeys a newer master."""
        call = call_of(method)
        target = self._resolve(node)
        nodes.check_online(target, call)
        (outcome,) = self._transfer([target], call, args, kwargs)
        result: R = self._result(target, call, outcome)
        return result

    def call_all(
        self, nodes: Iterable[NodeUuid], method: Callable[Concatenate[Any, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> dict[NodeUuid, R | NodeError]:
        """See `NodeCaller.call_all`; raises `StaleEpoch` if one of the nodes obeys a newer master."""
        call = call_of(method)
        results: dict[NodeUuid, Any] = dict.fromkeys(nodes)
        targets = self._targets(results, call)
        outcomes = self._transfer(list(targets.values()), call, args, kwargs)
        stale: StaleEpoch | None = None
        for (node, target), outcome in zip(targets.items(), outcomes, strict=True):
            try:
                results[node] = self._result(target, call, outcome)
            except NodeError as err:
                results[node] = err
            except StaleEpoch as err:
                stale = err
        if stale is not None:
            raise stale
        return results

    def close(self) -> None:
        """Close all connections."""
        self._loops.close()

    def _targets(self, results: dict[NodeUuid, Any], call: Call) -> dict[NodeUuid, NodeTarget]:
        """Those to be asked; the others get their error as result."""
        targets = {}
        for node in results:
            try:
                target = self._resolve(node)
                nodes.check_online(target, call)
                targets[node] = target
            except NodeError as err:
                results[node] = err
            except GanetiError as err:
                results[node] = NodeError(node, f"could not be asked: {err}")
        return targets

    def _transfer(
        self, targets: Sequence[NodeTarget], call: Call, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> list[Outcome]:
        body = nodes.encode_call(call, args, kwargs)
        headers = ["Content-Type: application/json", "Expect:", f"{nodes.EPOCH_HEADER}: {self._epoch()}"]

        def preparing(target: NodeTarget) -> Callable[[pycurl.Curl], None]:
            return lambda curl: self._prepare(curl, target, call, headers, body)

        with self._loops.borrow() as loop:
            return loop.run([(f"{target.name} {target.ip}", preparing(target)) for target in targets])

    def _prepare(self, curl: pycurl.Curl, target: NodeTarget, call: Call, headers: list[str], body: bytes) -> None:
        address = f"[{target.ip}]" if ":" in target.ip else target.ip
        curl.setopt(pycurl.URL, f"https://{target.name}:{self._port}/{call.name}")
        curl.setopt(pycurl.CONNECT_TO, [f"{target.name}:{self._port}:{address}:{self._port}"])
        curl.setopt(pycurl.PROXY, "")  # else one might come from the environment
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        curl.setopt(pycurl.HTTPHEADER, headers)
        # From a stream that cannot be rewound, so that libcurl never repeats a request which a kept connection swallowed.
        curl.setopt(pycurl.POST, 1)
        curl.setopt(pycurl.POSTFIELDSIZE_LARGE, len(body))
        curl.setopt(pycurl.READFUNCTION, io.BytesIO(body).read)
        curl.setopt(pycurl.CONNECTTIMEOUT_MS, int(self._connect_timeout * 1000))
        curl.setopt(pycurl.TIMEOUT_MS, int(call.timeout * 1000))
        curl.setopt(pycurl.MAXAGE_CONN, IDLE_LIMIT)
        curl.setopt(pycurl.SOCKOPTFUNCTION, _watch_peer)
        self._credentials.apply(curl)

    def _result(self, target: NodeTarget, call: Call, outcome: Outcome) -> Any:
        if outcome.code:
            raise NodeError(target.name, explain(target, self._port, call, outcome, self._connect_timeout))
        if outcome.status != 200:
            raise NodeError(target.name, explain_status(call, outcome))
        return nodes.decode_answer(target.name, call, outcome.body)


def _watch_peer(descriptor: int, _purpose: int) -> int:
    """Have the kernel notice, during a long call, that the peer's host is gone."""
    with socket.socket(fileno=descriptor) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, DEAD_AFTER // 3)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, DEAD_AFTER // 6)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_AFTER * 1000)
        sock.detach()
    return pycurl.SOCKOPT_OK
