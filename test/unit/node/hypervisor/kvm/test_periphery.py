from __future__ import annotations

from typing import Any

import pytest

from ganeti.base.errors import HypervisorError
from ganeti.node.hypervisor.kvm.devices import PciSlot
from ganeti.node.hypervisor.kvm.layout import DEFAULTS
from ganeti.node.hypervisor.kvm.periphery import has_spice_agent, plan_sound, plan_usb, vga_driver

SLOT = PciSlot("pci.0", 8)


def hv(**values: Any) -> dict[str, Any]:
    return {**DEFAULTS, **values}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, ""),
        ({"vnc_bind_address": "::1"}, "VGA"),
        ({"spice_bind": "::1"}, "qxl-vga"),
        ({"spice_bind": "::1", "vga": "std"}, "VGA"),
        ({"vnc_bind_address": "::1", "vga": "none"}, ""),
    ],
)
def test_graphics_card_is_there_if_needed(values: dict[str, Any], expected: str) -> None:
    assert vga_driver(hv(**values)) == expected


@pytest.mark.parametrize("values", [{"vga": "voodoo"}])
def test_unknown_graphics_card_is_an_error(values: dict[str, Any]) -> None:
    with pytest.raises(HypervisorError, match="std, cirrus"):
        vga_driver(hv(**values))


def test_agent_of_spice_is_there_with_spice_only() -> None:
    assert has_spice_agent(hv(spice_bind="::1"))
    assert not has_spice_agent(hv(spice_bind="::1", spice_use_vdagent=False))
    assert not has_spice_agent(hv(spice_bind="::1", vnc_bind_address="::1"))
    assert not has_spice_agent(hv())


def test_one_sound_card_may_be_on_pci() -> None:
    assert [device.driver for device in plan_sound(hv(soundhw="hda,sb16"), SLOT)] == ["intel-hda", "hda-duplex", "sb16"]
    with pytest.raises(HypervisorError, match="hda and ac97"):
        plan_sound(hv(soundhw="hda,ac97"), SLOT)


def test_unknown_sound_card_is_an_error() -> None:
    with pytest.raises(HypervisorError, match="no sound card 'kazoo'.*ac97"):
        plan_sound(hv(soundhw="kazoo"), SLOT)


def test_usb_devices_are_separated_by_spaces_or_commas() -> None:
    usb = plan_usb(hv(usb_mouse="tablet", usb_devices="keyboard,disk:/a disk:/b"))
    assert [device.driver for device in usb.devices] == ["usb-tablet", "usb-kbd", "usb-storage", "usb-storage"]
    assert usb.images == {"usb-disk0": "/a", "usb-disk1": "/b"}


def test_devices_of_the_host_are_named_by_place_or_by_kind() -> None:
    place, kind = plan_usb(hv(usb_devices="host:1.2 host:04f2:b5ce")).devices
    assert place.properties == {"hostbus": 1, "hostaddr": 2}
    assert kind.properties == {"vendorid": 0x04F2, "productid": 0xB5CE}


@pytest.mark.parametrize("word", ["toaster", "host", "host:abc", "host:zz:1", "disk", "tablet:1"])
def test_unknown_usb_device_is_an_error_that_names_it(word: str) -> None:
    with pytest.raises(HypervisorError, match=word):
        plan_usb(hv(usb_devices=word))


def test_pointer_must_be_one() -> None:
    with pytest.raises(HypervisorError, match="mouse or tablet"):
        plan_usb(hv(usb_mouse="cat"))
