"""Checking the parameters that people give for an instance. Pure, but for asking nodes whether they can work there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ganeti.base.errors import Code, NodeError, PrereqError
from ganeti.model import parameters, params
from ganeti.model.enums import HypervisorKind
from ganeti.model.ids import NodeUuid
from ganeti.model.objects import Cluster, Params
from ganeti.ops.context import Context
from ganeti.rpc.node.blockdev import OsApi
from ganeti.rpc.node.instance import InstanceApi

UNSUPPORTED_OS_PARAMS = {"os-image": "writing an image to the disk is not supported yet; use an OS definition"}


def hypervisor_overrides(kind: HypervisorKind, values: Mapping[str, Any]) -> Params:
    """Overrides of hypervisor parameters, converted to their types; "default" leaves none."""
    wrong = sorted(set(values) & parameters.HYPERVISOR_GLOBALS)
    if wrong:
        raise PrereqError(
            f"hypervisor parameters {', '.join(wrong)} hold for the whole cluster and cannot be set for an instance", Code.INVAL
        )
    return params.update({}, params.coerce(parameters.HYPERVISOR[kind], values, f"hypervisor {kind}", allow_default=True))


def backend_overrides(values: Mapping[str, Any]) -> Params:
    """Overrides of back-end parameters, converted; ``memory`` stands for both ``minmem`` and ``maxmem``."""
    spelled = dict(values)
    if "memory" in spelled:
        memory = spelled.pop("memory")
        if "minmem" in spelled or "maxmem" in spelled:
            raise PrereqError("back-end parameter memory sets both minmem and maxmem; give either it or them", Code.INVAL)
        spelled.update(minmem=memory, maxmem=memory)
    return params.update({}, params.coerce(parameters.BACKEND, spelled, "back-end", allow_default=True))


def fill_backend(cluster: Cluster, overrides: Params) -> Params:
    """The complete back-end parameters; `PrereqError` if no guest can have them."""
    filled = params.fill(cluster.beparams.get("default", {}), overrides)
    check_backend(filled)
    return filled


def check_backend(filled: Params) -> None:
    """`PrereqError` for complete back-end parameters that no guest can have."""
    for name in ("minmem", "maxmem", "vcpus", "spindle_use"):
        if filled[name] < (0 if name == "spindle_use" else 1):
            raise PrereqError(f"back-end parameter {name} must be at least 1, not {filled[name]}", Code.INVAL)
    if filled["minmem"] > filled["maxmem"]:
        raise PrereqError(
            f"minmem ({filled['minmem']} MiB) must not be larger than maxmem ({filled['maxmem']} MiB)", Code.INVAL
        )


def os_overrides(values: Mapping[str, Any] | None) -> Params:
    """Parameters of an OS; which ones there are only its definition knows."""
    for name in values or {}:
        if name in UNSUPPORTED_OS_PARAMS:
            raise PrereqError(f"OS parameter {name}: {UNSUPPORTED_OS_PARAMS[name]}", Code.INVAL)
    return dict(values or {})


def check_hypervisor_on(ctx: Context, nodes: list[NodeUuid], kind: HypervisorKind, filled: Params) -> None:
    """`PrereqError` unless the hypervisor parameters can work on all these nodes."""
    answers = ctx.nodes.call_all(nodes, InstanceApi.hypervisor_validate, str(kind), filled)
    _require(ctx, answers, f"hypervisor {kind} cannot use these parameters")


def check_os_on(
    ctx: Context, nodes: list[NodeUuid], name: str, osparams: dict[str, str], *, force_variant: bool
) -> None:
    """`PrereqError` unless the OS is on all these nodes, with its variant, and takes the parameters."""
    answers = ctx.nodes.call_all(nodes, OsApi.os_validate, name, osparams, force_variant)
    _require(ctx, answers, f"OS {name} cannot be used")


def _require(ctx: Context, answers: Mapping[NodeUuid, str | NodeError], what: str) -> None:
    for node, answer in answers.items():
        if isinstance(answer, NodeError):
            raise PrereqError(str(answer), Code.ENVIRON)
        if answer:
            raise PrereqError(f"{what} on node {ctx.config.node(node).name}: {answer}", Code.INVAL)
