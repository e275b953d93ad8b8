"""What a sub-command is, and the world it works in. Nothing heavy is imported here: start-up time is a feature."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Mapping
    from typing import Any, Protocol, TextIO

    from ganeti.base.paths import Paths
    from ganeti.rpc.luxi_client import LuxiClient

    class Command(Protocol):
        """A sub-command: its options and what it does."""

        def configure(self, parser: ArgumentParser) -> None:
            """Add options and arguments."""
            ...

        def run(self, env: Environment, args: Namespace) -> int:
            """Do it; returns the exit status. Errors of our tree are printed by the caller."""
            ...


EXIT_SUCCESS = 0
EXIT_FAILURE = 1
EXIT_NOT_CLUSTER = 5
EXIT_NOT_MASTER = 11
EXIT_NODE_SETUP = 12
EXIT_CONFIRMATION = 13
EXIT_UNKNOWN_FIELD = 14


class Verb:
    """An entry of a program's table of sub-commands: a line of help, and where its `Command` is (``module:attribute``)."""

    __slots__ = ("help", "target")

    def __init__(self, help: str, target: str) -> None:
        self.help = help
        self.target = target

    def load(self) -> Command:
        """The command itself; its module is imported now."""
        import importlib

        module, _, attribute = self.target.partition(":")
        command: Command = getattr(importlib.import_module(module), attribute)
        return command


class Environment:
    """Everything a command reads from and writes to."""

    def __init__(
        self,
        program: str = "gnt",
        verb: str = "",
        *,
        paths: Paths | None = None,
        stdin: TextIO | None = None,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.program = program
        self.verb = verb
        self._paths = paths
        self._client: LuxiClient | None = None
        self.stdin = stdin or sys.stdin
        self.stdout = stdout or sys.stdout
        self.stderr = stderr or sys.stderr
        self._environ = environ

    @property
    def environ(self) -> Mapping[str, str]:
        """The environment variables."""
        import os

        return os.environ if self._environ is None else self._environ

    @property
    def paths(self) -> Paths:
        """Where the product's files are."""
        if self._paths is None:
            from ganeti.base.paths import Paths

            self._paths = Paths.from_environment(dict(self.environ))
        return self._paths

    @property
    def client(self) -> LuxiClient:
        """The connection to the master daemon, made on first use."""
        if self._client is None:
            from ganeti.rpc.luxi_client import LuxiClient

            self._client = LuxiClient(self.paths)
        return self._client

    def call(self, method: str, *args: Any) -> Any:
        """Call a LUXI method."""
        return self.client.call(method, *args)

    def say(self, text: str = "") -> None:
        """A line on standard output."""
        self.stdout.write(text + "\n")
        self.stdout.flush()

    def tell(self, text: str) -> None:
        """A line on standard error."""
        self.stderr.write(text + "\n")
        self.stderr.flush()

    @property
    def reason(self) -> list[list[Any]]:
        """The trail that a request of this command starts with: [source, text, nanoseconds]."""
        import time

        return [[f"gnt:client:{self.program}", self.verb, time.time_ns()]]

    def confirm(self, question: str) -> bool:
        """Ask on the terminal; False without one, since nobody could have answered."""
        if not self.stdin.isatty():
            self.tell(
                f"{question} There is no terminal to ask on; use -f (or --yes-do-it where it is offered)."
            )
            return False
        self.stderr.write(f"{question} [y/N] ")
        self.stderr.flush()
        return self.stdin.readline().strip().lower() in ("y", "yes")
