"""`gnt-instance console`: connect this terminal to a guest."""

from __future__ import annotations

import os
import shlex
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from typing import Any, NoReturn

from ganeti.base import ssh
from ganeti.base.errors import Code, ExecError, PrereqError
from ganeti.base.paths import Paths
from ganeti.cli.command import EXIT_SUCCESS, Environment
from ganeti.query.field import Status

_WHY = {
    Status.NO_DATA: "its node does not answer",
    Status.UNAVAILABLE: "it does not run",
    Status.OFFLINE: "its node is marked offline",
}


class Console:
    """Serial consoles are reached through SSH to the instance's node; graphical ones are explained."""

    def configure(self, parser: ArgumentParser) -> None:
        """One instance."""
        parser.add_argument(
            "--show-cmd",
            dest="show_command",
            action="store_true",
            help="Show the command instead of running it",
        )
        parser.add_argument("instance_name", metavar="INSTANCE")

    def run(self, env: Environment, args: Namespace) -> int:
        """Find out where the console is, then become the command that connects to it."""
        console = find_console(env, args.instance_name)
        if console["kind"] == "ssh":
            command = build_command(env.paths, console)
            if not args.show_command:
                become(command)
            env.say(shlex.join(command))
        elif console["kind"] in ("vnc", "spice"):
            env.say(describe_graphical(console))
        else:
            env.say(console.get("message", "this hypervisor has no console"))
        return EXIT_SUCCESS


def find_console(env: Environment, name: str) -> dict[str, Any]:
    """How to reach the console of a running instance; `PrereqError` if it has none now."""
    answer = env.call("Query", "instance", ["name", "console"], ["==", "name", name])
    ((_, full), (status, console)), *more = answer["data"]
    if more:
        raise PrereqError(
            f"'{name}' fits several instances: {', '.join(row[0][1] for row in answer['data'])}", Code.INVAL
        )
    if status != Status.NORMAL:
        raise PrereqError(f"instance {full} has no console now: {_WHY[Status(status)]}", Code.STATE)
    found: dict[str, Any] = console
    return found


def build_command(paths: Paths, console: Mapping[str, Any]) -> list[str]:
    """The command that connects: directly on this node, through ssh on another. Pure."""
    inner = list(console["command"])
    if console["host"] == paths.hostname:
        return inner
    # One argument, quoted once: the far side's shell takes it apart again.
    options = [
        "-t",
        "-q",
        "-o",
        f"UserKnownHostsFile={paths.known_hosts}",
        "-o",
        "StrictHostKeyChecking=yes",
        "-o",
        "BatchMode=yes",
    ]
    keys = [word for key in ssh.find_private_keys(paths.ssh_directory) for word in ("-i", key)]
    return [
        "ssh",
        *options,
        *keys,
        "-l",
        console.get("user") or "root",
        console["host"],
        "--",
        shlex.join(inner),
    ]


def describe_graphical(console: Mapping[str, Any]) -> str:
    """How to reach a graphical console."""
    display = f", display {console['display']}" if console.get("display") else ""
    return (
        f"Instance {console['instance']} has its {console['kind'].upper()} console on host {console['host']}, "
        f"port {console['port']}{display}"
    )


def become(command: list[str]) -> NoReturn:
    """Replace this process by the command, which then owns the terminal."""
    try:
        os.execvp(command[0], command)  # noqa: S606  # no shell is wanted, and nothing is left to do after it
    except OSError as err:
        raise ExecError(f"{command[0]} cannot be run: {err.strerror}; is it installed?") from err


CONSOLE = Console()
