"""Verify the configuration. No node is asked."""

from __future__ import annotations

from collections.abc import Iterator

from ganeti.model.config import Config
from ganeti.model.locks import Locks
from ganeti.model.verify import check_all
from ganeti.ops.base import Op, param
from ganeti.ops.cluster.verify import report
from ganeti.ops.cluster.verify.codes import VerifyCode
from ganeti.ops.context import Context


class ClusterVerifyConfig(Op[None, bool], changes_nothing=True):
    """Verify the configuration; the result is whether it is in order."""

    debug_simulate_errors: bool = param(default=False, help="Report one error of each sort")
    error_codes: bool = param(default=False, help="Report in a form that programs can read")
    ignore_errors: list[VerifyCode] = param(default_factory=list, help="Report this sort of error as a warning")
    verbose: bool = param(default=False, help="Tell more")

    def locks(self, config: Config) -> Locks:
        """None: a snapshot is consistent."""
        return Locks.none()

    def plan(self, ctx: Context) -> None:
        return None

    def run(self, ctx: Context, plan: None) -> bool:
        style = report.Style(self.error_codes, tuple(self.ignore_errors), self.debug_simulate_errors, self.verbose)
        good = report.report(ctx, "Verifying the configuration", check_config(ctx.config), style)
        if self.verbose:
            ctx.info(f"  Configuration has serial number {ctx.config.serial}")
        if style.simulate:
            codes = [code for code in VerifyCode if code.startswith("ECLUSTER")]
            good &= report.report(ctx, "Simulating errors", report.simulated(codes), style)
        return good


def check_config(config: Config) -> Iterator[report.Problem]:
    """Everything that is wrong in it. Pure."""
    for finding in check_all(config):
        yield report.Problem(VerifyCode(finding.code), finding.kind, finding.item, finding.message)
