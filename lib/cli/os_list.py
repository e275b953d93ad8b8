"""`gnt-os list`: operating systems that are valid on all nodes."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from ganeti.base import text
from ganeti.cli import submit
from ganeti.cli.command import EXIT_SUCCESS, Environment

FIELDS = ["name", "variants", "valid", "hidden", "blacklisted"]


class List:
    """Names, each with its variants."""

    def configure(self, parser: ArgumentParser) -> None:
        """How to print."""
        parser.add_argument("--no-headers", action="store_true", help="Leave out the line of titles")

    def run(self, env: Environment, args: Namespace) -> int:
        """The nodes have to be asked, so this is a job."""
        results = submit.run_job(
            env, args, [{"OP_ID": "OP_OS_DIAGNOSE", "output_fields": FIELDS, "names": []}]
        )
        rows = [[name] for name in installable(results[0] if results else [])]
        for line in text.format_table(rows, None if args.no_headers else ["Name"]):
            env.say(line)
        return EXIT_SUCCESS


def installable(rows: list[list[object]]) -> list[str]:
    """Names, with variants where there are some, of the definitions that may be used."""
    names: list[str] = []
    for name, variants, valid, hidden, blacklisted in rows:
        if valid and not hidden and not blacklisted:
            words = variants if isinstance(variants, list) else []
            names.extend(f"{name}+{variant}" for variant in words) if words else names.append(str(name))
    return sorted(names, key=text.natural_key)


LIST = List()
