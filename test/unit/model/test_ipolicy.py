from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganeti.model import ipolicy
from ganeti.model.enums import DiskTemplate
from support.fakecluster import POLICY, FakeCluster
from support.instances import created

SPEC = ipolicy.Spec(memory=128, vcpus=1, disks=(1024,), nics=1, spindle_use=1, template=DiskTemplate.SHAREDFILE)


def broken(policy: dict[str, Any] | None = None, **values: Any) -> list[str]:
    return ipolicy.violations(policy or POLICY, dataclasses.replace(SPEC, **values))


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ({}, []),
        ({"memory": 32}, ["memory-size of 32 MiB is below the minimum of 64 MiB"]),
        ({"memory": 9000}, ["memory-size of 9000 MiB is above the maximum of 8192 MiB"]),
        ({"vcpus": 0}, ["cpu-count of 0 is below the minimum of 1"]),
        ({"nics": 9}, ["nic-count of 9 is above the maximum of 8"]),
        ({"spindle_use": 13}, ["spindle-use of 13 is above the maximum of 12"]),
        ({"disks": ()}, ["disk-count of 0 is below the minimum of 1"]),
        ({"disks": (8, 2)}, ["disk-size (disk/1) of 2 MiB is below the minimum of 4 MiB"]),
    ],
)
def test_each_bound_that_is_broken_is_named(values: dict[str, Any], texts: list[str]) -> None:
    assert broken(**values) == texts


def test_a_diskless_instance_needs_no_disk() -> None:
    assert broken(disks=(), template=DiskTemplate.DISKLESS) == []


def test_templates_are_limited() -> None:
    policy = {**POLICY, "disk-templates": ["plain", "drbd"]}
    assert broken(policy) == ["disk template sharedfile is not allowed (allowed: plain, drbd)"]


def test_one_of_several_ranges_is_enough_and_the_nearest_one_is_told() -> None:
    small = {"min": {"memory-size": 64, "cpu-count": 1}, "max": {"memory-size": 128, "cpu-count": 1}}
    large = {"min": {"memory-size": 1024, "cpu-count": 4}, "max": {"memory-size": 2048, "cpu-count": 8}}
    policy = {"minmax": [small, large]}
    assert broken(policy, memory=128, vcpus=1) == broken(policy, memory=2048, vcpus=8) == []
    assert broken(policy, memory=1500, vcpus=3) == ["cpu-count of 3 is below the minimum of 4"]


@given(memory=st.integers(0, 10000), vcpus=st.integers(0, 10), sizes=st.lists(st.integers(0, 70000), max_size=6))
def test_what_breaks_no_bound_lies_within_all(memory: int, vcpus: int, sizes: list[int]) -> None:
    inside = 64 <= memory <= 8192 and 1 <= vcpus <= 8 and 1 <= len(sizes) <= 4 and all(4 <= size <= 65536 for size in sizes)
    assert (broken(memory=memory, vcpus=vcpus, disks=tuple(sizes)) == []) is inside


def test_a_group_s_policy_takes_the_place_of_the_cluster_s_key_by_key() -> None:
    cluster = FakeCluster()
    cluster.change(cluster.config.find_group("default"), ipolicy={"disk-templates": ["plain"]})
    group = cluster.config.find_group("default")
    policy = ipolicy.policy_of(cluster.config, group)
    assert policy["disk-templates"] == ["plain"] and policy["minmax"] == POLICY["minmax"]
    text = ipolicy.describe(cluster.config, group, SPEC)
    assert text.startswith("it does not fit the instance policy of node group default (disk template sharedfile")


def test_the_spec_of_an_instance_is_what_it_has() -> None:
    cluster = FakeCluster()
    instance = created(cluster, beparams={"memory": 256, "vcpus": 2}, disks=[{"size": 8}, {"size": 16}], nics=[{}, {}])
    spec = ipolicy.spec_of(cluster.config, instance, cluster.config.disks_of(instance))
    assert spec == ipolicy.Spec(256, 2, (8, 16), 2, 1, DiskTemplate.SHAREDFILE)
    assert ipolicy.describe(cluster.config, cluster.config.groups[0], spec) == ""
