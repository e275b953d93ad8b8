"""Whether hypervisor parameters can work: by themselves, with a certain QEMU, and with what lies on this node.

Each check yields sentences that say what is wrong and what to do; none means that all is well.
"""

from __future__ import annotations

import ipaddress
import os
import shlex
from collections.abc import Callable, Iterable, Iterator

from ganeti.base.errors import HypervisorError
from ganeti.model.objects import Params
from ganeti.node.hypervisor.kvm import layout, periphery, pinning, security
from ganeti.node.hypervisor.kvm.accel import Accelerator, KvmFlag
from ganeti.node.hypervisor.kvm.capabilities import Capabilities
from ganeti.node.hypervisor.kvm.command import URL_DRIVERS
from ganeti.node.hypervisor.kvm.devices import PciSlot

SCSI_TYPES = ("scsi", "scsi-block", "scsi-cd", "scsi-generic", "scsi-hd")

CHOICES: dict[str, tuple[object, ...]] = {
    "boot_order": ("cdrom", "disk", "floppy", "network"),
    "cdrom_disk_type": ("", *layout.MEDIUM_DRIVERS, "scsi-cd"),
    "disk_aio": ("io_uring", "native", "threads"),
    "disk_cache": ("default", "none", "writeback", "writethrough"),
    "disk_discard": ("ignore", "unmap"),
    "disk_type": ("ide", "mtd", "paravirtual", "pflash", "sd", *SCSI_TYPES),
    "kvm_flag": tuple(map(str, KvmFlag)),
    "migration_mode": ("live", "non-live"),
    "nic_type": ("e1000", "i82551", "i82557b", "i82559er", "ne2k_isa", "ne2k_pci", "paravirtual", "pcnet", "rtl8139"),
    "reboot_behavior": ("exit", "reboot"),
    "scsi_controller_type": ("dc390", "lsi", "megasas", "virtio-scsi-pci"),
    "security_model": ("none", "pool", "user"),
    "serial_speed": (
        75, 110, 300, 600, 1200, 1800, 2400, 4800, 9600, 14400, 19200, 28800, 38400, 57600, 115200, 230400, 345600, 460800,
    ),
    "spice_image_compression": ("", "auto_glz", "auto_lz", "glz", "lz", "off", "quic"),
    "spice_ip_version": (0, 4, 6),
    "spice_jpeg_wan_compression": ("", "always", "auto", "never"),
    "spice_streaming_video": ("", "all", "filter", "off"),
    "spice_zlib_glz_wan_compression": ("", "always", "auto", "never"),
    "usb_mouse": ("", "mouse", "tablet"),
}  # fmt: skip

RANGES = {
    "kvm_pci_reservations": (0, layout.SLOTS - 1),
    "migration_port": (1, 65535),
    "migration_bandwidth": (1, 1024 * 1024),
    "migration_downtime": (1, 2_000_000),
    "virtio_net_queues": (1, 32),
    "cpu_cores": (0, 512),
    "cpu_sockets": (0, 512),
    "cpu_threads": (0, 512),
}

SPICE_ONLY = (
    "spice_ip_version", "spice_password_file", "spice_image_compression", "spice_jpeg_wan_compression",
    "spice_zlib_glz_wan_compression", "spice_streaming_video", "spice_use_tls",
)  # fmt: skip


def check_parameters(hv: Params) -> Iterator[str]:
    """Values by themselves."""
    for name, choices in CHOICES.items():
        if hv[name] not in choices:
            yield f"{name} must be one of {_list(choices)}, not {hv[name]!r}"
    for name, (least, most) in RANGES.items():
        if not least <= hv[name] <= most:
            yield f"{name} must be between {least} and {most}, not {hv[name]}"
    yield from _check_boot(hv)
    yield from _check_storage(hv)
    yield from _check_displays(hv)
    if hv["security_model"] == "user" and not hv["security_domain"]:
        yield "security_model is 'user', but security_domain does not name one"
    if hv["security_model"] != "user" and hv["security_domain"]:
        yield "security_domain is only of use if security_model is 'user'"
    yield from _check_composed(hv)


def _check_boot(hv: Params) -> Iterator[str]:
    if hv["kernel_path"] and not hv["root_path"] and not hv["initrd_path"] and not hv["kernel_args"]:
        yield "kernel_path is set, so root_path, initrd_path or kernel_args has to say where the guest's system is"
    if hv["initrd_path"] and not hv["kernel_path"]:
        yield "initrd_path is of no use without kernel_path"
    if hv["boot_order"] == "cdrom" and not hv["cdrom_image_path"]:
        yield "boot_order is 'cdrom', but cdrom_image_path names none"
    if hv["boot_order"] == "floppy" and not hv["floppy_image_path"]:
        yield "boot_order is 'floppy', but floppy_image_path names none"


def _check_storage(hv: Params) -> Iterator[str]:
    if hv["disk_aio"] == "native" and hv["disk_cache"] in ("writeback", "writethrough"):
        yield "disk_aio 'native' works only without the node's cache; set disk_cache to none or default"
    if hv["virtio_net_queues"] > 1 and hv["nic_type"] != "paravirtual":
        yield "virtio_net_queues above 1 needs nic_type 'paravirtual'"


def _check_displays(hv: Params) -> Iterator[str]:
    if hv["vnc_bind_address"] and hv["spice_bind"]:
        yield "a guest has one display: set either vnc_bind_address or spice_bind to ''"
    address = hv["vnc_bind_address"]
    if address and not address.startswith("/") and not _is_address(address):
        yield f"vnc_bind_address must be an IP address, or a directory for a Unix socket, not '{address}'"
    if hv["vnc_x509_verify"] and not hv["vnc_x509_path"]:
        yield "vnc_x509_verify needs certificates; set vnc_x509_path to their directory"
    if not hv["spice_bind"]:
        for name in SPICE_ONLY:
            if hv[name]:
                yield f"{name} is of no use without spice_bind"


def _check_composed(hv: Params) -> Iterator[str]:
    """Parameters with a syntax of their own."""
    parsers: dict[str, Callable[[], object]] = {
        "cpu_mask": lambda: pinning.parse_mask(hv["cpu_mask"]),
        "kvm_extra": lambda: shlex.split(hv["kvm_extra"]),
        "usb_devices": lambda: periphery.plan_usb({**hv, "usb_mouse": ""}),
        "soundhw": lambda: periphery.plan_sound(hv, PciSlot("", 0)),
        "vga": lambda: periphery.vga_driver(hv),
    }
    for name, parse in parsers.items():
        try:
            parse()
        except HypervisorError as err:
            yield err.message
        except ValueError as err:  # of shlex
            yield f"{name} cannot be understood: {err}"


def check_capabilities(hv: Params, capabilities: Capabilities) -> Iterator[str]:
    """Values against what a QEMU can do."""
    try:
        layout.resolve_machine(hv["machine_version"], capabilities)
    except HypervisorError as err:
        yield err.message
    version = capabilities.text
    for name in parse_migration_capabilities(hv):
        if name not in capabilities.migration:
            known = ", ".join(sorted(capabilities.migration))
            yield f"QEMU {version} has no migration capability '{name}'; migration_caps may name: {known}"
    if capabilities.aio and hv["disk_aio"] not in capabilities.aio:
        yield f"QEMU {version} was built without disk_aio '{hv['disk_aio']}'"
    if hv["spice_bind"] and "query-spice" not in capabilities.commands:
        yield f"QEMU {version} was built without SPICE; set spice_bind to ''"


def parse_migration_capabilities(hv: Params) -> list[str]:
    """The names in ``migration_caps``, which are separated by colons."""
    return [name.strip() for name in hv["migration_caps"].split(":") if name.strip()]


def check_node(hv: Params, processors: Iterable[int]) -> Iterator[str]:
    """Values against the files, users and processors of this node."""
    for name in ("kernel_path", "initrd_path", "floppy_image_path", "cdrom_image_path", "cdrom2_image_path"):
        path = hv[name]
        is_url = path.partition("://")[0] in URL_DRIVERS
        if path and not is_url and not os.path.exists(path):
            yield f"{name} {path} does not exist on this node"
    for name in ("vnc_password_file", "spice_password_file"):
        wanted = hv["vnc_bind_address"] if name.startswith("vnc") else hv["spice_bind"]
        if wanted and hv[name] and not os.path.isfile(hv[name]):
            yield f"{name} {hv[name]} does not exist on this node"
    for name in ("vnc_x509_path", "mem_path"):
        if hv[name] and not os.path.isdir(hv[name]):
            yield f"{name} {hv[name]} is no directory on this node"
    if hv["security_model"] == "user" and hv["security_domain"]:
        try:
            security.check_domain(hv["security_domain"])
        except HypervisorError as err:
            yield err.message
    try:
        problem = pinning.check_mask(pinning.parse_mask(hv["cpu_mask"]), frozenset(processors))
    except HypervisorError:
        return  # said by `check_parameters`
    if problem:
        yield problem


def note_cpu(hv: Params, accelerator: Accelerator) -> str:
    """What a guest gets in place of the processor asked for; empty if it gets just that."""
    given = layout.resolve_cpu(hv["cpu_type"], accelerator)
    return "" if given == hv["cpu_type"] else f"cpu_type '{hv['cpu_type']}' needs KVM; the guest gets '{given}'"


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _list(choices: Iterable[object]) -> str:
    return ", ".join(repr(choice) if choice == "" else str(choice) for choice in choices)
