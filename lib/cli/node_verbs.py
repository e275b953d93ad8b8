"""Sub-commands of `gnt-node` that submit one opcode."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from ganeti.base.errors import Code, PrereqError
from ganeti.cli.command import Environment
from ganeti.cli.opcommand import OpCommand


def _needs_a_change(_env: Environment, _args: Namespace, values: dict[str, Any]) -> dict[str, Any]:
    asked = set(values) - {"node_name", "force", "auto_promote", "dry_run", "priority"}
    if not asked:
        raise PrereqError("nothing to change: give at least one of the options (see --help)", Code.INVAL)
    return values


def _report_changes(env: Environment, result: Any) -> None:
    """What was changed, and to which value."""
    if result:
        env.say("Modified node")
        for name, value in result:
            env.say(f" - {name:<5} -> {value}")


REMOVE = OpCommand("OP_NODE_REMOVE", "node_name", metavar="NODE", submits=False)
MODIFY = OpCommand(
    "OP_NODE_SET_PARAMS", "node_name", metavar="NODE", adjust=_needs_a_change, report=_report_changes
)
