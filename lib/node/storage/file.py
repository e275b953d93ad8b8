"""Disks as files on this node."""

from __future__ import annotations

from ganeti.model.enums import DiskTemplate
from ganeti.node.imagefile import ImageDevice


class FileDevice(ImageDevice):
    """Sparse files below the cluster's file storage directory."""

    template = DiskTemplate.FILE
    kind = "file"
    key = "file_storage_dir"
