"""Entry point of all `gnt-*` programs: finds the sub-command, builds its parser, runs it, reports errors.

Only the module of the sub-command that was typed is imported.
"""

from __future__ import annotations

import os
import sys

from ganeti.cli.command import (
    EXIT_FAILURE,
    EXIT_NOT_CLUSTER,
    EXIT_NOT_MASTER,
    EXIT_SUCCESS,
    Environment,
    Verb,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import Any

PROGRAMS = (
    "cluster",
    "debug",
    "group",
    "instance",
    "job",
    "node",
    "os",
)
"""``gnt-<name>`` is the table in ``ganeti.cli.<name>``."""


def main(argv: list[str] | None = None, env: Environment | None = None) -> int:
    """Run one command line; returns the exit status."""
    words = list(sys.argv if argv is None else argv)
    program = os.path.basename(words[0])
    try:
        return _main(program, words[1:], env)
    except BrokenPipeError:
        # Whoever read our output has gone, as in `gnt-instance list | head -1`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return EXIT_FAILURE
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted. Jobs that were submitted go on: see gnt-job list.\n")
        return EXIT_FAILURE


def _main(program: str, words: list[str], env: Environment | None) -> int:
    verbs, aliases = load_table(program)
    if verbs is None:
        sys.stderr.write(
            f"There is no program {program}; known: {', '.join('gnt-' + name for name in PROGRAMS)}\n"
        )
        return EXIT_FAILURE
    if not words or words[0] in ("-h", "--help", "help"):
        (sys.stdout if words else sys.stderr).write(describe(program, verbs, aliases))
        return EXIT_SUCCESS if words else EXIT_FAILURE
    if words[0] in ("-V", "--version"):
        from ganeti import __version__

        sys.stdout.write(f"{program} (ganeti) {__version__}\n")
        return EXIT_SUCCESS
    name = aliases.get(words[0], words[0])
    if name not in verbs:
        sys.stderr.write(_unknown_verb(program, words[0], verbs))
        return EXIT_FAILURE
    env = env or Environment(program, name)
    env.program, env.verb = program, name
    command = verbs[name].load()
    parser = build_parser(program, name, verbs[name], command)
    try:
        args = parser.parse_args(_default_options(env, program, name) + words[1:])
    except SystemExit as done:
        # argparse says 2 for wrong usage; this command line has always said 1.
        return EXIT_FAILURE if done.code else EXIT_SUCCESS
    return run(command, env, args)


def load_table(program: str) -> tuple[dict[str, Verb] | None, dict[str, str]]:
    """The sub-commands of a program and the other names some of them have."""
    name = program.removeprefix("gnt-")
    if name not in PROGRAMS:
        return None, {}
    import importlib

    try:
        module = importlib.import_module(f"ganeti.cli.{name}")
    except ModuleNotFoundError as err:
        if err.name != f"ganeti.cli.{name}":
            raise
        return None, {}
    return module.VERBS, getattr(module, "ALIASES", {})


def build_parser(program: str, name: str, verb: Verb, command: Any) -> ArgumentParser:
    """The parser of one sub-command, with the options that all of them have."""
    from argparse import ArgumentParser

    parser = ArgumentParser(prog=f"{program} {name}", description=verb.help + ".", allow_abbrev=False)
    parser.add_argument(
        "-d", "--debug", action="count", default=0, help="Show tracebacks; more often: more details"
    )
    parser.add_argument("--reason", metavar="TEXT", help="Why; recorded in the job")
    command.configure(parser)
    return parser


def run(command: Any, env: Environment, args: Namespace) -> int:
    """Run a parsed command; errors of our tree become one line and an exit status."""
    from ganeti.base.errors import GanetiError

    try:
        return int(command.run(env, args) or 0)
    except GanetiError as err:
        if args.debug:
            raise
        env.tell(f"Failure: {failure_text(err)}")
        return exit_status(err)
    except PermissionError as err:
        if args.debug:
            raise
        env.tell(f"Failure: no permission for {err.filename or 'this'} ({err.strerror}); run the command as root")
        return EXIT_FAILURE


def failure_text(err: Any) -> str:
    """The text of an error for a person."""
    from ganeti.base.errors import PrereqError

    text = err.message or type(err).__name__
    if isinstance(err, PrereqError):
        return f"prerequisites not met for this operation:\nerror type: {err.code}, error details:\n{text}"
    return str(text)


def exit_status(err: Any) -> int:
    """The exit status that an error stands for."""
    from ganeti.base.errors import NoCluster, NotMaster

    if isinstance(err, NoCluster):
        return EXIT_NOT_CLUSTER
    return EXIT_NOT_MASTER if isinstance(err, NotMaster) else EXIT_FAILURE


def describe(program: str, verbs: dict[str, Verb], aliases: dict[str, str]) -> str:
    """The list of sub-commands."""
    width = max(map(len, verbs))
    lines = [
        f"Usage: {program} <command> [options] [arguments]",
        f"       {program} <command> --help",
        "",
        "Commands:",
    ]
    for name in sorted(verbs):
        also = [alias for alias, target in sorted(aliases.items()) if target == name]
        note = f" (also: {', '.join(also)})" if also else ""
        lines.append(f"  {name:<{width}}  {verbs[name].help}{note}")
    return "\n".join(lines) + "\n"


def _unknown_verb(program: str, typed: str, verbs: dict[str, Verb]) -> str:
    import difflib

    near = difflib.get_close_matches(typed, verbs, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"{program} has no command '{typed}'{hint} (see {program} --help)\n"


def _default_options(env: Environment, program: str, name: str) -> list[str]:
    """Options from the environment, such as ``GNT_INSTANCE_LIST="-o name,status"``; offered for the list commands."""
    if not name.startswith("list"):
        return []
    value = env.environ.get(f"{program}_{name}".upper().replace("-", "_"))
    if not value:
        return []
    import shlex

    return shlex.split(value)
