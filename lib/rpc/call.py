"""Declared calls: a typed method, marked once, is all that caller and callee need.

    class NodeApi:
        @rpc(timeout=URGENT)
        def version(self) -> VersionReply: ...

The caller passes the method itself (`nodes.call(node, NodeApi.version)`); the callee subclasses the declaring class and
implements every method. Arguments travel as a JSON array, the result as a JSON value; both are checked against the
annotations at the receiving end. The same mechanism serves node calls, the job socket and LUXI.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from ganeti.base import codec
from ganeti.base.errors import DecodeError, NodeError
from ganeti.model.ids import NodeUuid

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])

URGENT = 60.0
FAST = 300.0
NORMAL = 900.0
SLOW = 3600.0
HOURS_4 = 4 * 3600.0
"""Time limits of calls, in seconds."""


@dataclass(frozen=True)
class Call:
    """What is known of a declared call: its name on the wire, its time limit, and how its data look."""

    function: Callable[..., Any]
    name: str
    timeout: float
    offline: bool
    """Whether the call is tried even when the node is marked offline."""

    @cached_property
    def _parameters(self) -> inspect.Signature:
        return inspect.signature(self.function)

    @cached_property
    def _signature(self) -> tuple[list[tuple[str, Any, bool]], Any]:
        hints = typing.get_type_hints(self.function)
        parameters = list(self._parameters.parameters.values())[1:]
        required = [(p.name, hints[p.name], p.default is inspect.Parameter.empty) for p in parameters]
        return required, hints.get("return", type(None))

    def encode_arguments(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
        """The wire form of the arguments: all of them, in order, defaults filled in."""
        bound = self._parameters.bind(None, *args, **kwargs)
        bound.apply_defaults()
        return [codec.encode(value) for value in list(bound.arguments.values())[1:]]

    def decode_arguments(self, values: Any) -> list[Any]:
        """The arguments from their wire form; trailing ones with defaults may be missing."""
        parameters, _ = self._signature
        if not isinstance(values, list) or len(values) > len(parameters):
            raise DecodeError(self.name, f"expected a list of at most {len(parameters)} arguments")
        missing = [name for name, _, required in parameters[len(values) :] if required]
        if missing:
            raise DecodeError(self.name, f"missing arguments: {', '.join(missing)}")
        pairs = zip(parameters, values, strict=False)
        return [codec.decode(hint, value, name) for (name, hint, _), value in pairs]

    def decode_result(self, value: Any) -> Any:
        return codec.decode(self._signature[1], value, f"result of {self.name}")


def rpc(*, timeout: float, name: str | None = None, offline: bool = False) -> Callable[[F], F]:
    """Declare a method to be callable from another process."""

    def mark(function: F) -> F:
        function.__rpc__ = Call(function, name or function.__name__, timeout, offline)  # type: ignore[attr-defined]  # a mark on a function object
        return function

    return mark


def call_of(method: Callable[..., Any]) -> Call:
    """The declaration of a method; `TypeError` if it has none."""
    found = getattr(method, "__rpc__", None)
    if not isinstance(found, Call):
        raise TypeError(f"{getattr(method, '__qualname__', method)!r} is not declared with @rpc")
    return found


def declared(api: type) -> dict[str, Callable[..., Any]]:
    """All methods declared in a class, by their wire names."""
    found = {}
    for base in reversed(api.__mro__):
        for attribute in vars(base).values():
            mark = getattr(attribute, "__rpc__", None)
            if isinstance(mark, Call):
                found[mark.name] = attribute
    return found


def implementation(api: type, target: object) -> dict[str, tuple[Call, Callable[..., Any]]]:
    """Wire name -> (declaration, bound method) of `target`, which must implement every method `api` declares."""
    table = {}
    for name, declared_method in declared(api).items():
        bound = getattr(target, declared_method.__name__, None)
        if bound is None or getattr(bound, "__func__", bound) is declared_method:
            raise TypeError(f"{type(target).__name__} does not implement {api.__name__}.{declared_method.__name__}")
        table[name] = (call_of(declared_method), bound)
    return table


class NodeCaller(Protocol):
    """How operations call nodes. Implemented over HTTPS, and in memory for tests."""

    def call(self, node: NodeUuid, method: Callable[Concatenate[Any, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call one node; raises `NodeError` (`NodeOffline` without trying if the node is marked offline)."""
        ...

    def call_all(
        self, nodes: Iterable[NodeUuid], method: Callable[Concatenate[Any, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> dict[NodeUuid, R | NodeError]:
        """Call several nodes at once with the same arguments. A node that fails is a value, not an exception."""
        ...
