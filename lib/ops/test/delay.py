"""Do nothing for a while: for tests, benchmarks and trying out the job queue."""

from __future__ import annotations

from dataclasses import dataclass

from ganeti.base.errors import Code, ExecError, NodeError, PrereqError
from ganeti.model.config import Config
from ganeti.model.ids import NodeUuid
from ganeti.model.locks import Locks, lock
from ganeti.ops.base import Op, param
from ganeti.ops.checks import not_negative
from ganeti.ops.context import Context
from ganeti.rpc.node.node import NodeApi


@dataclass(frozen=True)
class Plan:
    """Where to sleep, and how often."""

    nodes: tuple[NodeUuid, ...]
    rounds: int


class Delay(
    Op[Plan, None], op_id="OP_TEST_DELAY", command="gnt-debug delay", summary="duration", changes_nothing=True
):
    """Sleep on the master, on nodes, or on both one after the other."""

    duration: float = param(help="Seconds to sleep", metavar="DURATION", check=not_negative)
    on_master: bool = param(default=True, help="Do not sleep on the master", flags="--no-master")
    on_nodes: list[str] = param(
        default_factory=list, help="Node to sleep on (may be repeated)", flags="-n", metavar="NODE", complete="node"
    )
    on_node_uuids: list[str] | None = param(default=None, help="Nodes to sleep on, by uuid")
    repeat: int = param(
        default=0, help="How often to do it (0: once)", flags="-r --repeat", metavar="N", check=not_negative
    )
    interruptible: bool = param(
        default=False, help="Open a socket that ends the delay when connected to", flags="-i --interruptible"
    )
    no_locks: bool = param(default=True, help="Do not lock the nodes while the delay runs")

    def locks(self, config: Config) -> Locks:
        """None, unless asked for: then the nodes' own."""
        if self.no_locks:
            return Locks.none()
        return Locks.of(exclusive=[lock("node", uuid) for uuid in self._nodes(config)])

    def plan(self, ctx: Context) -> Plan:
        if self.interruptible:
            raise PrereqError(
                "a delay cannot be interrupted through a socket; cancel its job instead (gnt-job cancel)", Code.INVAL
            )
        return Plan(self._nodes(ctx.config), max(self.repeat, 1))

    def run(self, ctx: Context, plan: Plan) -> None:
        for number in range(plan.rounds):
            if self.repeat:
                ctx.info(f"Delay {number + 1} of {plan.rounds}")
            self._sleep(ctx, plan.nodes)

    def _nodes(self, config: Config) -> tuple[NodeUuid, ...]:
        named = [config.find_node(name).uuid for name in self.on_nodes]
        given = [config.find_node(uuid).uuid for uuid in self.on_node_uuids or ()]
        return tuple(dict.fromkeys(named + given))

    def _sleep(self, ctx: Context, nodes: tuple[NodeUuid, ...]) -> None:
        if self.on_master:
            ctx.sleep(self.duration)
        if not nodes:
            return
        answers = ctx.nodes.call_all(nodes, NodeApi.test_delay, self.duration)
        failed = [str(answer) for answer in answers.values() if isinstance(answer, NodeError)]
        if failed:
            raise ExecError(f"the delay failed on {len(failed)} of {len(nodes)} nodes: {'; '.join(failed)}")
