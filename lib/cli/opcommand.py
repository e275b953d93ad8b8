"""Sub-commands that submit one opcode (per object): options, arguments and help come from its declaration."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from typing import Any

from ganeti.base.errors import Code, PrereqError
from ganeti.cli import options, submit
from ganeti.cli.command import EXIT_CONFIRMATION, EXIT_SUCCESS, Environment
from ganeti.ops import registry
from ganeti.ops.base import Op

Adjust = Callable[[Environment, Namespace, dict[str, Any]], dict[str, Any]]
"""Turns the values that the options gave into the opcode's parameters, where the two differ."""
Report = Callable[[Environment, Any], None]
"""Prints a result."""


class OpCommand:
    """Submit an opcode for the object named (or, with `many`, one job for each).

    `confirm` is a question with ``{name}`` that -f answers; `report` prints the result; `adjust` bridges differences between
    the command line and the opcode.
    """

    def __init__(
        self,
        op_id: str,
        argument: str | None,
        *,
        many: bool = False,
        metavar: str = "",
        confirm: str | None = None,
        adjust: Adjust | None = None,
        extra: Callable[[ArgumentParser], None] | None = None,
        report: Report | None = None,
        skip: tuple[str, ...] = (),
        submits: bool = True,
    ) -> None:
        self.op_id = op_id
        self.argument = argument
        self.many = many
        self.metavar = metavar
        self.confirm = confirm
        self.adjust = adjust
        self.extra = extra
        self.report = report
        self.skip = skip
        self.submits = submits

    @property
    def op(self) -> type[Op[Any, Any]]:
        """The opcode's class."""
        found = registry.find(self.op_id)
        if found is None:
            raise PrereqError(f"there is no opcode {self.op_id}", Code.INVAL)
        return found

    def configure(self, parser: ArgumentParser) -> None:
        """Options from the opcode, then the argument."""
        options.add_options(parser, self.op, self.skip)
        if self.confirm and "-f" not in parser._option_string_actions:
            parser.add_argument("-f", "--force", action="store_true", help="Do not ask")
        if self.submits:
            submit.add_submit_options(parser)
        if self.extra is not None:
            self.extra(parser)
        if self.argument:
            metavar = self.metavar or self.argument.removesuffix("_name").upper()
            parser.add_argument(self.argument, nargs="+" if self.many else None, metavar=metavar)

    def build(self, env: Environment, args: Namespace, name: str | None) -> dict[str, Any]:
        """The opcode in wire form for one object."""
        values = options.given(args, self.op)
        if self.argument and name is not None:
            values[self.argument] = name
        if self.adjust is not None:
            values = self.adjust(env, args, values)
        return {"OP_ID": self.op_id, **values}

    def run(self, env: Environment, args: Namespace) -> int:
        """Confirm, submit, wait, report."""
        names = self._names(args)
        if self.confirm and not getattr(args, "force", False):
            shown = ", ".join(name for name in names if name)
            if not env.confirm(self.confirm.format(name=shown)):
                return EXIT_CONFIRMATION if env.stdin.isatty() else 1
        if len(names) > 1 or (self.many and getattr(args, "submit_only", False)):
            jobs = [(str(name), [self.build(env, args, name)]) for name in names]
            return submit.run_jobs(env, args, jobs)
        results = submit.run_job(env, args, [self.build(env, args, names[0])])
        if results is not None and self.report is not None:
            self.report(env, results[0])
        return EXIT_SUCCESS

    def _names(self, args: Namespace) -> list[str | None]:
        if not self.argument:
            return [None]
        value = getattr(args, self.argument)
        return list(value) if isinstance(value, list) else [value]
