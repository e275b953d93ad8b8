"""The command line of `devcluster`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from ganeti.base.errors import GanetiError, PrereqError
from ganeti.tools.devcluster import cluster, commands, report
from ganeti.tools.devcluster.plan import DEFAULT_NAME, DEFAULT_NODES, HYPERVISORS, Plan

DESCRIPTION = """Several nodes on this one machine, to develop with and to play with. Each node has processes, network, host
name, ssh and files of its own; guests on the nodes can be reached from this machine. Needs root."""

NODE_COMMANDS: dict[str, tuple[Callable[[Plan, str], str], str]] = {
    "kill-node": (cluster.kill_node, "pull a node's power plug: all its processes end at once"),
    "start-node": (cluster.start_node, "switch a killed node on again, with its disks as they were"),
    "cut-node": (cluster.cut_node, "pull a node's network cable"),
    "heal-node": (cluster.heal_node, "plug the network cable in again"),
    "freeze-node": (cluster.freeze_node, "stop all processes of a node, without ending them"),
    "thaw-node": (cluster.thaw_node, "let a frozen node go on"),
}


def build_parser() -> argparse.ArgumentParser:
    """All commands and options. `--name` and `--state` may stand before the command or after it."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--name", default=argparse.SUPPRESS, help=f"which cluster (default {DEFAULT_NAME})")
    common.add_argument("--state", metavar="DIR", default=argparse.SUPPRESS, help="where its files are")
    parser = argparse.ArgumentParser(prog="devcluster", description=DESCRIPTION, parents=[common])
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="COMMAND")

    up = verbs.add_parser("up", parents=[common], help="make the machines and the cluster on them")
    up.add_argument("--nodes", type=int, default=DEFAULT_NODES, metavar="N", help=f"how many (default {DEFAULT_NODES})")
    up.add_argument("--hypervisor", choices=HYPERVISORS, default=HYPERVISORS[0], help="kvm runs guests, fake pretends to")
    up.add_argument("--bare", action="store_true", help="only the machines, no cluster on them")
    verbs.add_parser("down", parents=[common], help="remove every trace of it")
    verbs.add_parser("status", parents=[common], help="list nodes, daemons and guests")
    verbs.add_parser("env", parents=[common], help="print shell code that brings the cluster's commands into PATH")
    run = verbs.add_parser("exec", parents=[common], help="run a command (default: a shell) on a node")
    run.add_argument("node")
    run.add_argument("argv", nargs=argparse.REMAINDER, metavar="COMMAND")
    for verb, (_function, text) in NODE_COMMANDS.items():
        verbs.add_parser(verb, parents=[common], help=text).add_argument("node")
    return parser


def _up(options: argparse.Namespace) -> int:
    plan = cluster.up(options.name, options.state, options.nodes, options.hypervisor, bare=options.bare, say=_say)
    print(report.build_table(report.gather(plan)))
    return 0


def _down(options: argparse.Namespace) -> int:
    cluster.down(options.name, options.state, _say)
    return 0


def _status(options: argparse.Namespace) -> int:
    plan = cluster.require(options.name, options.state)
    print(f"cluster {plan.name}: {plan.cluster_name} {plan.cluster_address}, network {plan.subnet}, hypervisor {plan.hypervisor}")
    print(report.build_table(report.gather(plan)))
    return 0


def _env(options: argparse.Namespace) -> int:
    sys.stdout.write(commands.build_environment(cluster.require(options.name, options.state)))
    return 0


def _exec(options: argparse.Namespace) -> int:
    argv, environment = cluster.build_exec(cluster.require(options.name, options.state), options.node, options.argv)
    sys.stdout.flush()
    os.execvpe(argv[0], argv, environment)  # noqa: S606  # this process becomes the command: terminal, signals, status


def _node(options: argparse.Namespace) -> int:
    function, _text = NODE_COMMANDS[options.verb]
    if os.geteuid() != 0:
        raise PrereqError("only root can do this to a node; run devcluster as root")
    _say(function(cluster.require(options.name, options.state), options.node))
    return 0


def _say(text: str) -> None:
    print(text, flush=True)


VERBS: dict[str, Callable[[argparse.Namespace], int]] = {
    "up": _up,
    "down": _down,
    "status": _status,
    "env": _env,
    "exec": _exec,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    # Defaults stand here: in the parsers they would hide an option that stands before the command.
    options = build_parser().parse_args(argv, argparse.Namespace(name=DEFAULT_NAME, state=None))
    try:
        return VERBS.get(options.verb, _node)(options)
    except GanetiError as err:
        print(f"devcluster: {err}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        return 1
    except KeyboardInterrupt:
        print("devcluster: interrupted", file=sys.stderr)
        return 130
