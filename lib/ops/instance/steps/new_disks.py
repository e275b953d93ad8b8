"""Disks of a new instance: from what people ask for to disk objects. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ganeti.base.errors import Code, PrereqError
from ganeti.base.text import parse_size
from ganeti.model.enums import DiskMode, DiskTemplate
from ganeti.model.ids import DiskUuid, NodeUuid, new_uuid
from ganeti.model.objects import Cluster, Disk

MAX_DISKS = 16
DEFAULT_DRIVER = "loop"
SUPPORTED = (DiskTemplate.SHAREDFILE, DiskTemplate.FILE, DiskTemplate.DISKLESS)

_WHERE_USED = {
    "adopt": "only templates plain and blockdev can adopt volumes",
    "vg": "only templates plain and drbd use volume groups",
    "metavg": "only template drbd has meta data volumes",
    "spindles": "it needs exclusive storage, which only template plain has",
    "access": "only templates rbd, gluster and ext have an access mode",
    "provider": "only template ext has providers",
    "dev_type": "the type of a disk is that of its template",
}


@dataclass(frozen=True)
class WantedDisk:
    """One disk as asked for, checked. `size` is MiB."""

    size: int
    mode: DiskMode = DiskMode.READ_WRITE
    name: str | None = None


def check_template(cluster: Cluster, template: DiskTemplate) -> None:
    """`PrereqError` unless instances with this template can be made on this cluster."""
    if template not in cluster.enabled_disk_templates:
        enabled = ", ".join(map(str, cluster.enabled_disk_templates))
        raise PrereqError(f"disk template {template} is not enabled on this cluster (enabled: {enabled})", Code.INVAL)
    if template not in SUPPORTED:
        listed = ", ".join(map(str, SUPPORTED))
        raise PrereqError(f"disk template {template} is not supported yet (supported: {listed})", Code.INVAL)


def check_disks(template: DiskTemplate, asked: Sequence[Mapping[str, str | int]]) -> list[WantedDisk]:
    """The disks asked for; `PrereqError` naming the disk and what is wrong with it."""
    if template is DiskTemplate.DISKLESS and asked:
        raise PrereqError("an instance with template diskless has no disks; leave them out or choose a template", Code.INVAL)
    if template is not DiskTemplate.DISKLESS and not asked:
        raise PrereqError(f"an instance with template {template} needs at least one disk; give its size", Code.INVAL)
    if len(asked) > MAX_DISKS:
        raise PrereqError(f"an instance can have {MAX_DISKS} disks at most, not {len(asked)}", Code.INVAL)
    wanted = [_check_disk(f"disk/{index}", entry) for index, entry in enumerate(asked)]
    names = [disk.name for disk in wanted if disk.name]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise PrereqError(f"several disks are called {', '.join(twice)}", Code.NOTUNIQUE)
    return wanted


def _check_disk(label: str, entry: Mapping[str, str | int]) -> WantedDisk:
    for key in entry:
        if key in _WHERE_USED:
            raise PrereqError(f"{label}: parameter {key} cannot be used: {_WHERE_USED[key]}", Code.INVAL)
        if key not in ("size", "mode", "name"):
            raise PrereqError(f"{label}: there is no parameter {key}; a disk has size, mode and name", Code.INVAL)
    if "size" not in entry:
        raise PrereqError(f"{label}: the size is missing", Code.INVAL)
    size = entry["size"] if isinstance(entry["size"], int) else parse_size(entry["size"])
    if size <= 0:
        raise PrereqError(f"{label}: the size must be more than 0, not {entry['size']}", Code.INVAL)
    try:
        mode = DiskMode(str(entry.get("mode", DiskMode.READ_WRITE)))
    except ValueError:
        raise PrereqError(f"{label}: the mode must be rw or ro, not {entry['mode']}", Code.INVAL) from None
    name = str(entry.get("name", "none"))
    return WantedDisk(size, mode, None if name.lower() == "none" or not name else name)


def check_file_options(template: DiskTemplate, driver: str | None, directory: str | None) -> str:
    """The file driver; `PrereqError` if options of file-based disks do not fit the template."""
    if not template.is_file_based:
        if driver is not None or directory is not None:
            raise PrereqError(
                f"a file driver or a file storage directory cannot be given for template {template}: its disks are not files",
                Code.INVAL,
            )
        return DEFAULT_DRIVER
    if driver not in (None, DEFAULT_DRIVER):
        raise PrereqError(f"file driver {driver} is only for Xen, which is not supported yet; use {DEFAULT_DRIVER}", Code.INVAL)
    if directory is not None:
        parts = directory.split("/")
        if directory.startswith("/") or any(part in ("", ".", "..") for part in parts):
            raise PrereqError(
                f"file storage directory '{directory}' must be a plain relative path below the cluster's directory", Code.INVAL
            )
    return DEFAULT_DRIVER


def storage_unit(cluster: Cluster, template: DiskTemplate) -> tuple[str, str] | None:
    """The storage unit, [kind, name], that holds disks of a template (None: there is none)."""
    directory = _base_directory(cluster, template)
    return (str(template), directory) if directory else None


def needed_space(cluster: Cluster, template: DiskTemplate, disks: Sequence[WantedDisk]) -> dict[tuple[str, str], int]:
    """MiB that the disks take, by storage unit, where the space has to be there at once.

    Shared files grow as they are filled, on storage that is not a node's own, so nothing is asked for them.
    """
    unit = storage_unit(cluster, template)
    return {unit: sum(disk.size for disk in disks)} if unit and template is DiskTemplate.FILE else {}


def _base_directory(cluster: Cluster, template: DiskTemplate) -> str:
    if template is DiskTemplate.FILE:
        return cluster.file_storage_dir
    return cluster.shared_file_storage_dir if template is DiskTemplate.SHAREDFILE else ""


def instance_directory(cluster: Cluster, template: DiskTemplate, below: str | None, instance: str) -> str:
    """Where the files of an instance lie; `PrereqError` if the cluster has no directory for the template."""
    base = _base_directory(cluster, template)
    if not base:
        raise PrereqError(f"the cluster has no directory for disks of template {template}", Code.STATE)
    return "/".join([base, *([below] if below else []), instance])


def build_disks(
    template: DiskTemplate, wanted: Sequence[WantedDisk], directory: str, driver: str, node: NodeUuid
) -> tuple[Disk, ...]:
    """The disk objects, still forthcoming. Only a disk of template file belongs to a node; a shared one to none."""
    result = []
    for index, disk in enumerate(wanted):
        uuid = new_uuid()
        result.append(
            Disk(
                uuid=DiskUuid(uuid),
                dev_type=template,
                logical_id=(driver, f"{directory}/{new_uuid()}.file.disk{index}"),
                size=disk.size,
                nodes=(node,) if template is DiskTemplate.FILE else (),
                iv_name=f"disk/{index}",
                mode=disk.mode,
                name=disk.name,
                forthcoming=True,
            )
        )
    return tuple(result)
