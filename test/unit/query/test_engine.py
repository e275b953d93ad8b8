"""Queries: which nodes are asked, which rows come back."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganeti.base.errors import Code, NodeError, PrereqError
from ganeti.model.config import Config
from ganeti.model.enums import AdminState, AdminStateSource
from ganeti.model.memory import MemoryRows
from ganeti.model.objects import Instance, Node
from ganeti.query import engine
from ganeti.query.field import Live, Need
from ganeti.query.filter import names_filter
from ganeti.rpc.node.replies import InstanceState, RunState
from support.objects import make_cluster, make_group, make_instance, make_node

GROUP = make_group(name="default")
NODES = [make_node(GROUP.uuid, name=f"node{n}.example.com") for n in range(1, 4)]
OFFLINE = make_node(GROUP.uuid, name="node9.example.com", offline=True)


def make_config(*instances: Instance, nodes: list[Node] | None = None, **cluster: Any) -> Config:
    every = [*(nodes or NODES), OFFLINE]
    return Config(MemoryRows([make_cluster(NODES[0].uuid, **cluster), GROUP, *every, *instances]))


def web(number: int = 1, node: Node = NODES[0], **fields: Any) -> Instance:
    return make_instance(
        node.uuid, name=f"web{number}.example.com", **{"admin_state": AdminState.UP, **fields}
    )


def rows(
    config: Config, what: str, fields: list[str], qfilter: Any = None, live: Live | None = None
) -> list[list[Any]]:
    return engine.evaluate(engine.prepare(config, what, fields, qfilter), config, live or Live())


def values(*args: Any, **kwargs: Any) -> list[list[Any]]:
    return [[value for _, value in row] for row in rows(*args, **kwargs)]


def test_fields_of_the_configuration_ask_no_node() -> None:
    config = make_config(web(1), web(2))
    query = engine.prepare(config, "instance", ["name", "os", "pnode", "be/maxmem", "nic.count"], None)
    assert query.need is Need.NONE
    assert query.nodes(config) == []


def test_a_live_field_asks_each_primary_node_once_and_no_offline_one() -> None:
    config = make_config(web(1), web(2), web(3, NODES[1]), web(4, OFFLINE))
    query = engine.prepare(config, "instance", ["status"], None)
    assert [node.name for node in query.nodes(config)] == ["node1.example.com", "node2.example.com"]


def test_a_live_field_in_the_filter_alone_asks_too() -> None:
    config = make_config(web(1))
    assert (
        engine.prepare(config, "instance", ["name"], ["==", "status", "running"]).need is Need.INSTANCE_STATE
    )


@pytest.mark.parametrize("typed", ["web1", "WEB1", "web1.example.com"])
def test_an_instance_is_found_by_leading_components_of_its_name(typed: str) -> None:
    config = make_config(web(1), web(11))
    assert values(config, "instance", ["name"], names_filter("name", [typed])) == [["web1.example.com"]]


def test_a_name_that_does_not_exist_is_an_error_and_a_filter_that_fits_nothing_is_not() -> None:
    config = make_config(web(1))
    with pytest.raises(PrereqError, match="instance 'nothere' is not known") as caught:
        rows(config, "instance", ["name"], names_filter("name", ["web1", "nothere"]))
    assert caught.value.code == Code.NOENT
    assert rows(config, "instance", ["name"], ["&", ["==", "name", "nothere"]]) == []


def test_rows_come_in_natural_order() -> None:
    config = make_config(*(web(n) for n in (10, 2, 1)))
    assert [row[0] for row in values(config, "instance", ["name"])] == [
        f"web{n}.example.com" for n in (1, 2, 10)
    ]


def test_an_unknown_field_is_marked_in_rows_and_refused_by_classic_queries() -> None:
    config = make_config(web(1))
    query = engine.prepare(config, "instance", ["name", "nosuch"], None)
    assert engine.evaluate(query, config, Live())[0][1] == [1, None]
    with pytest.raises(PrereqError, match="nosuch"):
        engine.classic_rows(query, config, Live())


def test_an_unknown_field_in_a_filter_is_refused() -> None:
    with pytest.raises(PrereqError, match="no field 'nosuch'"):
        engine.prepare(make_config(), "instance", ["name"], ["==", "nosuch", 1])


@pytest.mark.parametrize(
    ("qfilter", "expected"),
    [
        (["&", ["=", "os", "noop"], ["!", ["==", "name", "web2"]]], ["web1", "web3"]),
        (["|", ["==", "name", "web1"], ["==", "name", "web3.example.com"]], ["web1", "web3"]),
        (["=~", "name", "^web[23]"], ["web2", "web3"]),
        (["=[]", "tags", "blue"], ["web2"]),
        (["?", "tags"], ["web2"]),
        ([">", "be/maxmem", 200], ["web3"]),
        (["<=", "be/maxmem", 128], ["web1", "web2"]),
        (["!=", "name", "web1"], ["web2", "web3"]),
    ],
)
def test_filters_choose_rows(qfilter: Any, expected: list[str]) -> None:
    config = make_config(web(1), web(2, tags=("blue",)), web(3, beparams={"maxmem": 256, "minmem": 256}))
    assert [row[0].split(".")[0] for row in values(config, "instance", ["name"], qfilter)] == expected


@pytest.mark.parametrize(
    "bad", [[], ["=="], ["==", "name"], ["??", "name"], ["=~", "name", "("], "name", ["<", "name", 3]]
)
def test_a_filter_that_makes_no_sense_is_one_clear_error(bad: Any) -> None:
    config = make_config(web(1))
    with pytest.raises(PrereqError, match="the query filter cannot be used"):
        rows(config, "instance", ["name"], bad)


@given(
    st.recursive(
        st.none() | st.text() | st.integers(), lambda inner: st.lists(inner, max_size=4), max_leaves=20
    )
)
def test_any_filter_gives_rows_or_a_prereq_error(qfilter: Any) -> None:
    config = make_config(web(1))
    with contextlib.suppress(PrereqError):
        rows(config, "instance", ["name"], qfilter)


# --- the status of instances


def live(**states: list[InstanceState] | NodeError) -> Live:
    by_name = {node.name.split(".")[0]: node.uuid for node in (*NODES, OFFLINE)}
    return Live(states={by_name[name]: state for name, state in states.items()})


def guest(state: RunState = RunState.RUNNING) -> InstanceState:
    return InstanceState("web1.example.com", state, memory=96, vcpus=2)


UP, DOWN = AdminState.UP, AdminState.DOWN


@pytest.mark.parametrize(
    ("fields", "states", "expected"),
    [
        ({}, {"node1": [guest()]}, "running"),
        ({}, {"node1": [guest(RunState.PAUSED)]}, "running"),
        ({}, {"node1": []}, "ERROR_down"),
        ({}, {"node1": [guest(RunState.SHUTDOWN)]}, "ERROR_down"),
        ({"admin_state": DOWN}, {"node1": [guest()]}, "ERROR_up"),
        ({"admin_state": DOWN}, {"node1": []}, "ADMIN_down"),
        ({"admin_state": DOWN, "admin_state_source": AdminStateSource.USER}, {"node1": []}, "USER_down"),
        ({"admin_state": AdminState.OFFLINE}, {"node1": []}, "ADMIN_offline"),
        ({}, {"node1": [], "node2": [guest()]}, "ERROR_wrongnode"),
        ({}, {"node1": NodeError("node1", "does not answer")}, "ERROR_nodedown"),
        ({"node": OFFLINE}, {}, "ERROR_nodeoffline"),
    ],
)
def test_status_of_an_instance(fields: dict[str, Any], states: dict[str, Any], expected: str) -> None:
    config = make_config(web(1, **fields))
    assert values(config, "instance", ["status"], live=live(**states)) == [[expected]]


def test_a_guest_that_powered_itself_off_is_user_down_where_that_is_allowed() -> None:
    config = make_config(web(1, hvparams={"user_shutdown": True}), enabled_user_shutdown=True)
    assert values(config, "instance", ["status"], live=live(node1=[guest(RunState.SHUTDOWN)])) == [
        ["USER_down"]
    ]


@pytest.mark.parametrize(
    ("node", "states", "cell"),
    [
        (NODES[0], {"node1": [guest()]}, [0, 96]),
        (NODES[0], {"node1": []}, [3, None]),
        (NODES[0], {"node1": NodeError("node1", "does not answer")}, [2, None]),
        (OFFLINE, {}, [4, None]),
    ],
)
def test_memory_of_a_guest_or_why_it_is_not_known(
    node: Node, states: dict[str, Any], cell: list[Any]
) -> None:
    config = make_config(web(1, node))
    assert rows(config, "instance", ["oper_ram"], live=live(**states)) == [[cell]]


def test_roles_of_nodes_are_single_letters() -> None:
    nodes = [
        dataclasses.replace(NODES[0], master_candidate=True),
        dataclasses.replace(NODES[1], master_candidate=True),
        dataclasses.replace(NODES[2], drained=True),
    ]
    assert [row[0] for row in values(make_config(nodes=nodes), "node", ["role"])] == ["M", "C", "D", "O"]
