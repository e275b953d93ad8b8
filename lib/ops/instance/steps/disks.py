"""Making, assembling and removing an instance's disks on a node.

An undo is registered *before* its call: a call whose answer was lost may have been carried out all the same, and undoing
what was not done is harmless (every call used here says so).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ganeti.base.errors import ExecError, NodeError
from ganeti.model.config import Config
from ganeti.model.enums import DiskTemplate
from ganeti.model.filled import FilledDisk, fill_disk
from ganeti.model.ids import NodeUuid
from ganeti.model.objects import Disk, Instance, Node
from ganeti.ops.context import Context
from ganeti.rpc.node.blockdev import BlockdevApi

FILE_TEMPLATES = (DiskTemplate.FILE, DiskTemplate.SHAREDFILE)

WIPE_CHUNK = 1024
"""MiB that are overwritten by one call at most."""


def filled(config: Config, node: NodeUuid, disks: Iterable[Disk]) -> list[FilledDisk]:
    """The disks as that node needs them."""
    row = config.node(node)
    return [fill_disk(config, row, disk) for disk in disks]


def directories(disks: Iterable[Disk]) -> list[str]:
    """The directories that hold the files of these disks."""
    paths = [str(disk.logical_id[1]) for disk in disks if disk.dev_type in FILE_TEMPLATES]
    return sorted({path.rpartition("/")[0] for path in paths})


def create(ctx: Context, instance: Instance, disks: Sequence[Disk]) -> None:
    """Make the disks on the primary node. The caller registers `remove` as undo first."""
    node = instance.primary_node
    for directory in directories(disks):
        ctx.nodes.call(node, BlockdevApi.file_storage_prepare, directory)
    for disk in filled(ctx.config, node, disks):
        ctx.nodes.call(node, BlockdevApi.blockdev_create, disk, instance.name)


def remove(ctx: Context, node: NodeUuid, instance: Instance, disks: Sequence[Disk]) -> list[str]:
    """Remove the disks and their directories as far as possible; returns what failed."""
    failures = []
    for index, disk in enumerate(filled(ctx.config, node, disks)):
        try:
            ctx.nodes.call(node, BlockdevApi.blockdev_shutdown, disk, instance.name, index)
            ctx.nodes.call(node, BlockdevApi.blockdev_remove, disk)
        except NodeError as err:
            failures.append(f"{disk.iv_name} ({disk.logical_id[-1]}) could not be removed: {err}")
    for directory in directories(disks):
        try:
            ctx.nodes.call(node, BlockdevApi.file_storage_cleanup, directory)
        except NodeError as err:
            failures.append(f"directory {directory} could not be removed: {err}")
    return failures


def assemble(ctx: Context, instance: Instance, node: NodeUuid, disks: Sequence[Disk], *, undo: bool = True) -> list[str]:
    """Make the disks usable on a node; returns their paths. With `undo` they are shut down again if the operation fails."""
    if undo:
        ctx.undo.push(shut_down, ctx, instance, node, disks)
    return [
        ctx.nodes.call(node, BlockdevApi.blockdev_assemble, disk, instance.name, True, index)
        for index, disk in enumerate(filled(ctx.config, node, disks))
    ]


def shut_down(ctx: Context, instance: Instance, node: NodeUuid, disks: Sequence[Disk]) -> None:
    """Undo `assemble`. All disks are tried; `ExecError` if one could not be shut down."""
    failures = try_shut_down(ctx, instance, node, disks)
    if failures:
        raise ExecError(f"disks of instance {instance.name} could not be shut down: {'; '.join(failures)}")


def try_shut_down(ctx: Context, instance: Instance, node: NodeUuid, disks: Sequence[Disk]) -> list[str]:
    """Like `shut_down`, but returns what failed."""
    failures = []
    for index, disk in enumerate(filled(ctx.config, node, disks)):
        try:
            ctx.nodes.call(node, BlockdevApi.blockdev_shutdown, disk, instance.name, index)
        except NodeError as err:
            failures.append(f"{disk.iv_name}: {err}")
    return failures


def wipe(ctx: Context, node: NodeUuid, instance: Instance, disks: Sequence[Disk]) -> None:
    """Overwrite assembled disks with zeros, chunk by chunk, telling how far it is."""
    for disk in filled(ctx.config, node, disks):
        for offset, size in chunks(disk.size):
            ctx.nodes.call(node, BlockdevApi.blockdev_wipe, disk, offset, size)
            ctx.info(f"Wiping {disk.iv_name} of {instance.name}: {offset + size} of {disk.size} MiB")
            ctx.sleep(0)


def chunks(size: int) -> Iterator[tuple[int, int]]:
    """Pieces (offset, size) of a disk: at least ten of a large one, so that progress is seen."""
    step = max(1, min(WIPE_CHUNK, size // 10 or size))
    for offset in range(0, size, step):
        yield offset, min(step, size - offset)


def reachable_holder(config: Config, instance: Instance) -> Node | None:
    """A node that can remove the instance's disks: its primary node or, for data that all nodes see, another one online."""
    primary = config.node(instance.primary_node)
    if not primary.offline:
        return primary
    if not instance.disk_template.is_externally_mirrored:
        return None
    others = (node for node in config.nodes if node.group == primary.group and node.vm_capable and not node.offline)
    return next(others, None)
