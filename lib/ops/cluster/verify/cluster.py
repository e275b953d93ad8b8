"""Verify the cluster: one job for the configuration, one for each node group."""

from __future__ import annotations

from typing import Any, Literal

from ganeti.base.errors import Code, PrereqError
from ganeti.model.config import Config
from ganeti.model.locks import Locks
from ganeti.model.objects import Group
from ganeti.ops.base import Op, param
from ganeti.ops.checks import not_empty
from ganeti.ops.cluster.verify.codes import VerifyCode
from ganeti.ops.cluster.verify.config import ClusterVerifyConfig
from ganeti.ops.cluster.verify.group import ClusterVerifyGroup
from ganeti.ops.context import Context

OptionalCheck = Literal["hvparam_assessment", "nplusone_mem"]


class ClusterVerify(
    Op[list[Group], dict[str, list[tuple[bool, int | str]]]], command="gnt-cluster verify", changes_nothing=True
):
    """Submit the jobs that verify the cluster. Those of the groups start when the one of the configuration has ended."""

    debug_simulate_errors: bool = param(
        default=False, help="Report one error of each sort", flags="--debug-simulate-errors"
    )
    error_codes: bool = param(default=False, help="Report in a form that programs can read", flags="--error-codes")
    skip_checks: list[OptionalCheck] = param(default_factory=list, help="Checks to leave out")
    ignore_errors: list[VerifyCode] = param(
        default_factory=list,
        help="Report this sort of error as a warning (may be repeated)",
        flags="-I --ignore-errors",
        metavar="CODE",
    )
    verbose: bool = param(default=False, help="Tell more", flags="-v --verbose")
    group_name: str | None = param(
        default=None,
        help="Verify this node group only",
        flags="-g --node-group",
        metavar="GROUP",
        complete="group",
        check=not_empty,
    )
    verify_clutter: bool = param(default=False, help="Look for SSH keys that nobody needs", flags="--verify-ssh-clutter")

    def locks(self, config: Config) -> Locks:
        """None: the jobs take theirs."""
        return Locks.none()

    def plan(self, ctx: Context) -> list[Group]:
        if self.verify_clutter:
            raise PrereqError("looking for SSH keys that nobody needs is not supported yet", Code.INVAL)
        return [ctx.config.find_group(self.group_name)] if self.group_name else ctx.config.groups

    def run(self, ctx: Context, plan: list[Group]) -> dict[str, list[tuple[bool, int | str]]]:
        common: dict[str, Any] = {
            "debug_simulate_errors": self.debug_simulate_errors,
            "error_codes": self.error_codes,
            "ignore_errors": self.ignore_errors,
            "verbose": self.verbose,
        }
        jobs: list[list[Op[Any, Any]]] = []
        if self.group_name is None:
            jobs.append([ClusterVerifyConfig(**common)])
        for group in plan:
            # Counted back from the job itself: whichever way the first one ends, the others go on.
            after: dict[str, Any] = {"depends": [(-len(jobs), [])]} if self.group_name is None else {}
            jobs.append([ClusterVerifyGroup(group_name=group.name, skip_checks=self.skip_checks, **common, **after)])
        return {"jobs": ctx.submit(jobs)}
