"""`gnt-job list`."""

from __future__ import annotations

from ganeti.cli.listing import ListCommand, ListFieldsCommand

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import Any

_STATES = {
    "pending": ("queued", "waiting", "canceling"),
    "running": ("running",),
    "error": ("error",),
    "finished": ("success", "error", "canceled"),
}


class JobList(ListCommand):
    """Jobs, by id; archived ones only when asked for."""

    def configure(self, parser: ArgumentParser) -> None:
        """Shorthands for the states of jobs."""
        super().configure(parser)
        for name, states in _STATES.items():
            parser.add_argument(
                f"--{name}", action="store_true", help=f"Only jobs that are {', '.join(states)}"
            )
        parser.add_argument("--archived", action="store_true", help="Archived jobs too")

    def filter(self, args: Namespace) -> Any:
        """Ids, states, and whether archived jobs are wanted."""
        states = [state for name, some in _STATES.items() if getattr(args, name) for state in some]
        clauses: list[Any] = []
        if args.names:
            clauses.append(
                ["|", *(["==", "id", int(name) if name.isdigit() else name] for name in args.names)]
            )
        if states:
            clauses.append(["|", *(["==", "status", state] for state in dict.fromkeys(states))])
        if not args.archived and not args.names:
            clauses.append(["!", ["?", "archived"]])
        if len(clauses) > 1:
            return ["&", *clauses]
        return clauses[0] if clauses else None


LIST = JobList("job", "JOB")
LIST_FIELDS = ListFieldsCommand("job")
