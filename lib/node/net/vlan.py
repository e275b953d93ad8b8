"""VLAN settings of a NIC: ``100`` or ``.100`` untagged in VLAN 100, ``:100:200`` tagged in several, ``.100:200`` both."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ganeti.base.errors import HypervisorError

_FORM = re.compile(r"(?:\.?(?P<untagged>\d+))?(?P<tagged>(?::\d+)*)")


@dataclass(frozen=True)
class Vlan:
    """VLANs of a bridge port; `untagged` (None: none) is that of frames without a tag."""

    untagged: int | None
    tagged: tuple[int, ...] = ()


def parse_vlan(text: str) -> Vlan | None:
    """The setting; None for an empty text. Raises `HypervisorError`."""
    if not text:
        return None
    found = _FORM.fullmatch(text)
    if found is None:
        raise HypervisorError(f"'{text}' is not a VLAN setting; write .100 (untagged), :100:200 (tagged) or .100:200 (both)")
    untagged = int(found["untagged"]) if found["untagged"] else None
    tagged = tuple(int(word) for word in found["tagged"].split(":") if word)
    for number in (*tagged, *(() if untagged is None else (untagged,))):
        if not 1 <= number <= 4094:
            raise HypervisorError(f"VLAN {number} in '{text}' is not between 1 and 4094")
    return Vlan(untagged, tagged)
