from __future__ import annotations

import pytest

from ganeti.base.errors import Code, PrereqError
from ganeti.model.locks import BGL, Locks
from ganeti.ops.tags.base import TagKind
from ganeti.ops.tags.delete import TagsDel
from ganeti.ops.tags.get import TagsGet
from ganeti.ops.tags.search import TagsSearch
from ganeti.ops.tags.set import TagsSet
from support.fakecluster import FakeCluster, locks_of
from support.instances import created


@pytest.fixture
def cluster() -> FakeCluster:
    cluster = FakeCluster()
    created(cluster)
    return cluster


OBJECTS: list[tuple[TagKind, str | None]] = [
    ("cluster", None),
    ("node", "node2"),
    ("nodegroup", "default"),
    ("instance", "web"),
]


@pytest.mark.parametrize(("kind", "name"), OBJECTS)
def test_tags_are_added_listed_and_removed(cluster: FakeCluster, kind: TagKind, name: str | None) -> None:
    cluster.run(TagsSet(kind=kind, name=name, tags=["b", "a"]))
    cluster.run(TagsSet(kind=kind, name=name, tags=["a", "c"]))
    assert cluster.run(TagsGet(kind=kind, name=name)).result == ["a", "b", "c"]
    cluster.run(TagsDel(kind=kind, name=name, tags=["a", "c"]))
    assert cluster.run(TagsGet(kind=kind, name=name, use_locking=True)).result == ["b"]


def test_tags_that_are_there_already_cost_no_commit(cluster: FakeCluster) -> None:
    cluster.run(TagsSet(kind="instance", name="web", tags=["a"]))
    assert cluster.run(TagsSet(kind="instance", name="web", tags=["a"])).effects.names == []


def test_tags_are_found_by_pattern_with_the_path_of_their_object(cluster: FakeCluster) -> None:
    cluster.run(TagsSet(kind="instance", name="web", tags=["role:web", "x"]))
    cluster.run(TagsSet(kind="node", name="node2", tags=["role:host"]))
    cluster.run(TagsSet(kind="cluster", tags=["role:all"]))
    assert cluster.run(TagsSearch(pattern="^role:")).result == [
        ["/cluster", "role:all"],
        ["/nodes/node2.example.com", "role:host"],
        ["/instances/web", "role:web"],
    ]


@pytest.mark.parametrize("tag", ["", "no space", "a" * 129, "ü", "a\n"])
def test_what_is_no_tag_is_refused(cluster: FakeCluster, tag: str) -> None:
    with pytest.raises(PrereqError, match="is not a tag"):
        cluster.run(TagsSet(kind="cluster", tags=[tag]))


def test_tags_that_are_not_there_objects_that_are_not_and_bad_patterns_are_refused(cluster: FakeCluster) -> None:
    with pytest.raises(PrereqError, match="instance web has no tag a, b") as caught:
        cluster.run(TagsDel(kind="instance", name="web", tags=["b", "a"]))
    assert caught.value.code == Code.NOENT
    with pytest.raises(PrereqError, match="node 'node9' is not known"):
        cluster.run(TagsGet(kind="node", name="node9"))
    with pytest.raises(PrereqError, match="the name of the node is missing"):
        cluster.run(TagsGet(kind="node"))
    with pytest.raises(PrereqError, match="is not a regular expression"):
        cluster.run(TagsSearch(pattern="("))


def test_an_object_cannot_have_too_many(cluster: FakeCluster) -> None:
    cluster.run(TagsSet(kind="cluster", tags=[f"t{number}" for number in range(4096)]))
    with pytest.raises(PrereqError, match="cannot have more than 4096 tags"):
        cluster.run(TagsSet(kind="cluster", tags=["more"]))


def test_the_object_is_locked_and_nothing_for_reading(cluster: FakeCluster) -> None:
    assert locks_of(TagsSet(kind="instance", name="web", tags=["a"]), cluster.config)["exclusive instance"] == ["web"]
    assert TagsSet(kind="cluster", tags=["a"]).locks(cluster.config).exclusive == {BGL}
    assert TagsGet(kind="cluster").locks(cluster.config) == Locks.none()
