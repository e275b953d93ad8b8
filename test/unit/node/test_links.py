from __future__ import annotations

import os
from pathlib import Path

import pytest

from ganeti.base.errors import HypervisorError
from ganeti.base.paths import Paths
from ganeti.node.links import DiskLinks
from support.filled import filled_disk, filled_instance


@pytest.fixture
def links(tmp_path: Path) -> DiskLinks:
    return DiskLinks(Paths(str(tmp_path)))


def test_link_points_to_the_device_and_may_be_made_again(links: DiskLinks, tmp_path: Path) -> None:
    link = links.make("i0.example.com", 0, "/dev/one")
    assert link == f"{tmp_path}/var/run/ganeti/instance-disks/i0.example.com:0"
    assert links.make("i0.example.com", 0, "/dev/two") == link
    assert os.readlink(link) == "/dev/two"
    assert os.listdir(os.path.dirname(link)) == ["i0.example.com:0"]


def test_removed_link_may_be_removed_again(links: DiskLinks) -> None:
    links.make("i0", 0, "/dev/one")
    links.remove("i0", 0)
    links.remove("i0", 0)
    assert not os.path.lexists(links.path("i0", 0))


def test_links_of_an_instance_are_in_order(links: DiskLinks, tmp_path: Path) -> None:
    for index in (0, 1):
        links.make("i0", index, str(tmp_path))
    instance = filled_instance(disks=(filled_disk(), filled_disk(uuid="e")))
    assert links.of(instance) == [links.path("i0", 0), links.path("i0", 1)]


def test_disk_that_is_not_assembled_is_named(links: DiskLinks, tmp_path: Path) -> None:
    links.make("i0", 0, str(tmp_path))
    links.make("i0", 1, str(tmp_path / "gone"))
    with pytest.raises(HypervisorError, match="disk/1 of instance i0 is not assembled"):
        links.of(filled_instance(disks=(filled_disk(), filled_disk(uuid="e"))))


@pytest.mark.parametrize("name", ["../etc", "a/b", "", ".hidden", "x" * 256, "a:b"])
def test_strange_names_are_refused(links: DiskLinks, name: str) -> None:
    with pytest.raises(HypervisorError, match="not the name of an instance"):
        links.make(name, 0, "/dev/one")
