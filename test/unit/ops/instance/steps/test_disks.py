from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ganeti.model.enums import DiskTemplate
from ganeti.ops.instance.steps import disks, new_disks
from support.fakecluster import FakeCluster
from support.instances import created


@given(st.integers(1, 100_000))
def test_chunks_cover_a_disk_exactly(size: int) -> None:
    pieces = list(disks.chunks(size))
    assert [offset for offset, _ in pieces] == [sum(length for _, length in pieces[:index]) for index in range(len(pieces))]
    assert sum(length for _, length in pieces) == size
    assert all(0 < length <= disks.WIPE_CHUNK for _, length in pieces)


def test_data_that_all_nodes_see_can_be_removed_by_another_node() -> None:
    cluster = FakeCluster()
    cluster.change_master("node3")
    shared = created(cluster, "shared", pnode="node1")
    local = created(cluster, "local", pnode="node1", disk_template=DiskTemplate.FILE)
    assert disks.reachable_holder(cluster.config, shared) == cluster.config.find_node("node1")
    cluster.change_node("node1", offline=True, master_candidate=False)
    assert disks.reachable_holder(cluster.config, shared) == cluster.config.find_node("node2")
    assert disks.reachable_holder(cluster.config, local) is None


def test_space_is_needed_at_once_for_files_of_a_node_only() -> None:
    cluster = FakeCluster().config.cluster
    wanted = [new_disks.WantedDisk(100), new_disks.WantedDisk(28)]
    assert new_disks.needed_space(cluster, DiskTemplate.FILE, wanted) == {("file", "/srv/ganeti/file-storage"): 128}
    assert new_disks.needed_space(cluster, DiskTemplate.SHAREDFILE, wanted) == {}
    assert new_disks.needed_space(cluster, DiskTemplate.DISKLESS, []) == {}
