"""The tags of one object."""

from __future__ import annotations

from ganeti.model.config import Config
from ganeti.model.locks import Locks
from ganeti.ops.base import Op, param
from ganeti.ops.context import Context
from ganeti.ops.tags.base import TagKind, find_tagged, tag_locks


class TagsGet(Op[list[str], list[str]], summary="name", changes_nothing=True):
    """List the tags of an object, sorted."""

    kind: TagKind = param(help="Kind of the object")
    name: str | None = param(default=None, help="Its name (not needed for the cluster)")
    use_locking: bool = param(default=False, help="Wait until no other job works on it")

    def locks(self, config: Config) -> Locks:
        """None, unless asked for."""
        return tag_locks(find_tagged(config, self.kind, self.name), exclusive=False) if self.use_locking else Locks.none()

    def plan(self, ctx: Context) -> list[str]:
        return sorted(find_tagged(ctx.config, self.kind, self.name).tags)

    def run(self, ctx: Context, plan: list[str]) -> list[str]:
        return plan
