"""Identifiers. All are text; the types keep them apart."""

from __future__ import annotations

import uuid
from typing import NewType

NodeUuid = NewType("NodeUuid", str)
GroupUuid = NewType("GroupUuid", str)
InstanceUuid = NewType("InstanceUuid", str)
DiskUuid = NewType("DiskUuid", str)
NetworkUuid = NewType("NetworkUuid", str)
JobId = NewType("JobId", int)


def new_uuid() -> str:
    """A fresh random UUID in its usual text form."""
    return str(uuid.uuid4())
