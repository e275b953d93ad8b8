"""Sub-commands of `gnt-job` that act on jobs or wait for them."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from ganeti.base.errors import Code, PrereqError
from ganeti.cli import submit
from ganeti.cli.command import EXIT_CONFIRMATION, EXIT_FAILURE, EXIT_SUCCESS, Environment
from ganeti.rpc import following

_GROUPS = {"pending": ("queued", "waiting"), "queued": ("queued",), "waiting": ("waiting",)}


def job_id(text: str) -> int:
    """A job's id as people type it."""
    if not text.isdigit():
        raise PrereqError(f"'{text}' is not a job id; ids are whole numbers (see gnt-job list)", Code.INVAL)
    return int(text)


class Cancel:
    """Cancel jobs that wait; with ``--kill`` end running ones."""

    def configure(self, parser: ArgumentParser) -> None:
        """Which jobs, and how hard."""
        parser.add_argument("-f", "--force", action="store_true", help="Do not ask")
        parser.add_argument("--kill", action="store_true", help="End the process of a running job")
        parser.add_argument("--yes-do-it", "--ya-rly", action="store_true", help="Really kill")
        for name, states in _GROUPS.items():
            parser.add_argument(
                f"--{name}", action="store_true", help=f"All jobs that are {' or '.join(states)}"
            )
        parser.add_argument("jobs", nargs="*", metavar="JOB")

    def run(self, env: Environment, args: Namespace) -> int:
        """Cancel each; the status says whether all could be."""
        if args.kill and not args.yes_do_it:
            env.tell("Killing a job may leave its work half done; add --yes-do-it if you really want it")
            return EXIT_FAILURE
        chosen = self._chosen(env, args)
        unasked = len(chosen) > 1 and not args.jobs and not args.force
        if unasked and not env.confirm(f"Cancel {len(chosen)} jobs?"):
            return EXIT_CONFIRMATION if env.stdin.isatty() else EXIT_FAILURE
        failed = 0
        for job in chosen:
            done, text = env.call("CancelJob", job, args.kill)
            env.say(text) if done else env.tell(f"Failure: {text}")
            failed += not done
        return EXIT_FAILURE if failed else EXIT_SUCCESS

    def _chosen(self, env: Environment, args: Namespace) -> list[int]:
        states = {state for name, some in _GROUPS.items() if getattr(args, name) for state in some}
        if bool(states) == bool(args.jobs):
            raise PrereqError(
                "name jobs, or choose them by --pending, --queued or --waiting (not both)", Code.INVAL
            )
        if args.jobs:
            return [job_id(text) for text in args.jobs]
        rows = env.call("QueryJobs", None, ["id", "status"])
        return [int(row[0]) for row in rows if row and row[1] in states]


class Wait:
    """Wait until a job has ended; its messages are shown by `watch` only."""

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet

    def configure(self, parser: ArgumentParser) -> None:
        """One job."""
        parser.add_argument("job", metavar="JOB")

    def run(self, env: Environment, args: Namespace) -> int:
        """Follow it; the status says whether it succeeded."""
        job = job_id(args.job)
        if not self.quiet:
            env.say(f"Output from job {job} follows")
            env.say("")
        values = submit.follow(env, job, quiet=self.quiet)
        following.results(job, values)
        if not self.quiet:
            env.say(f"Job {job} ended: {values[0]}")
        return EXIT_SUCCESS


CANCEL = Cancel()
WAIT = Wait(quiet=True)
WATCH = Wait(quiet=False)
