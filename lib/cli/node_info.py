"""`gnt-node info`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from ganeti.cli.command import EXIT_SUCCESS, Environment
from ganeti.cli.output import Pairs, nested, with_default
from ganeti.query.filter import names_filter

FIELDS = (
    "name pip sip master_candidate drained offline master_capable vm_capable powered pinst_list sinst_list "
    "ndparams custom_ndparams"
)


class Info:
    """Facts and parameters of nodes."""

    def configure(self, parser: ArgumentParser) -> None:
        """Names; none means all."""
        parser.add_argument("names", nargs="*", metavar="NODE")

    def run(self, env: Environment, args: Namespace) -> int:
        """Query and print."""
        names = FIELDS.split(" ")
        answer = env.call("Query", "node", names, names_filter("name", args.names))
        nodes = [dict(zip(names, row, strict=True)) for row in answer["data"]]
        env.say("\n".join(nested([describe(node) for node in nodes])))
        return EXIT_SUCCESS


def describe(node: dict[str, Any]) -> Pairs:
    """One node as names and values. Pure."""
    values = {name: cell[1] for name, cell in node.items()}
    result: list[tuple[str, Any]] = [
        ("Node name", values["name"]),
        ("primary ip", values["pip"]),
        ("secondary ip", values["sip"]),
        ("master candidate", values["master_candidate"]),
        ("drained", values["drained"]),
        ("offline", values["offline"]),
    ]
    if values["powered"] is not None:
        result.append(("powered", values["powered"]))
    return [
        *result,
        ("master_capable", values["master_capable"]),
        ("vm_capable", values["vm_capable"]),
        ("primary for instances", values["pinst_list"]),
        ("secondary for instances", values["sinst_list"]),
        ("node parameters", with_default(values["custom_ndparams"], values["ndparams"])),
    ]


INFO = Info()
