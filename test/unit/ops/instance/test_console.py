from __future__ import annotations

import pytest

from ganeti.base.errors import PrereqError
from ganeti.ops.instance.console import InstanceConsole
from ganeti.rpc.node.replies import ConsoleInfo
from support.fakecluster import FakeCluster, locks_of
from support.instances import created


@pytest.fixture
def cluster() -> FakeCluster:
    cluster = FakeCluster()
    created(cluster)
    return cluster


def test_the_description_holds_what_its_kind_needs_only(cluster: FakeCluster) -> None:
    assert cluster.run(InstanceConsole(instance_name="web")).result == {
        "instance": "web",
        "kind": "msg",
        "message": "there is no console on a fake node",
    }
    console = ConsoleInfo("web", "ssh", host="node1", user="root", command=["socat", "-", "x"])
    cluster.node("node1").instance_console = lambda instance: console  # type: ignore[method-assign]  # only here
    assert cluster.run(InstanceConsole(instance_name="web")).result == {
        "instance": "web",
        "kind": "ssh",
        "host": "node1",
        "user": "root",
        "command": ["socat", "-", "x"],
    }


def test_an_instance_that_does_not_run_has_none(cluster: FakeCluster) -> None:
    cluster.node("node1").guests.clear()
    with pytest.raises(PrereqError, match=r"does not run \(its state is absent\), so it has no console"):
        cluster.run(InstanceConsole(instance_name="web"))


def test_nothing_is_locked_exclusively(cluster: FakeCluster) -> None:
    locks = locks_of(InstanceConsole(instance_name="web"), cluster.config)
    assert locks == {"shared cluster": ["BGL"], "shared instance": ["web"], "shared node": ["node1"]}
