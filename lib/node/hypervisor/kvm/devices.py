"""The device model of a guest: everything that the guest can see of its machine, and nothing of the node it runs on.

It is decided once, at the first start (`layout`), kept with the running guest (`runtime`), and handed to the target of a
migration, so that both ends build the same machine from it (`command`). Driver names and properties are QEMU's
(``-device help``); sizes are MiB.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from ganeti.node.hypervisor.kvm.accel import Accelerator


@dataclass(frozen=True)
class PciSlot:
    """A slot of a PCI bus."""

    bus: str
    slot: int
    kind: Literal["pci"] = "pci"


@dataclass(frozen=True)
class ScsiUnit:
    """A target of the SCSI controller."""

    bus: str
    channel: int
    target: int
    lun: int
    kind: Literal["scsi"] = "scsi"


@dataclass(frozen=True)
class BusPort:
    """A place on any other bus: a unit of an IDE channel, a port of a USB controller, an SD slot."""

    bus: str
    unit: int | None = None
    kind: Literal["bus"] = "bus"


Address = PciSlot | ScsiUnit | BusPort


@dataclass(frozen=True, kw_only=True)
class Device:
    """A device without a connection to the node's disks or network: a controller, a graphics card, a port."""

    driver: str
    id: str
    address: Address | None = None
    properties: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Disk:
    """A disk. `driver` "pflash" and "mtd" are not devices but legacy drives (``-drive if=``)."""

    id: str
    uuid: str
    driver: str
    address: Address | None
    read_only: bool = False
    cache: str = "default"
    aio: str = "threads"
    discard: str = "ignore"
    boot_index: int | None = None


@dataclass(frozen=True, kw_only=True)
class Medium:
    """A CD-ROM: a path on the node, or a URL."""

    id: str
    driver: str
    address: Address
    source: str
    boot_index: int | None = None


@dataclass(frozen=True, kw_only=True)
class Nic:
    """A network card with `queues` pairs of queues."""

    id: str
    uuid: str
    driver: str
    mac: str
    address: Address | None
    queues: int = 1
    vhost: bool = False
    """Whether its packets shall be moved by the kernel, where the node can."""
    vnet_hdr: bool = False
    boot_index: int | None = None
    properties: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """A kernel that QEMU itself loads."""

    path: str
    initrd: str = ""
    arguments: str = ""


@dataclass(frozen=True, kw_only=True)
class Vnc:
    """A VNC server. `address` is an IP address, or a directory for a Unix socket."""

    address: str
    port: int | None
    password_file: str = ""
    tls: bool = False
    x509_directory: str = ""
    x509_verify: bool = False
    kind: Literal["vnc"] = "vnc"


@dataclass(frozen=True, kw_only=True)
class Spice:
    """A SPICE server. `options` are those of ``-spice`` beside the address."""

    address: str
    port: int
    ip_version: int = 0
    password_file: str = ""
    tls: bool = False
    options: dict[str, str] = field(default_factory=dict)
    agent: bool = False
    kind: Literal["spice"] = "spice"


@dataclass(frozen=True, kw_only=True)
class Model:
    """A whole guest."""

    name: str
    uuid: str
    machine: str
    """Versioned machine type: it must not change while the guest lives, whichever node it moves to."""
    machine_options: str = ""
    accelerator: Accelerator
    acpi: bool = True
    cpu: str = ""
    vcpus: int
    sockets: int = 0
    cores: int = 0
    threads: int = 0
    memory: int
    memory_path: str = ""
    kernel: Kernel | None = None
    local_time: bool = False
    reboots: bool = True
    """Whether a reboot inside the guest goes on in the same process; otherwise it ends the guest."""
    keymap: str = ""
    serial: bool = False
    guest_agent: bool = False
    sound: bool = False
    floppy: str = ""
    boots_from_floppy: bool = False
    display: Vnc | Spice | None = None
    devices: tuple[Device, ...] = ()
    media: tuple[Medium, ...] = ()
    disks: tuple[Disk, ...] = ()
    nics: tuple[Nic, ...] = ()
    usb_images: dict[str, str] = field(default_factory=dict)
    """Files behind USB disks, by the name of their block node."""
    extra: tuple[str, ...] = ()
    """Arguments of the operator's own (``kvm_extra``)."""

    @property
    def is_pci_express(self) -> bool:
        return is_pci_express(self.machine)


def is_pci_express(machine: str) -> bool:
    """Whether the machine's own bus is PCI Express."""
    return "q35" in machine or machine.startswith("virt")


def device_id(kind: Literal["disk", "nic"], uuid: str) -> str:
    """The id of a disk's or NIC's device: it stays the same over restarts and moves."""
    return f"{kind}-{'-'.join(uuid.split('-')[:-2])}"
