"""Immediate mode with opcodes of the product, and its stand-in for the master daemon."""

from __future__ import annotations

from typing import Any

import pytest

from ganeti.base.errors import Code, PrereqError
from ganeti.job.immediate import run_op
from ganeti.job.master import HeldLocks
from ganeti.model.locks import lock
from ganeti.model.objects import Put
from ganeti.ops.test.delay import Delay
from ganeti.rpc.memory import MemoryNodeCaller
from support.objects import make_network

A, B, C = (lock("node", name) for name in "abc")


def test_opcode_of_the_product_runs_at_once(world: Any) -> None:
    op = Delay(duration=0, on_nodes=["node2", "node3"], no_locks=False)
    assert run_op(op, world.store, MemoryNodeCaller(world.nodes)) is None
    assert [node.calls for node in world.nodes.values()] == [[], ["test_delay"], ["test_delay"]]


def test_job_in_wire_form_runs_at_once(world: Any) -> None:
    first, second = world.immediate.run_job(
        [{"OP_ID": "OP_TEST_DELAY", "duration": 1.5}, {"OP_ID": "OP_TEST_DELAY", "duration": 0, "on_nodes": ["node9"]}]
    )
    assert (first.status, second.status) == ("success", "error")
    assert second.result == ["OpPrereqError", ["node 'node9' is not known in this cluster", Code.NOENT]]
    assert world.naps == [1.5]
    assert world.master.held.names == frozenset()


def test_addresses_of_a_network_are_given_out_in_order(world: Any) -> None:
    network = make_network(network="198.51.100.0/30", reservations="0000", ext_reservations="1001")
    world.store.commit(None, [Put(network)])
    what = f"ip/{network.uuid}"
    assert [world.master.generate(what, ""), world.master.generate(what, "")] == ["198.51.100.1", "198.51.100.2"]
    with pytest.raises(PrereqError, match="no free") as caught:
        world.master.generate(what, "")
    assert caught.value.code == Code.NORES


def test_value_of_an_unknown_kind_is_refused(world: Any) -> None:
    with pytest.raises(PrereqError, match="cannot be generated"):
        world.master.generate("luck", "")


def test_held_locks_are_counted_once() -> None:
    held = HeldLocks()
    held.add([A, B], [B, C])
    assert (held.exclusive, held.shared) == ({A, B}, {C})
    held.downgrade([B, C])
    assert (held.wire().exclusive, held.wire().shared) == ([A], [B, C])
    held.discard([A, C])
    assert held.names == {B}
    held.discard(None)
    assert held.names == frozenset()
