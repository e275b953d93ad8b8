"""Tags of the whole cluster that match a pattern."""

from __future__ import annotations

import re

from ganeti.base.errors import Code, PrereqError
from ganeti.model.config import Config
from ganeti.model.locks import Locks
from ganeti.ops.base import Op, param
from ganeti.ops.context import Context
from ganeti.ops.tags.base import all_tagged


class TagsSearch(Op[re.Pattern[str], list[tuple[str, str]]], summary="pattern", changes_nothing=True):
    """Find tags by a regular expression; the result's rows are [path of the object, tag]."""

    pattern: str = param(help="Regular expression that a part of the tag matches")

    def locks(self, config: Config) -> Locks:
        return Locks.none()

    def plan(self, ctx: Context) -> re.Pattern[str]:
        try:
            return re.compile(self.pattern)
        except re.error as err:
            raise PrereqError(f"'{self.pattern}' is not a regular expression: {err}", Code.INVAL) from err

    def run(self, ctx: Context, plan: re.Pattern[str]) -> list[tuple[str, str]]:
        return [(path, tag) for path, obj in all_tagged(ctx.config) for tag in sorted(obj.tags) if plan.search(tag)]
