"""`gnt-cluster verify`: a job that submits jobs; each one's findings are shown, and together they make the exit status."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from ganeti.base.errors import GanetiError
from ganeti.cli import submit
from ganeti.cli.command import EXIT_FAILURE, EXIT_SUCCESS, Environment
from ganeti.cli.opcommand import OpCommand

NPLUS1 = "nplusone_mem"
HVPARAM_ASSESSMENT = "hvparam_assessment"


class Verify(OpCommand):
    """The opcode's own options, and two that switch checks off."""

    def run(self, env: Environment, args: Namespace) -> int:
        """Submit, then follow every job that came of it."""
        results = submit.run_job(env, args, [self.build(env, args, None)])
        jobs = results[0]["jobs"] if results and results[0] else []
        good = True
        for accepted, job in jobs:
            good &= follow(env, job) if accepted else refuse(env, job)
        return EXIT_SUCCESS if good else EXIT_FAILURE


def follow(env: Environment, job: int) -> bool:
    """Show one job's findings; whether there were none."""
    try:
        return all(submit.wait(env, job))
    except GanetiError as err:
        env.tell(f"Failure: job {job}: {err.message}")
        return False


def refuse(env: Environment, reason: Any) -> bool:
    """A job that was not accepted is a failed check."""
    env.tell(f"Failure: a check could not be submitted: {reason}")
    return False


def _extra(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--no-nplus1-mem", dest="skip_nplusone_mem", action="store_true", help="Do not check for N+1 memory"
    )
    parser.add_argument(
        "--no-hv-param-assessment",
        dest="skip_hvparam_assessment",
        action="store_true",
        help="Do not assess hypervisor parameters",
    )


def _adjust(_env: Environment, args: Namespace, values: dict[str, Any]) -> dict[str, Any]:
    skipped = [NPLUS1] if args.skip_nplusone_mem else []
    skipped += [HVPARAM_ASSESSMENT] if args.skip_hvparam_assessment else []
    return {**values, "skip_checks": skipped} if skipped else values


VERIFY = Verify("OP_CLUSTER_VERIFY", None, extra=_extra, adjust=_adjust, submits=False)
