"""Names, addresses and places of a development cluster."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganeti.base.errors import PrereqError
from ganeti.tools.devcluster import plan as plans
from ganeti.tools.devcluster.plan import Network, Plan

PLAN = Plan("demo", "/state", "10.1.2.0/24", 3, "kvm")


def test_addresses_follow_the_scheme() -> None:
    assert (PLAN.host_address, PLAN.cluster_address, PLAN.guest_address(0)) == ("10.1.2.1", "10.1.2.10", "10.1.2.100")
    assert [node.address for node in PLAN.nodes] == ["10.1.2.11", "10.1.2.12", "10.1.2.13"]


def test_root_directory_ends_with_the_host_name() -> None:
    node = PLAN.nodes[1]
    assert node.root == "/state/nodes/node2.demo" and node.paths.hostname == node.name == "node2.demo"


def test_node_is_found_by_full_and_short_name() -> None:
    assert PLAN.find("node3") == PLAN.find("node3.demo") == PLAN.nodes[2]
    with pytest.raises(PrereqError, match="no node 'node4'; its nodes are node1, node2, node3"):
        PLAN.find("node4")


def test_plan_survives_its_file() -> None:
    assert plans.from_json(PLAN.to_json()) == PLAN


def test_hosts_file_gives_full_names_first() -> None:
    lines = PLAN.hosts().splitlines()
    assert "10.1.2.10 cluster.demo cluster" in lines
    assert "10.1.2.12 node2.demo node2" in lines
    assert "10.1.2.109 i9.demo i9" in lines


@pytest.mark.parametrize("name", ["demo", "a", "t1234567"])
def test_names_that_fit_into_interface_names_are_taken(name: str) -> None:
    plans.check_name(name)
    largest = Plan(name, "/s", "10.1.2.0/24", plans.MOST_NODES, "kvm")
    assert len(largest.bridge) <= 15 and len(largest.cable(largest.nodes[-1])) <= 15
    assert ipaddress.ip_address(largest.nodes[-1].address) < ipaddress.ip_address(largest.guest_address(0))


@pytest.mark.parametrize("name", ["", "Demo", "1a", "a-b", "much2long", "a/b", ".."])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(PrereqError):
        plans.check_name(name)


@pytest.mark.parametrize("state", ["/srv/x", "/run/x", "/dev/shm/x", "/proc/1", "/srv"])
def test_state_below_hidden_directories_is_refused(state: str) -> None:
    with pytest.raises(PrereqError, match="choose another one"):
        plans.check_state(state)


def test_state_elsewhere_is_taken() -> None:
    plans.check_state("/srv2/x")
    plans.check_state("/var/lib/ganeti-devcluster/demo")


def test_state_whose_sockets_would_have_too_long_names_is_refused() -> None:
    plans.check_socket_paths(Plan("t1234567", plans.default_state("t1234567"), "10.1.2.0/24", 3, "kvm"))
    with pytest.raises(PrereqError, match="characters too long"):
        plans.check_socket_paths(Plan("demo", "/" + "x" * 60, "10.1.2.0/24", 80, "kvm"))


networks = st.builds(
    lambda number, length: Network((0x0A000000 + (number << 8), length), strict=False),
    st.integers(0, 65535),
    st.integers(12, 30),
)


@given(name=st.from_regex(r"[a-z][a-z0-9]{0,7}", fullmatch=True), taken=st.lists(networks, max_size=8))
def test_chosen_network_is_free_and_the_same_each_time(name: str, taken: list[Network]) -> None:
    chosen = Network(plans.choose_subnet(name, taken))
    assert chosen.prefixlen == 24 and chosen.subnet_of(Network("10.0.0.0/8"))
    assert not any(chosen.overlaps(network) for network in taken)
    assert plans.choose_subnet(name, [*taken]) == str(chosen)


def test_full_network_is_an_error() -> None:
    with pytest.raises(PrereqError, match="no network"):
        plans.choose_subnet("demo", [Network("10.0.0.0/8")])
