"""The command line of the demonstration."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from ganeti.base.errors import GanetiError
from ganeti.tools.demo.steps import STEPS, Demo, finish
from ganeti.tools.devcluster.plan import DEFAULT_NAME

DESCRIPTION = """Build a cluster of three nodes on this one machine and run a guest on it. Each command line is shown before it
runs. The cluster stays afterwards; 'make demo-down' removes it."""


def build_parser() -> argparse.ArgumentParser:
    """The options of the demonstration."""
    names = [name for name, _step in STEPS]
    parser = argparse.ArgumentParser(prog="demo", description=DESCRIPTION)
    parser.add_argument("--until", choices=names, metavar="STEP", help=f"stop after this step: {', '.join(names)}")
    parser.add_argument("--name", default=DEFAULT_NAME, help=f"name of the cluster (default {DEFAULT_NAME})")
    parser.add_argument("--state", metavar="DIR", help="where the files of its machines are")
    return parser


def run_steps(demo: Demo, until: str | None) -> None:
    """Run the steps up to this one (None: all)."""
    for number, (name, step) in enumerate(STEPS, 1):
        start = time.monotonic()
        demo.tell(f"\n--- {number}/{len(STEPS)} {name}: {step.__doc__}")
        step(demo)
        demo.tell(f"({time.monotonic() - start:.1f} s)")
        if name == until:
            return


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demonstration; returns the exit status."""
    options = build_parser().parse_args(argv)
    demo = Demo(options.name, options.state)
    try:
        run_steps(demo, options.until)
        demo.tell(f"\n--- {finish.__doc__}")
        finish(demo)
    except GanetiError as err:
        sys.stdout.flush()
        print(f"\ndemo: {err}", file=sys.stderr)
        if demo.plan is not None:
            logs = demo.made.nodes[0].paths.log
            print(f"demo: the machines are still there; logs are in {logs}; '{demo.way_down}' removes all", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\ndemo: interrupted; '{demo.way_down}' removes what is there", file=sys.stderr)
        return 130
    return 0
