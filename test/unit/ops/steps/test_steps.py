from __future__ import annotations

import pytest

from ganeti.base.errors import PrereqError
from ganeti.model.enums import NicMode
from ganeti.model.ids import NetworkUuid
from ganeti.model.objects import Network, Nic
from ganeti.ops.checks import not_empty, not_negative
from ganeti.ops.steps.hooks import instance_environment, text
from ganeti.ops.steps.refuse import given, refuse_given
from ganeti.ops.steps.versions import clock_difference, version_differences
from ganeti.ops.test.delay import Delay
from ganeti.rpc.node.replies import VersionReply
from support.fakecluster import FakeCluster
from support.instances import created


def test_texts_of_variables() -> None:
    values = (None, True, 3, "a", ["b", None, 4], NicMode.BRIDGED)
    assert [text(value) for value in values] == ["", "True", "3", "a", "b  4", "bridged"]


def test_an_instance_in_a_network_tells_its_facts() -> None:
    cluster = FakeCluster()
    cluster.put(Network(uuid=NetworkUuid("n1"), name="blue", network="198.51.100.0/24", gateway="198.51.100.1", tags=("t",)))
    instance = created(cluster)
    cluster.change(instance, nics=(Nic(uuid="x", mac="aa:00:00:00:00:99", network=NetworkUuid("n1"), ip="198.51.100.7"),))
    environment = instance_environment(cluster.config, cluster.instance("web"), [], MORE=1)
    found = {key: value for key, value in environment.items() if key.startswith("INSTANCE_NIC0_NETWORK")}
    assert found == {
        "INSTANCE_NIC0_NETWORK_NAME": "blue",
        "INSTANCE_NIC0_NETWORK_UUID": "n1",
        "INSTANCE_NIC0_NETWORK_TAGS": "t",
        "INSTANCE_NIC0_NETWORK_SUBNET": "198.51.100.0/24",
        "INSTANCE_NIC0_NETWORK_GATEWAY": "198.51.100.1",
        "INSTANCE_NIC0_NETWORK_SUBNET6": "",
        "INSTANCE_NIC0_NETWORK_GATEWAY6": "",
        "INSTANCE_NIC0_NETWORK_MAC_PREFIX": "",
    }
    assert (environment["MORE"], environment["INSTANCE_DISK_COUNT"]) == ("1", "0")


def test_a_parameter_is_given_if_it_differs_from_its_default() -> None:
    op = Delay(duration=0, on_nodes=["a"], repeat=0)
    assert [given(op, name) for name in ("on_nodes", "repeat", "duration")] == [True, False, True]
    with pytest.raises(PrereqError, match="parameter on_nodes cannot be used: no reason"):
        refuse_given(op, {"repeat": "never", "on_nodes": "no reason"})
    refuse_given(op, {"repeat": "never"})


def test_clocks_may_differ_by_what_the_question_took_and_a_little_more() -> None:
    assert clock_difference(100, 101, 102) == clock_difference(100, 252, 102) == clock_difference(100, -50, 102) == ""
    assert clock_difference(100, 253, 102) == "its clock is 151.0 seconds off, more than the 150 allowed"
    assert "151.0 seconds" in clock_difference(100, -51, 102)


def test_another_protocol_says_more_than_another_version() -> None:
    own = VersionReply("3.2", 1, "a", 0, 1)
    assert list(version_differences(own, own)) == []
    assert list(version_differences(own, VersionReply("3.1", 2, "a", 0, 1))) == ["its agent speaks protocol 2, the master 1"]


def test_checks_of_values() -> None:
    for value in (0, 1.5, None):
        not_negative(value)
    for value in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="not negative"):
            not_negative(value)
    not_empty("a")
    not_empty(None)
    with pytest.raises(ValueError, match="must not be empty"):
        not_empty(" ")
