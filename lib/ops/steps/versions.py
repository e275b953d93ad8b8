"""Whether a node's agent fits the master: software, protocol, clock."""

from __future__ import annotations

from collections.abc import Iterator

from ganeti.rpc.node.replies import VersionReply

MAX_CLOCK_SKEW = 150.0
"""Seconds by which clocks may differ."""


def version_differences(own: VersionReply, other: VersionReply) -> Iterator[str]:
    """What of the versions differs; each a sentence's end."""
    if other.protocol != own.protocol:
        yield f"its agent speaks protocol {other.protocol}, the master {own.protocol}"
    elif other.software != own.software:
        yield f"it has version {other.software} of the software, the master {own.software}"


def clock_difference(before: float, theirs: float, after: float) -> str:
    """By how much a clock is off (empty: within bounds). `theirs` was read between `before` and `after`, in seconds."""
    off = max(before - theirs, theirs - after, 0.0)
    return f"its clock is {off:.1f} seconds off, more than the {MAX_CLOCK_SKEW:.0f} allowed" if off > MAX_CLOCK_SKEW else ""
