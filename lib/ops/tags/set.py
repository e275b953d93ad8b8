"""Adding tags."""

from __future__ import annotations

from dataclasses import replace

from ganeti.model.config import Config
from ganeti.model.locks import Locks
from ganeti.model.names import check_tags
from ganeti.model.objects import Put
from ganeti.ops.base import Op, param
from ganeti.ops.context import Context
from ganeti.ops.tags.base import Tagged, TagKind, find_tagged, tag_locks


class TagsSet(Op[Tagged, None]):
    """Add tags to an object; those it has already are no error."""

    kind: TagKind = param(help="Kind of the object")
    tags: list[str] = param(help="Tags to add")
    name: str | None = param(default=None, help="Its name (not needed for the cluster)")

    def locks(self, config: Config) -> Locks:
        return tag_locks(find_tagged(config, self.kind, self.name), exclusive=True)

    def plan(self, ctx: Context) -> Tagged:
        obj = find_tagged(ctx.config, self.kind, self.name)
        changed = replace(obj, tags=tuple(sorted({*obj.tags, *self.tags})))
        check_tags(tuple(self.tags), f"{self.kind} {obj.label}")
        check_tags(changed.tags, f"{self.kind} {obj.label}")
        return changed

    def run(self, ctx: Context, plan: Tagged) -> None:
        if plan != find_tagged(ctx.config, self.kind, self.name):
            ctx.commit([Put(plan)])
