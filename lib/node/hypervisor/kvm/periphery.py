"""Display, sound and USB of a guest, from its parameters. Pure."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import Any

from ganeti.base.errors import HypervisorError
from ganeti.model.objects import Params
from ganeti.node.hypervisor.kvm.devices import BusPort, Device, PciSlot, Spice

VGA_DRIVERS = {
    "std": "VGA",
    "cirrus": "cirrus-vga",
    "vmware": "vmware-svga",
    "qxl": "qxl-vga",
    "virtio": "virtio-vga",
    "none": "",
}

SOUND_DRIVERS = {"ac97": "AC97", "es1370": "ES1370", "sb16": "sb16", "adlib": "adlib", "cs4231a": "cs4231a", "gus": "gus"}
PCI_SOUND = frozenset({"AC97", "ES1370"})

USB_DRIVERS = {
    "tablet": "usb-tablet",
    "mouse": "usb-mouse",
    "keyboard": "usb-kbd",
    "wacom-tablet": "usb-wacom-tablet",
    "ccid": "usb-ccid",
}

SPICE_OPTIONS = {
    "spice_image_compression": "image-compression",
    "spice_jpeg_wan_compression": "jpeg-wan-compression",
    "spice_zlib_glz_wan_compression": "zlib-glz-wan-compression",
    "spice_streaming_video": "streaming-video",
}


def vga_driver(hv: Params) -> str:
    """The graphics card; none unless one is asked for or needed by a display."""
    wanted = hv["vga"]
    if not wanted:
        if hv["vnc_bind_address"]:
            return "VGA"
        return "qxl-vga" if hv["spice_bind"] else ""
    if wanted not in VGA_DRIVERS:
        raise HypervisorError(f"there is no graphics card '{wanted}'; set vga to one of: {', '.join(VGA_DRIVERS)}")
    return VGA_DRIVERS[wanted]


def has_spice_agent(hv: Params) -> bool:
    """Whether the guest gets a port for SPICE's agent (clipboard, mouse, resolution)."""
    return bool(hv["spice_bind"] and not hv["vnc_bind_address"] and hv["spice_use_vdagent"])


def plan_spice(hv: Params, port: int) -> Spice:
    """The server, from the parameters ``spice_*``."""
    options = {option: hv[name] for name, option in SPICE_OPTIONS.items() if hv[name]}
    options["playback-compression"] = "on" if hv["spice_playback_compression"] else "off"
    if hv["spice_use_tls"] and hv["spice_tls_ciphers"]:
        options["tls-ciphers"] = hv["spice_tls_ciphers"]
    return Spice(
        address=hv["spice_bind"],
        port=port,
        ip_version=hv["spice_ip_version"],
        password_file=hv["spice_password_file"],
        tls=hv["spice_use_tls"],
        options=options,
        agent=has_spice_agent(hv),
    )


def plan_sound(hv: Params, slot: PciSlot) -> list[Device]:
    """Sound cards of ``soundhw``, a list separated by commas; one of them may be on the PCI bus."""
    wanted = [name.strip() for name in hv["soundhw"].split(",") if name.strip()]
    found: list[Device] = []
    on_pci = [name for name in wanted if name == "hda" or SOUND_DRIVERS.get(name) in PCI_SOUND]
    if len(on_pci) > 1:
        raise HypervisorError(f"soundhw asks for {' and '.join(on_pci)}, but a guest has one PCI sound card; keep one of them")
    audio = {"audiodev": "audio"}
    for name in wanted:
        if name == "hda":
            found.append(Device(driver="intel-hda", id="sound", address=slot))
            found.append(Device(driver="hda-duplex", id="sound-codec", address=BusPort("sound.0"), properties=audio))
        elif name in SOUND_DRIVERS:
            driver = SOUND_DRIVERS[name]
            is_pci = driver in PCI_SOUND
            ident = "sound" if is_pci else f"sound-{name}"
            found.append(Device(driver=driver, id=ident, address=slot if is_pci else None, properties=audio))
        else:
            raise HypervisorError(f"there is no sound card '{name}'; soundhw knows: hda, {', '.join(SOUND_DRIVERS)}")
    return found


@dataclass(frozen=True)
class Usb:
    """USB devices, and the files behind those that are disks, by block node."""

    devices: list[Device] = field(default_factory=list)
    images: dict[str, str] = field(default_factory=dict)


def plan_usb(hv: Params) -> Usb:
    """What is plugged in: the pointer of ``usb_mouse``, then ``usb_devices``, separated by spaces or commas."""
    usb = Usb()
    if hv["usb_mouse"]:
        if hv["usb_mouse"] not in ("mouse", "tablet"):
            raise HypervisorError(f"usb_mouse must be mouse or tablet, not '{hv['usb_mouse']}'")
        _add(usb, USB_DRIVERS[hv["usb_mouse"]], {})
    for word in shlex.split(hv["usb_devices"].replace(",", " ")):
        _add_described(usb, word)
    return usb


def _add_described(usb: Usb, word: str) -> None:
    name, _, detail = word.partition(":")
    if name in USB_DRIVERS and not detail:
        _add(usb, USB_DRIVERS[name], {})
    elif name == "host" and detail:
        _add(usb, "usb-host", _host_device(word, detail))
    elif name == "disk" and detail:
        node = f"usb-disk{len(usb.images)}"
        usb.images[node] = detail.rpartition(":")[2]
        _add(usb, "usb-storage", {"drive": node})
    else:
        known = ", ".join(USB_DRIVERS)
        raise HypervisorError(
            f"there is no USB device '{word}'; usb_devices knows: {known}, disk:FILE, host:BUS.ADDRESS, host:VENDOR:PRODUCT"
        )


def _host_device(word: str, detail: str) -> dict[str, Any]:
    try:
        if ":" in detail:
            vendor, product = detail.split(":")
            return {"vendorid": int(vendor, 16), "productid": int(product, 16)}
        bus, address = detail.split(".")
        return {"hostbus": int(bus), "hostaddr": int(address)}
    except ValueError:
        raise HypervisorError(f"'{word}' names no USB device; write host:BUS.ADDRESS or host:VENDOR:PRODUCT") from None


def _add(usb: Usb, driver: str, properties: dict[str, Any]) -> None:
    ident = f"usb-device{len(usb.devices)}"
    usb.devices.append(Device(driver=driver, id=ident, address=BusPort("usb.0"), properties=properties))
