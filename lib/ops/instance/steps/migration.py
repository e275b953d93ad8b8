"""Moving a running guest to another node.

Order of effects:

1. Target: assemble the disks, start a guest that waits for its state.
2. Source: send the state. While this lasts the guest runs at the source; when the hypervisor says "completed" it runs at the
   target, and the source keeps a stopped shell.
3. Commit: the target is the primary node. Then both sides are told to finish, and the source's disks are shut down.

Up to "completed" every failure or cancellation goes back to the source, afterwards everything goes forward. Where it cannot
be found out on which side of that line the guest is, nothing is ended on either side: two waiting guests can be told apart
later (`gnt-instance migrate --cleanup`), two running ones cannot be merged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ganeti.base.errors import ExecError, GanetiError, NodeError
from ganeti.model.filled import fill_instance
from ganeti.model.objects import Instance, Node
from ganeti.ops.context import Context
from ganeti.ops.instance.steps import disks, guest
from ganeti.rpc.node.instance import InstanceApi
from ganeti.rpc.node.replies import MigrationStatus, RunState

POLL_INTERVALS = (0.05, 0.1, 0.2, 0.5)
"""Seconds between the first questions for the status; the last one stays."""
REPORT_INTERVAL = 5.0
"""Seconds between lines of progress."""
PATIENCE = 10
"""Questions in a row that may go unanswered."""
CLEANUP = "gnt-instance migrate --cleanup"

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
        self._accepting = self._sending = self._moved = False

    def run(self) -> None:
        """Move the guest; raises whatever went wrong, after which it runs where it did before."""
        self._ctx.undo.push(self.abort)
        self._ctx.info(f"Migrating instance {self._instance.name} from {self._source.name} to {self._target.name}")
        uri = self._prepare()
        status = self._transfer(uri)
        self._complete(status)

    def _prepare(self) -> str:
        call = self._ctx.nodes.call
        info = call(self._source.uuid, InstanceApi.migration_info, self._at_source)
        disks.assemble(self._ctx, self._instance, self._target.uuid, self._disks, undo=False)
        self._accepting = True
        return call(self._target.uuid, InstanceApi.migration_accept, self._at_target, info, self._target.secondary_ip)

    def _transfer(self, uri: str) -> MigrationStatus:
        """Send the state; returns when the guest runs at the target."""
        ctx = self._ctx
        self._sending = True
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
        self._moved = True
        ctx, name = self._ctx, self._instance.name
        try:
            guest.update(ctx, self._instance, primary_node=self._target.uuid)
        except GanetiError as err:
            raise ExecError(
                f"instance {name} runs on {self._target.name} now, but this could not be recorded: {err}. Run {CLEANUP} {name}"
            ) from err
        call, source, target = ctx.nodes.call, self._source.uuid, self._target.uuid
        failures = attempt_all(
            lambda: call(target, InstanceApi.migration_finish_target, self._at_target, True),
            lambda: call(source, InstanceApi.migration_finish_source, self._at_source, True, self._target.name),
            lambda: disks.shut_down(ctx, self._instance, source, self._disks),
        )
        ctx.info(summary(name, self._target.name, status))
        if failures:
            raise ExecError(
                f"instance {name} runs on {self._target.name} now, but tidying up failed: {'; '.join(failures)}."
                f" Run {CLEANUP} {name}"
            )

    def abort(self) -> None:
        """Go back: the guest runs at the source, the target has nothing of it. `ExecError` if that is not certain."""
        if self._moved:
            return
        if self._sending and not self._withdraw():
            return
        ctx, target = self._ctx, self._target.uuid
        failures = []
        if self._accepting:
            failures = attempt_all(
                lambda: ctx.nodes.call(target, InstanceApi.migration_finish_target, self._at_target, False)
            )
        failures += disks.try_shut_down(ctx, self._instance, target, self._disks)
        if failures:
            raise ExecError(f"{'; '.join(failures)}. Run {CLEANUP} {self._instance.name}")

    def _withdraw(self) -> bool:
        """Stop sending, and let the guest go on at the source. False: it had moved, so everything was completed instead."""
        ctx, source, name = self._ctx, self._source.uuid, self._instance.name
        try:
            ctx.nodes.call(source, InstanceApi.migration_cancel, self._at_source)
            state = guest.state_on(ctx, source, self._instance).state
            if state is not RunState.RUNNING and self._has_moved(state):
                ctx.warn(f"Instance {name} had moved to {self._target.name} before the migration could be cancelled")
                self._complete(MigrationStatus("completed"))
                return False
            ctx.nodes.call(source, InstanceApi.migration_finish_source, self._at_source, False, self._target.name)
        except NodeError as err:
            raise ExecError(
                f"whether instance {name} has moved to {self._target.name} cannot be found out: {err}. Nothing was ended on"
                f" either node; when {self._source.name} answers again, run {CLEANUP} {name}"
            ) from err
        ctx.info(f"Instance {name} goes on running on {self._source.name}")
        return True

    def _has_moved(self, state: RunState) -> bool:
        """Whether a guest that does not run at the source runs at the target."""
        if state is RunState.PAUSED:
            call = self._ctx.nodes.call
            return call(self._source.uuid, InstanceApi.migration_status, self._at_source).status == "completed"
        return guest.state_on(self._ctx, self._target.uuid, self._instance).state is RunState.RUNNING


def attempt_all(*actions: Callable[[], object]) -> list[str]:
    """Do all of them, whatever fails; returns what failed."""
    failures = []
    for action in actions:
        try:
            action()
        except (NodeError, ExecError) as err:
            failures.append(str(err))
    return failures


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
