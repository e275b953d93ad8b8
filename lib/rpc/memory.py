"""Node calls inside one process, for tests and for immediate mode: the same wire forms and errors, without a network.

Each node is a set of objects that implement calls. Faults can be switched on per node.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Concatenate, ParamSpec, TypeVar

from ganeti.base.errors import ExecError, GanetiError, NodeError, StaleEpoch
from ganeti.model.ids import NodeUuid
from ganeti.rpc import nodes
from ganeti.rpc.call import Call, call_of, declared
from ganeti.rpc.nodes import NodeTarget

P = ParamSpec("P")
R = TypeVar("R")


@dataclass
class Faults:
    """What goes wrong on a node. Call names are those on the wire; ``*`` stands for every call."""

    down: bool = False
    """Nobody answers."""
    offline: bool = False
    """Marked offline."""
    epoch: int = 0
    """The highest master epoch it has seen."""
    delay: float = 0.0
    """Seconds before each answer."""
    fail: dict[str, list[int]] = field(default_factory=dict)
    """Call -> which of them (1: the next) are not carried out but answered with an error."""
    drop: dict[str, list[int]] = field(default_factory=dict)
    """Call -> which of them are carried out although their answer gets lost."""

    def strikes(self, plan: dict[str, list[int]], call: str) -> bool:
        """Whether `plan` hits this call; counts it."""
        hit = False
        for key in (call, "*"):
            if key in plan:
                hit = hit or 1 in plan[key]
                plan[key] = [turn - 1 for turn in plan[key] if turn > 1]
        return hit


class MemoryNode:
    """A node: its objects by declared call. Calls that none of them implements fail as on a node of another version."""

    def __init__(self, name: str, implementations: Sequence[object]) -> None:
        self.name = name
        self.faults = Faults()
        self.calls: list[str] = []
        """Names of the calls that were carried out, oldest first."""
        self._table: dict[str, Callable[..., Any]] = {}
        for target in implementations:
            for wire_name, method in declared(type(target)).items():
                bound = getattr(target, method.__name__)
                if not hasattr(bound, "__rpc__"):  # else it is the declaration itself
                    self._table[wire_name] = bound

    def answer(self, call: Call, body: bytes, epoch: int) -> bytes:
        """Carry out a call, faults included. Raises `NodeError` where no answer would arrive."""
        faults = self.faults
        if faults.down:
            raise NodeError(self.name, "cannot be reached (switched off by the test)")
        if faults.delay:
            time.sleep(faults.delay)
        if epoch < faults.epoch:
            return nodes.refusal(StaleEpoch(f"epoch {epoch} is over, {self.name} has seen {faults.epoch}"))
        faults.epoch = epoch
        if faults.strikes(faults.fail, call.name):
            return nodes.refusal(ExecError(f"{call.name} failed (as the test wanted)"))
        method = self._table.get(call.name)
        if method is None:
            raise NodeError(self.name, f"does not know the call {call.name}; does it run the same version of the software?")
        self.calls.append(call.name)
        answer = nodes.answer(call, method, body)
        if faults.strikes(faults.drop, call.name):
            text = f"broke the connection during {call.name}; whether it was carried out is not known"
            raise NodeError(self.name, text)
        return answer


class MemoryNodeCaller:
    """A `rpc.call.NodeCaller` whose nodes are objects; `node` gives access to their faults.

    `nodes` maps uuids to `MemoryNode`; a uuid that is not there is an error, as for a node that is not in the configuration.
    """

    def __init__(self, nodes: Mapping[NodeUuid, MemoryNode], epoch: Callable[[], int] = lambda: 1) -> None:
        self.nodes = dict(nodes)
        self._epoch = epoch

    def call(self, node: NodeUuid, method: Callable[Concatenate[Any, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """See `NodeCaller.call`."""
        result: R = self._call(node, call_of(method), args, kwargs)
        return result

    def call_all(
        self, nodes: Iterable[NodeUuid], method: Callable[Concatenate[Any, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> dict[NodeUuid, R | NodeError]:
        """See `NodeCaller.call_all`."""
        call = call_of(method)
        wanted = list(dict.fromkeys(nodes))

        def ask(node: NodeUuid) -> Any:
            try:
                return self._call(node, call, args, kwargs)
            except NodeError as err:
                return err
            except StaleEpoch:
                raise
            except GanetiError as err:
                return NodeError(node, f"could not be asked: {err}")

        if len(wanted) < 2:
            return {node: ask(node) for node in wanted}
        with ThreadPoolExecutor(len(wanted)) as pool:
            return dict(zip(wanted, pool.map(ask, wanted), strict=True))

    def _call(self, uuid: NodeUuid, call: Call, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        node = self.nodes.get(uuid)
        if node is None:
            raise NodeError(uuid, "is not in the configuration")
        nodes.check_online(NodeTarget(node.name, "", node.faults.offline), call)
        answer = node.answer(call, nodes.encode_call(call, args, kwargs), self._epoch())
        return nodes.decode_answer(node.name, call, answer)
