"""`gnt-instance add`: where its options differ from the opcode's parameters."""

from __future__ import annotations

from argparse import SUPPRESS, ArgumentParser, Namespace
from collections.abc import Mapping
from typing import Any

from ganeti.base.errors import Code, PrereqError
from ganeti.cli.command import Environment
from ganeti.cli.opcommand import OpCommand
from ganeti.cli.options import READERS

Devices = list[dict[str, Any]]


def devices(collected: Mapping[str, Any], option: str) -> Devices:
    """The devices of ``--disk N:...`` or ``--net N:...`` in order; their numbers must be 0, 1, 2 and so on. Pure."""
    numbered: dict[int, dict[str, Any]] = {}
    for ident, values in collected.items():
        if not ident.isdigit():
            raise PrereqError(
                f"{option} {ident}: wants a number before the colon, as in {option} 0:name=value", Code.INVAL
            )
        if not isinstance(values, Mapping):
            raise PrereqError(
                f"{option} {ident}: a new instance has no device that could be removed", Code.INVAL
            )
        numbered[int(ident)] = dict(values)
    if sorted(numbered) != list(range(len(numbered))):
        raise PrereqError(f"{option}: numbers must be 0 to {len(numbered) - 1}, each once", Code.INVAL)
    return [numbered[index] for index in range(len(numbered))]


def disks_of(args: Namespace, given: Mapping[str, Any]) -> Devices:
    """The disks asked for: by ``--disk``, or one by ``-s``; none for diskless instances."""
    size = getattr(args, "sd_size", None)
    if size is not None and given:
        raise PrereqError(
            "-s and --disk cannot be used together: give the size with --disk 0:size=...", Code.INVAL
        )
    found = [{"size": size}] if size is not None else devices(given, "--disk")
    if getattr(args, "disk_template", None) == "diskless":
        if found:
            raise PrereqError("a diskless instance has no disks: leave -s and --disk out", Code.INVAL)
        return []
    if not found and not getattr(args, "commit", False):
        raise PrereqError("no disk given: use -s SIZE or --disk 0:size=SIZE (or -t diskless)", Code.INVAL)
    return found


def nics_of(args: Namespace, given: Mapping[str, Any]) -> Devices:
    """The network interfaces asked for; one with the cluster's defaults if nothing is said."""
    if args.no_nics and given:
        raise PrereqError("--no-nics and --net cannot be used together", Code.INVAL)
    return [] if args.no_nics else devices(given, "--net") or [{}]


def adjust(_env: Environment, args: Namespace, values: dict[str, Any]) -> dict[str, Any]:
    """The opcode's parameters from what the options gave."""
    result = {**values, "mode": "create"}
    result["disks"] = disks_of(args, values.get("disks") or {})
    result["nics"] = nics_of(args, values.get("nics") or {})
    if args.node:
        primary, _, secondary = args.node.partition(":")
        result["pnode"] = primary
        if secondary:
            result["snode"] = secondary
    if "hvparams" in values:
        result["hypervisor"], result["hvparams"] = hypervisor_of(values["hvparams"])
    return result


def hypervisor_of(given: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The one hypervisor that ``-H`` names, with its parameters."""
    if len(given) != 1:
        raise PrereqError(f"-H: an instance has one hypervisor, not {' and '.join(given)}", Code.INVAL)
    name, params = next(iter(given.items()))
    if not isinstance(params, Mapping):
        raise PrereqError(f"-H {name}: a new instance has no parameters that could be removed", Code.INVAL)
    return name, dict(params)


def _extra(parser: ArgumentParser) -> None:
    parser.add_argument(
        "-n", "--node", metavar="PRIMARY[:SECONDARY]", help="Nodes of the instance (default: chosen)"
    )
    parser.add_argument(
        "-s", "--os-size", dest="sd_size", type=READERS["unit"], metavar="SIZE", help="Size of its only disk"
    )
    parser.add_argument("--no-nics", action="store_true", help="No network interface")
    # Checks that are off unless asked for; old scripts still switch them off.
    for word in ("name", "ip"):
        parser.add_argument(
            f"--no-{word}-check",
            dest=f"{word}_check",
            action="store_false",
            default=SUPPRESS,
            help=f"Undo --{word}-check",
        )


ADD = OpCommand("OP_INSTANCE_CREATE", "instance_name", adjust=adjust, extra=_extra)
