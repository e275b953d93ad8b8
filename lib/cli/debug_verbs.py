"""Sub-commands of `gnt-debug` that submit jobs."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from ganeti.base.errors import Code, PrereqError
from ganeti.cli.command import Environment
from ganeti.cli.opcommand import OpCommand


def _no_locks(parser: ArgumentParser) -> None:
    parser.add_argument(
        "-l", "--no-locks", dest="take_locks", action="store_true", help="Hold the nodes' locks meanwhile"
    )


def _delay(_env: Environment, args: Namespace, values: dict[str, Any]) -> dict[str, Any]:
    try:
        values["duration"] = float(values["duration"])
    except ValueError:
        raise PrereqError(f"'{values['duration']}' is not a number of seconds", Code.INVAL) from None
    if args.take_locks:
        values["no_locks"] = False
    return values


DELAY = OpCommand(
    "OP_TEST_DELAY", "duration", metavar="SECONDS", extra=_no_locks, adjust=_delay, skip=("no_locks",)
)
