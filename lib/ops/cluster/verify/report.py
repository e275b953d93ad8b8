"""From findings to lines and a verdict. Pure, but for the log it writes to."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from ganeti.model.objects import Instance, Node
from ganeti.ops.cluster.verify.codes import VerifyCode
from ganeti.ops.context import Context


@dataclass(frozen=True)
class Problem:
    """Something wrong with an object. A warning does not make the verification fail."""

    code: VerifyCode
    kind: str
    item: str
    message: str
    warning: bool = False


def on_node(code: VerifyCode, node: Node, message: str, *, warning: bool = False) -> Problem:
    """A problem of a node."""
    return Problem(code, "node", node.name, message, warning)


def on_instance(code: VerifyCode, instance: Instance, message: str, *, warning: bool = False) -> Problem:
    """A problem of an instance."""
    return Problem(code, "instance", instance.name, message, warning)


@dataclass(frozen=True)
class Style:
    """How problems are shown and weighed: as the options of the command say."""

    error_codes: bool = False
    ignored: Collection[VerifyCode] = ()
    simulate: bool = False
    verbose: bool = False


def is_error(problem: Problem, ignored: Collection[VerifyCode]) -> bool:
    """Whether it makes the verification fail."""
    return not problem.warning and problem.code not in ignored


def format_line(problem: Problem, style: Style) -> str:
    """The line of one problem; with error codes it is made for programs."""
    level = "ERROR" if is_error(problem, style.ignored) else "WARNING"
    if style.error_codes:
        return f"  - {level}:{problem.code}:{problem.kind}:{problem.item}:{problem.message}"
    item = f" {problem.item}" if problem.item else ""
    return f"  - {level}: {problem.kind}{item}: {problem.message}"


def report(ctx: Context, title: str, problems: Iterable[Problem], style: Style) -> bool:
    """Write the problems under a title; returns whether there was no error among them."""
    ctx.info(f"* {title}")
    good = True
    for problem in problems:
        ctx.info(format_line(problem, style))
        good &= not is_error(problem, style.ignored)
    return good


def simulated(codes: Iterable[VerifyCode]) -> list[Problem]:
    """One made-up problem of each sort, for those who write programs that read the lines."""
    return [Problem(code, "cluster", "", "simulated error, nothing is wrong") for code in codes]
