from __future__ import annotations

import pytest

from ganeti.base.errors import PrereqError
from ganeti.ops.os.diagnose import FIELDS, OsDiagnose
from ganeti.rpc.node.replies import OsVariantInfo
from support.fakecluster import FakeCluster


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster(hidden_os=("old",), blacklisted_os=("bad",), osparams={"noop": {"a": "1"}})


def give(cluster: FakeCluster, name: str, *nodes: str, **values: object) -> None:
    for node in nodes or ("node1", "node2", "node3"):
        info = OsVariantInfo(name, f"/os/{name}", **{"valid": True, **values})  # type: ignore[arg-type]  # test data
        cluster.node(node).oses[name] = info


def rows(cluster: FakeCluster, *fields: str, names: tuple[str, ...] = ()) -> list[list[object]]:
    result: list[list[object]] = cluster.run(OsDiagnose(output_fields=list(fields), names=list(names))).result
    return result


def test_an_os_is_valid_if_every_node_has_a_valid_one(cluster: FakeCluster) -> None:
    give(cluster, "half", "node1", "node2")
    give(cluster, "broken")
    give(cluster, "broken", "node3", valid=False, message="create is missing")
    assert rows(cluster, "name", "valid") == [["broken", False], ["half", False], ["noop", True]]


def test_variants_parameters_and_versions_are_those_that_all_have(cluster: FakeCluster) -> None:
    give(cluster, "noop", variants=["a", "b"], parameters=[("x", "X"), ("y", "Y")], api_versions=[20, 15])
    give(cluster, "noop", "node2", variants=["b", "c"], parameters=[("y", "Y")], api_versions=[20])
    assert rows(cluster, "variants", "parameters", "api_versions", "osparams") == [[["b"], [["y", "Y"]], [20], {"a": "1"}]]


def test_hidden_and_blacklisted_ones_are_marked(cluster: FakeCluster) -> None:
    give(cluster, "old")
    give(cluster, "bad")
    assert rows(cluster, "name", "hidden", "blacklisted", names=("old", "bad")) == [
        ["bad", False, True],
        ["old", True, False],
    ]


def test_the_status_of_each_node_is_told(cluster: FakeCluster) -> None:
    give(cluster, "noop", "node2", valid=False, message="no")
    ((status,),) = rows(cluster, "node_status")
    assert isinstance(status, dict)
    assert status[cluster.uuid("node2")] == [["/os/noop", False, "no", [], [], [], True]]


def test_nodes_that_cannot_host_or_do_not_answer_do_not_count(cluster: FakeCluster) -> None:
    give(cluster, "half", "node1")
    cluster.change_node("node2", vm_capable=False)
    cluster.dead.add(cluster.uuid("node3"))
    run = cluster.run(OsDiagnose(output_fields=["valid"], names=["half"]))
    assert run.result == [[True]]
    assert run.log == ["WARNING: node node3.example.com: connection refused"]


def test_fields_are_those_of_the_contract_and_others_are_refused(cluster: FakeCluster) -> None:
    assert sorted(FIELDS) == [
        "api_versions",
        "blacklisted",
        "hidden",
        "name",
        "node_status",
        "os_hvp",
        "osparams",
        "parameters",
        "trusted",
        "valid",
        "variants",
    ]
    with pytest.raises(PrereqError, match="there is no field colour"):
        rows(cluster, "colour")
