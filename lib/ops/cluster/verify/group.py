"""Verify the nodes and instances of one node group."""

from __future__ import annotations

from typing import Literal

from ganeti.base.errors import Code, PrereqError
from ganeti.model.config import Config
from ganeti.model.locks import Locks, lock
from ganeti.model.objects import Group
from ganeti.ops.base import HookRun, Hooks, Op, param
from ganeti.ops.cluster.verify import report
from ganeti.ops.cluster.verify.checks import CHECKS
from ganeti.ops.cluster.verify.codes import VerifyCode
from ganeti.ops.cluster.verify.gather import gather
from ganeti.ops.context import Context
from ganeti.ops.steps.hooks import texts

NPLUS1 = "nplusone_mem"
ASSESSMENT = "hvparam_assessment"


class ClusterVerifyGroup(Op[Group, bool], summary="group_name", hooks=Hooks("cluster-verify", "CLUSTER")):
    """Verify the nodes and instances of a group; the result is whether all is well."""

    group_name: str = param(help="Node group", complete="group")
    debug_simulate_errors: bool = param(default=False, help="Report one error of each sort")
    error_codes: bool = param(default=False, help="Report in a form that programs can read")
    skip_checks: list[Literal["hvparam_assessment", "nplusone_mem"]] = param(
        default_factory=list, help="Checks to leave out"
    )
    ignore_errors: list[VerifyCode] = param(default_factory=list, help="Report this sort of error as a warning")
    verbose: bool = param(default=False, help="Tell more")
    verify_clutter: bool = param(default=False, help="Look for SSH keys that nobody needs")

    def locks(self, config: Config) -> Locks:
        """The group with its nodes and instances, shared: nothing moves while it is looked at."""
        group = config.find_group(self.group_name)
        nodes = [node.uuid for node in config.nodes if node.group == group.uuid]
        instances = [instance.name for node in nodes for instance in config.primary_instances(node)]
        return Locks.of(
            shared=[
                lock("nodegroup", group.uuid),
                *(lock("node", uuid) for uuid in nodes),
                *(lock("instance", name) for name in instances),
            ]
        )

    def plan(self, ctx: Context) -> Group:
        if self.verify_clutter:
            raise PrereqError("looking for SSH keys that nobody needs is not supported yet", Code.INVAL)
        return ctx.config.find_group(self.group_name)

    def run(self, ctx: Context, plan: Group) -> bool:
        style = report.Style(self.error_codes, tuple(self.ignore_errors), self.debug_simulate_errors, self.verbose)
        nodes = [node for node in ctx.config.nodes if node.group == plan.uuid]
        ctx.info(f"* Verifying node group {plan.name}: asking {len(nodes)} nodes")
        if self.verbose:
            for node in nodes:
                ctx.info(f"  Node {node.name}: {'offline, not asked' if node.offline else 'asked'}")
        facts = gather(
            ctx, plan, memory=NPLUS1 not in self.skip_checks, hvparams=ASSESSMENT not in self.skip_checks
        )
        good = True
        for title, check in CHECKS:
            good &= report.report(ctx, title, check(facts), style)
        if style.simulate:
            codes = [code for code in VerifyCode if not code.startswith("ECLUSTER")]
            good &= report.report(ctx, "Simulating errors", report.simulated(codes), style)
        return good

    def hook_run(self, config: Config, plan: Group) -> HookRun:
        """Afterwards on the group's nodes."""
        tags = {f"NODE_TAGS_{node.name}": node.tags for node in config.nodes if node.group == plan.uuid}
        nodes = tuple(node.uuid for node in config.nodes if node.group == plan.uuid)
        environment = texts({"CLUSTER_TAGS": config.cluster.tags, **tags})
        return HookRun(config.cluster.cluster_name, environment, (), nodes)
