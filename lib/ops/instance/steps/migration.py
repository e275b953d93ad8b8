"""Moving a running guest to another node.

Order of effects:

1. Commit: a migration to the target has begun. From here on to the last commit, nothing but `--cleanup` touches the instance.
2. Target: assemble the disks, start a guest that waits for its state.
3. Source: send the state. While this lasts the guest runs at the source; when the hypervisor says "completed" it is the
   target's, and the source keeps a stopped shell.
4. Target: let it go on. Commit: the target is the primary node, something may be left on the source.
5. Source: end it, shut down its disks. Commit: the migration has ended.

Up to "completed" every failure or cancellation goes back to the source, afterwards everything goes forward: `abort` asks both
sides and does what `steps.whereabouts` says, just as `gnt-instance migrate --cleanup` does after the worker was killed. Where
one side cannot be asked, nothing is ended on either: guests that wait can be told apart later, two that run cannot be merged.
"""

from __future__ import annotations

from dataclasses import replace

from ganeti.base.errors import ExecError, NodeError
from ganeti.model.filled import fill_instance
from ganeti.model.objects import Instance, Node
from ganeti.ops.context import Context
from ganeti.ops.instance.steps import disks, guest
from ganeti.ops.instance.steps.whereabouts import attempt_all, repair
from ganeti.rpc.node.instance import InstanceApi
from ganeti.rpc.node.replies import MigrationStatus

POLL_INTERVALS = (0.05, 0.1, 0.2, 0.5)
"""Seconds between the first questions for the status; the last one stays."""
REPORT_INTERVAL = 5.0
"""Seconds between lines of progress."""
PATIENCE = 10
"""Questions in a row that may go unanswered."""

MIB = 1024 * 1024


class Migration:
    """One migration under way. `run` does it all and registers `abort` to be called if anything fails."""

    def __init__(self, ctx: Context, instance: Instance, target: Node, *, live: bool) -> None:
        self._ctx = ctx
        self._instance = instance
        self._source = ctx.config.node(instance.primary_node)
        self._target = target
        self._live = live
        self._disks = ctx.config.disks_of(instance)
        self._at_source = fill_instance(ctx.config, instance)
        self._at_target = fill_instance(ctx.config, replace(instance, primary_node=target.uuid))
        self._recorded = False

    def run(self) -> None:
        """Move the guest; raises whatever went wrong, after which it runs where it did before."""
        self._ctx.undo.push(self.abort)
        self._ctx.info(f"Migrating instance {self._instance.name} from {self._source.name} to {self._target.name}")
        guest.update(self._ctx, self._instance, migration_peer=self._target.uuid)
        uri = self._prepare()
        status = self._transfer(uri)
        self._complete(status)

    def _prepare(self) -> str:
        call = self._ctx.nodes.call
        info = call(self._source.uuid, InstanceApi.migration_info, self._at_source)
        disks.assemble(self._ctx, self._instance, self._target.uuid, self._disks, undo=False)
        return call(self._target.uuid, InstanceApi.migration_accept, self._at_target, info, self._target.secondary_ip)

    def _transfer(self, uri: str) -> MigrationStatus:
        """Send the state; returns when the guest runs at the target."""
        ctx = self._ctx
        ctx.nodes.call(self._source.uuid, InstanceApi.migration_start, self._at_source, uri, self._live)
        reported, polls = ctx.now(), 0
        while True:
            status = self._status()
            if status.status == "completed":
                return status
            if status.status in ("failed", "cancelled"):
                raise ExecError(
                    f"migration of instance {self._instance.name} to {self._target.name} {status.status}:"
                    f" {status.error or 'the hypervisor gives no reason'}"
                )
            if ctx.now() - reported >= REPORT_INTERVAL:
                ctx.info(progress(self._instance.name, status))
                reported = ctx.now()
            ctx.sleep(POLL_INTERVALS[min(polls, len(POLL_INTERVALS) - 1)])
            polls += 1

    def _status(self) -> MigrationStatus:
        for attempt in range(PATIENCE):
            try:
                return self._ctx.nodes.call(self._source.uuid, InstanceApi.migration_status, self._at_source)
            except NodeError as err:
                if attempt == PATIENCE - 1:
                    raise
                self._ctx.warn(f"Asking for the migration's status again: {err}")
                self._ctx.sleep(1.0)
        raise AssertionError("the loop above returns or raises")

    def _complete(self, status: MigrationStatus) -> None:
        """The guest has moved: record it, and tidy up on both sides."""
        ctx, call, name = self._ctx, self._ctx.nodes.call, self._instance.name
        call(self._target.uuid, InstanceApi.migration_finish_target, self._at_target, True)
        source = self._source.uuid
        guest.update(ctx, self._instance, primary_node=self._target.uuid, migration_peer=source)
        self._recorded = True
        failures = attempt_all(
            lambda: call(source, InstanceApi.migration_finish_source, self._at_source, True, self._target.name),
            lambda: disks.shut_down(ctx, self._instance, source, self._disks),
        )
        ctx.info(summary(name, self._target.name, status))
        if failures:
            raise ExecError(
                f"instance {name} runs on {self._target.name} now, but tidying up on {self._source.name} failed:"
                f" {'; '.join(failures)}. Run gnt-instance migrate --cleanup {name}"
            )
        guest.update(ctx, self._instance, migration_peer=None)

    def abort(self) -> None:
        """Go back if the guest has not moved, else forward. Raises if it cannot be found out, having ended nothing."""
        if not self._recorded:
            repair(self._ctx, self._ctx.config.instance(self._instance.uuid), [self._source, self._target])


def progress(name: str, status: MigrationStatus) -> str:
    """A line that says how far a migration is."""
    left, total = status.remaining // MIB, status.total // MIB
    share = f", {100 * (status.total - status.remaining) // status.total} %" if status.total else ""
    more = f", round {status.iterations}" if status.iterations else ""
    return f"Migration of {name}: {left} of {total} MiB left{share}{more}"


def summary(name: str, target: str, status: MigrationStatus) -> str:
    """The last line of a migration. Times are the hypervisor's own."""
    took = f" in {status.total_ms / 1000:.1f} s" if status.total_ms is not None else ""
    downtime = "not known" if status.downtime_ms is None else f"{status.downtime_ms} ms"
    sent = f", {status.transferred // MIB} MiB sent" if status.transferred else ""
    return f"Migration of {name} to {target} done{took}, downtime {downtime}{sent}"
