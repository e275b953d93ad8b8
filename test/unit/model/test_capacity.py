from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ganeti.model.capacity import Claim, NodeMemory, claims_on
from ganeti.model.enums import AdminState
from support.fakecluster import FakeCluster
from support.instances import created

claims = st.lists(st.builds(Claim, st.just("x"), st.integers(0, 2000), st.integers(0, 2000)), max_size=4).map(tuple)


def test_what_is_free_and_not_claimed_is_available() -> None:
    running = Claim("a", maximum=1000, used=1000)
    assert NodeMemory(4000, 2500, (running,)).available == 2500
    assert NodeMemory(4000, 2500).available == 2500


def test_an_instance_that_is_down_by_accident_keeps_its_claim() -> None:
    assert NodeMemory(4000, 3500, (Claim("a", 1000),)).available == 2500


def test_a_guest_that_has_not_touched_its_memory_yet_has_it_all_the_same() -> None:
    lazy = Claim("a", maximum=3000, used=3000)
    assert NodeMemory(4000, 3900, (lazy,)).available == 1000


def test_it_is_told_by_how_much_something_does_not_fit() -> None:
    memory = NodeMemory(4000, 1000)
    assert (memory.missing(1000), memory.missing(1001), memory.missing(4000)) == (0, 1, 3000)


@given(total=st.integers(0, 10000), free=st.integers(0, 10000), claimed=claims, more=st.integers(0, 3000))
def test_another_claim_never_makes_more_available(total: int, free: int, claimed: tuple[Claim, ...], more: int) -> None:
    before = NodeMemory(total, free, claimed)
    after = NodeMemory(total, free, (*claimed, Claim("new", more)))
    assert after.available <= before.available - more


def test_claims_are_those_of_instances_that_should_run_or_are_being_made() -> None:
    cluster = FakeCluster()
    for name in ("up", "down", "half", "mine"):
        created(cluster, name, beparams={"memory": 256})
    cluster.change(cluster.instance("down"), admin_state=AdminState.DOWN)
    cluster.change(cluster.instance("half"), admin_state=AdminState.DOWN, forthcoming=True)
    created(cluster, "elsewhere", pnode="node2")
    found = claims_on(cluster.config, cluster.uuid("node1"), {"up": 200, "stranger": 9}, besides=["mine"])
    assert found == (Claim("half", 256, 0), Claim("up", 256, 200))
