"""Each operation, interrupted at each of its effects: nothing is lost, nothing runs twice, and it can be tidied up.

An effect is a node call that changes something, or a commit. Each of them, in turn, fails; succeeds although its answer is lost;
is never reached because the worker is killed; or is the last thing the worker did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from ganeti.base.errors import Cancelled, GanetiError
from ganeti.model.enums import AdminState, DiskTemplate, RebootType
from ganeti.ops.base import Op
from ganeti.ops.instance.failover import InstanceFailover
from ganeti.ops.instance.migrate import InstanceMigrate
from ganeti.ops.instance.reboot import InstanceReboot
from ganeti.ops.instance.remove import InstanceRemove
from ganeti.ops.instance.shutdown import InstanceShutdown
from ganeti.ops.instance.startup import InstanceStartup
from ganeti.rpc.node.replies import RunState
from support.fakecluster import Died, FakeCluster, Fault
from support.instances import creating

TEMPLATES = (DiskTemplate.SHAREDFILE, DiskTemplate.FILE, DiskTemplate.DISKLESS)


@dataclass
class Story:
    """An operation on a cluster: what is there before, what is done, and what sets it right after an interruption."""

    name: str
    before: Callable[[FakeCluster], None]
    act: Callable[[], Op[Any, Any]]
    repair: Callable[[FakeCluster], None]
    failed_as_before: bool = False
    """After a failure (not a kill) the cluster is as it was, as far as guests, disks and configuration go."""


def make(template: DiskTemplate, **values: Any) -> Callable[[FakeCluster], None]:
    def before(cluster: FakeCluster) -> None:
        cluster.run(creating(disk_template=template, disks=_disks(template), **values))

    return before


def _disks(template: DiskTemplate) -> list[dict[str, str | int]]:
    return [] if template is DiskTemplate.DISKLESS else [{"size": 64}, {"size": 32}]


def dead_primary(cluster: FakeCluster) -> None:
    make(DiskTemplate.SHAREDFILE)(cluster)
    uuid = cluster.uuid("node1")
    cluster.dead.add(uuid)
    cluster.node("node1").guests.clear()
    cluster.node("node1").assembled.clear()
    cluster.change_master("node3")
    cluster.change_node("node1", offline=True, master_candidate=False)


def remove_what_is_there(cluster: FakeCluster) -> None:
    if cluster.config.instances:
        cluster.run(InstanceRemove(instance_name="web"))
    assert cluster.config.instances == []


def clean_up(cluster: FakeCluster) -> None:
    cluster.run(InstanceMigrate(instance_name="web", cleanup=True))
    assert cluster.running_on("web") == [cluster.home_of("web")]


def again(op: Callable[[], Op[Any, Any]]) -> Callable[[FakeCluster], None]:
    def repair(cluster: FakeCluster) -> None:
        cluster.run(op())

    return repair


def bring_up(cluster: FakeCluster) -> None:
    cluster.run(InstanceStartup(instance_name="web"))
    assert cluster.running_on("web") == [cluster.home_of("web")]


def fail_over_or_start(cluster: FakeCluster) -> None:
    """What the operator does: the same again while it belongs to the dead node, else start it where it belongs."""
    if cluster.instance("web").primary_node == cluster.uuid("node1"):
        cluster.run(InstanceFailover(instance_name="web", target_node="node2"))
    else:
        bring_up(cluster)
    assert cluster.running_on("web") == ["node2"]


def stories() -> Iterator[Story]:
    for template in TEMPLATES:

        def create(template: DiskTemplate = template) -> Op[Any, Any]:
            return creating(disk_template=template, disks=_disks(template))

        yield Story(f"create {template}", lambda cluster: None, create, remove_what_is_there, failed_as_before=True)
        remove = lambda: InstanceRemove(instance_name="web")  # noqa: E731  # one line says it
        yield Story(f"remove {template}", make(template), remove, remove_what_is_there)
        start = lambda: InstanceStartup(instance_name="web")  # noqa: E731  # as above
        yield Story(f"start {template}", make(template, start=False), start, bring_up)
        stop = lambda: InstanceShutdown(instance_name="web")  # noqa: E731  # as above
        yield Story(f"stop {template}", make(template), stop, again(stop))
        for kind in RebootType:
            reboot = lambda kind=kind: InstanceReboot(instance_name="web", reboot_type=kind)  # noqa: E731  # as above
            yield Story(f"reboot {kind} {template}", make(template), reboot, bring_up)
    for template in (DiskTemplate.SHAREDFILE, DiskTemplate.DISKLESS):
        migrate = lambda: InstanceMigrate(instance_name="web")  # noqa: E731  # as above
        yield Story(f"migrate {template}", make(template), migrate, clean_up, failed_as_before=True)
        failover = lambda: InstanceFailover(instance_name="web", target_node="node2")  # noqa: E731  # as above
        yield Story(f"failover {template}", make(template), failover, bring_up)
    yield Story("failover from a dead node", dead_primary, failover, fail_over_or_start)


STORIES = {story.name: story for story in stories()}
CASES = [(name, True) for name in STORIES] + [(name, False) for name in STORIES if name.startswith("migrate")]
"""Stories, each with whether guests that have arrived run at once, as QEMU's do."""


def effects_of(story: Story) -> list[str]:
    cluster = FakeCluster()
    story.before(cluster)
    return cluster.run(story.act()).effects.names


def picture(cluster: FakeCluster) -> Any:
    """What people would call the state of the cluster (without serial numbers and times)."""
    instances = [
        (inst.name, inst.primary_node, inst.admin_state, inst.disks_active, inst.forthcoming, inst.disks)
        for inst in cluster.config.instances
    ]
    guests = {node.name: {name: guest.state for name, guest in node.guests.items()} for node in cluster.nodes.values()}
    files = [sorted(cluster.shared.files), *(sorted(node.files) for node in cluster.nodes.values())]
    return instances, guests, files


@pytest.mark.parametrize("kind", ["fail", "lost", "die", "die-after"])
@pytest.mark.parametrize(("name", "runs_on_arrival"), CASES)
def test_an_interrupted_operation_loses_nothing_and_can_be_set_right(name: str, kind: str, runs_on_arrival: bool) -> None:
    story = STORIES[name]
    effects = effects_of(story)
    assert effects
    for at, effect in enumerate(effects, start=1):
        cluster = FakeCluster(runs_on_arrival=runs_on_arrival)
        story.before(cluster)
        before = picture(cluster)
        where = f"{name}: {kind} at effect {at} ({effect})"
        with pytest.raises((GanetiError, Died)):
            cluster.run(story.act(), Fault(at, kind))
        assert cluster.problems() == [], where
        if story.failed_as_before and not kind.startswith("die") and not has_moved(cluster):
            assert picture(cluster) == before, where
            assert cluster.leftovers() == [], where
        story.repair(cluster)
        assert cluster.problems() == cluster.leftovers() == [], where


def has_moved(cluster: FakeCluster) -> bool:
    """A migration that is complete goes forward, not back: then configuration and guest agree all the same."""
    moved = bool(cluster.config.instances) and cluster.running_on("web") not in ([], ["node1"])
    assert not moved or cluster.running_on("web") == [cluster.home_of("web")]
    return moved


@pytest.mark.parametrize("kind", ["fail", "lost"])
@pytest.mark.parametrize(("name", "runs_on_arrival"), CASES)
def test_when_everything_fails_from_one_effect_on_nothing_is_lost(name: str, kind: str, runs_on_arrival: bool) -> None:
    """Not even undoing is possible. Afterwards all works again."""
    story = STORIES[name]
    for at, effect in enumerate(effects_of(story), start=1):
        cluster = FakeCluster(runs_on_arrival=runs_on_arrival)
        story.before(cluster)
        with pytest.raises(GanetiError):
            cluster.run(story.act(), Fault(at, kind, lasts=True))
        assert cluster.problems() == [], f"{name}: {kind} from effect {at} ({effect}) on"
        story.repair(cluster)
        assert cluster.problems() == cluster.leftovers() == [], f"{name}: {kind} from effect {at} ({effect}) on"


def test_a_migration_that_is_cancelled_goes_back() -> None:
    cluster = FakeCluster()
    make(DiskTemplate.SHAREDFILE)(cluster)
    before = picture(cluster)
    with pytest.raises(Cancelled):
        cluster.run(InstanceMigrate(instance_name="web"), Fault(3, "cancel"))
    assert picture(cluster) == before
    assert cluster.problems() == cluster.leftovers() == []


def test_a_migration_that_completed_before_it_could_be_cancelled_goes_forward() -> None:
    cluster = FakeCluster()
    make(DiskTemplate.SHAREDFILE)(cluster)
    source = cluster.node("node1")

    def too_late(instance: Any) -> None:
        while source.migration_status(instance).status == "active":
            pass

    source.migration_cancel = too_late  # type: ignore[method-assign]  # this one node behaves differently
    with pytest.raises(Cancelled):
        cluster.run(InstanceMigrate(instance_name="web", target_node="node3"), Fault(3, "cancel"))
    assert cluster.instance("web").primary_node == cluster.uuid("node3")
    assert cluster.running_on("web") == ["node3"]
    assert cluster.problems() == cluster.leftovers() == []


def test_a_creation_that_is_cancelled_leaves_nothing() -> None:
    cluster = FakeCluster(prealloc_wipe_disks=True)
    with pytest.raises(Cancelled):
        cluster.run(creating(), Fault(1, "cancel"))
    assert cluster.config.instances == [] and cluster.shared.files == {}
    assert cluster.problems() == cluster.leftovers() == []


def test_a_source_that_dies_while_sending_leaves_both_sides_alone() -> None:
    cluster = FakeCluster()
    make(DiskTemplate.SHAREDFILE)(cluster)
    node1 = cluster.uuid("node1")
    source = cluster.nodes[node1]
    original = source.migration_status

    def dying(instance: Any) -> Any:
        cluster.dead.add(node1)
        return original(instance)

    source.migration_status = dying  # type: ignore[method-assign]  # this one node behaves differently
    with pytest.raises(GanetiError) as caught:
        cluster.run(InstanceMigrate(instance_name="web", target_node="node2"))
    assert any("migrate --cleanup" in note for note in caught.value.__notes__)
    assert cluster.node("node2").guests["web"].state is RunState.PAUSED
    del source.migration_status  # type: ignore[method-assign]  # as before
    cluster.dead.clear()
    clean_up(cluster)
    assert cluster.instance("web").admin_state is AdminState.UP
    assert cluster.problems() == cluster.leftovers() == []
