from __future__ import annotations

import pytest

from ganeti.base.errors import HypervisorError
from ganeti.node.net.vlan import Vlan, parse_vlan


@pytest.mark.parametrize(
    ("text", "vlan"),
    [
        ("", None),
        ("100", Vlan(100)),
        (".100", Vlan(100)),
        (":100:200", Vlan(None, (100, 200))),
        (".100:200:300", Vlan(100, (200, 300))),
        ("4094", Vlan(4094)),
    ],
)
def test_setting_is_understood(text: str, vlan: Vlan | None) -> None:
    assert parse_vlan(text) == vlan


@pytest.mark.parametrize("text", ["x", ".", "1,2", ":", "0", ".4095", ":1:", "-1", "1.2"])
def test_strange_setting_is_refused(text: str) -> None:
    with pytest.raises(HypervisorError, match="VLAN"):
        parse_vlan(text)
