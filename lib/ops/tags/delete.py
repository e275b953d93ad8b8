"""Removing tags."""

from __future__ import annotations

from dataclasses import replace

from ganeti.base.errors import Code, PrereqError
from ganeti.model.config import Config
from ganeti.model.locks import Locks
from ganeti.model.objects import Put
from ganeti.ops.base import Op, param
from ganeti.ops.context import Context
from ganeti.ops.tags.base import Tagged, TagKind, find_tagged, tag_locks


class TagsDel(Op[Tagged, None]):
    """Remove tags from an object; it must have them all."""

    kind: TagKind = param(help="Kind of the object")
    tags: list[str] = param(help="Tags to remove")
    name: str | None = param(default=None, help="Its name (not needed for the cluster)")

    def locks(self, config: Config) -> Locks:
        return tag_locks(find_tagged(config, self.kind, self.name), exclusive=True)

    def plan(self, ctx: Context) -> Tagged:
        obj = find_tagged(ctx.config, self.kind, self.name)
        missing = sorted(set(self.tags) - set(obj.tags))
        if missing:
            raise PrereqError(f"{self.kind} {obj.label} has no tag {', '.join(missing)}", Code.NOENT)
        return replace(obj, tags=tuple(tag for tag in obj.tags if tag not in self.tags))

    def run(self, ctx: Context, plan: Tagged) -> None:
        if plan != find_tagged(ctx.config, self.kind, self.name):
            ctx.commit([Put(plan)])
