"""``cpu_mask``: which processors of the node a guest's virtual processors may use. Parsing is pure.

``all``; or a list of processors for all of them (``0-3,8``); or one list per virtual processor, separated by colons
(``0:1:2-3``), each of which may be ``all``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from ganeti.base.errors import HypervisorError

ALL = "all"

Mask = frozenset[int] | None
"""Processors; None: any."""


def parse_mask(text: str) -> tuple[Mask, ...]:
    """One mask for all virtual processors, or one for each. Raises `HypervisorError`."""
    return tuple(_parse_list(part.strip(), text) for part in text.split(":")) if text else (None,)


def _parse_list(part: str, text: str) -> Mask:
    if part == ALL:
        return None
    found: set[int] = set()
    for word in part.split(","):
        first, dash, last = word.strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()) or (dash and int(last) < int(first)):
            raise HypervisorError(f"cpu_mask '{text}' cannot be understood at '{word}'; write for example all, 0-3,8 or 0:1:2-3")
        found.update(range(int(first), int(last if dash else first) + 1))
    return frozenset(found)


def check_mask(masks: Sequence[Mask], available: frozenset[int]) -> str:
    """Whether the node has these processors: empty, or what is wrong."""
    missing = sorted({number for mask in masks if mask for number in mask} - available)
    return f"cpu_mask names processors that this node does not have: {', '.join(map(str, missing))}" if missing else ""


def plan_affinity(masks: Sequence[Mask], threads: Sequence[int]) -> Mapping[int, frozenset[int]]:
    """Processors by thread, for the threads of the virtual processors in order; threads that may run anywhere are left out.

    Raises `HypervisorError` if there are several masks, but not one for each virtual processor.
    """
    if len(masks) not in (1, len(threads)):
        raise HypervisorError(f"cpu_mask has {len(masks)} parts, but the guest has {len(threads)} virtual processors")
    each = tuple(masks) if len(masks) == len(threads) else tuple(masks) * len(threads)
    return {thread: mask for thread, mask in zip(threads, each, strict=True) if mask is not None}


def apply_affinity(plan: Mapping[int, frozenset[int]]) -> None:
    """Pin threads. Raises `HypervisorError`."""
    for thread, processors in plan.items():
        try:
            os.sched_setaffinity(thread, processors)
        except OSError as err:
            raise HypervisorError(
                f"cannot pin a virtual processor to processors {sorted(processors)}: {err.strerror}; correct cpu_mask"
            ) from err
