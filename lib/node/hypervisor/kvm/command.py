"""From a device model and what the node puts behind it to QEMU's command line. Pure.

JSON wherever QEMU takes it, so that no value needs quoting. References: QEMU's manual page, ``qapi/block-core.json``,
``qapi/net.json``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from ganeti.base import codec
from ganeti.node.hypervisor.kvm.accel import Accelerator
from ganeti.node.hypervisor.kvm.capabilities import Capabilities
from ganeti.node.hypervisor.kvm.devices import (
    Address,
    BusPort,
    Device,
    Disk,
    Medium,
    Model,
    Nic,
    PciSlot,
    ScsiUnit,
    Spice,
    Vnc,
)
from ganeti.node.hypervisor.kvm.layout import VNC_BASE_PORT
from ganeti.node.hypervisor.kvm.places import GuestPlaces

URL_DRIVERS = ("http", "https", "ftp", "ftps")
MIB = 1024 * 1024


@dataclass(frozen=True)
class DiskBackend:
    """What is behind a disk on this node: a block device or a file."""

    path: str
    is_block: bool = False


@dataclass(frozen=True)
class NicBackend:
    """What is behind a NIC on this node: open queues of a tap device, as the new process will know them."""

    fds: tuple[int, ...]
    vhost: bool = False


@dataclass(frozen=True, kw_only=True)
class Node:
    """This node's side of a guest."""

    binary: str
    places: GuestPlaces
    disks: tuple[DiskBackend, ...] = ()
    nics: tuple[NicBackend, ...] = ()
    display_address: str = ""
    """Where VNC or SPICE listens."""
    spice_certificate: str = ""
    spice_authority: str = ""
    run_as: str = ""
    """A user's name, or ``uid:gid``; empty: stay root."""
    chroot: str = ""
    incoming: bool = False
    """Wait for the state of a migrating guest instead of starting one."""


EMULATED_EXTRA_KIB = 8
"""See `_ram`."""


def build_argv(model: Model, node: Node, capabilities: Capabilities) -> list[str]:
    """The command line. A fresh guest does not run before it is told to by QMP (``cont``)."""
    argv = [node.binary, "-name", f"guest={_escape(model.name)},debug-threads=on", "-uuid", model.uuid]
    argv += ["-no-user-config", "-nodefaults"]
    argv += _build_machine(model)
    argv += _build_boot(model)
    argv += _build_control(model, node)
    for device in model.devices:
        argv += _device(_describe_device(device))
    for backend, nic in zip(node.nics, model.nics, strict=True):
        argv += _build_nic(nic, backend)
    for source, disk in zip(node.disks, model.disks, strict=True):
        argv += _build_disk(disk, source)
    for medium in model.media:
        argv += _build_medium(medium)
    argv += _build_legacy(model)
    argv += _build_display(model, node)
    argv += _build_process(node, capabilities)
    argv += model.extra
    return [*argv, "-incoming", "defer"] if node.incoming else [*argv, "-S"]


# --- machine


def _build_machine(model: Model) -> list[str]:
    options = [model.machine]
    options += [] if model.acpi else ["acpi=off"]
    options += ["memory-backend=ram"] if model.memory_path else []
    options += [model.machine_options] if model.machine_options else []
    argv = ["-machine", ",".join(options), "-accel", str(model.accelerator)]
    argv += ["-cpu", model.cpu] if model.cpu else []
    topology = [("cpus", model.vcpus), ("sockets", model.sockets), ("cores", model.cores), ("threads", model.threads)]
    argv += ["-smp", ",".join(f"{word}={number}" for word, number in topology if number)]
    argv += ["-m", f"size={_ram(model)}"]
    if model.memory_path:
        argv += _object("memory-backend-file", "ram", {
            "size": model.memory * MIB, "mem-path": model.memory_path, "prealloc": True,
        })  # fmt: skip
    argv += ["-rtc", "base=localtime" if model.local_time else "base=utc"]
    # A guest that powers itself off is kept, stopped, until the agent has seen it: also if the agent is not there just now.
    return [*argv, "-action", "shutdown=pause" if model.reboots else "shutdown=pause,reboot=shutdown"]


def _ram(model: Model) -> str:
    """The guest's memory, as ``-m`` takes it.

    Emulated guests get two pages more. Before QEMU 9.0 (commit 03bfc2188f there) the emulator does not notice all writes to
    memory while a guest migrates, if the length of its memory is a multiple of 64 pages: pages are lost, and about one guest
    in six panics on its new node. Any other length takes QEMU's slower, correct path. It is done for every version, since
    both ends of a migration must have the same length.
    """
    if model.accelerator is Accelerator.TCG and not model.memory_path:
        return f"{model.memory * 1024 + EMULATED_EXTRA_KIB}K"
    return f"{model.memory}M"


def _build_boot(model: Model) -> list[str]:
    if model.kernel is None:
        return []
    argv = ["-kernel", model.kernel.path]
    argv += ["-initrd", model.kernel.initrd] if model.kernel.initrd else []
    return argv + (["-append", model.kernel.arguments] if model.kernel.arguments else [])


def _build_control(model: Model, node: Node) -> list[str]:
    """Monitors and everything else that devices refer to."""
    places = node.places
    argv = [*_socket("qmp-socket", places.qmp), "-mon", "chardev=qmp-socket,mode=control"]
    argv += [*_socket("monitor-socket", places.monitor), "-mon", "chardev=monitor-socket,mode=readline"]
    argv += _socket("serial-socket", places.serial) if model.serial else []
    argv += _socket("guest-agent-socket", places.guest_agent) if model.guest_agent else []
    if isinstance(model.display, Spice) and model.display.agent:
        argv += ["-chardev", "spicevmc,id=spice-agent-socket,name=vdagent"]
    if any(device.id == "rng" for device in model.devices):
        argv += _object("rng-random", "random", {"filename": "/dev/urandom"})
    if model.sound:
        argv += ["-audiodev", f"{'spice' if isinstance(model.display, Spice) else 'none'},id=audio"]
    for name, path in model.usb_images.items():
        argv += ["-blockdev", codec.dumps({"driver": "file", "node-name": name, "filename": path})]
    return argv


# --- devices


def _describe_device(device: Device) -> dict[str, Any]:
    return {"driver": device.driver, "id": device.id, **_place(device.address), **device.properties}


def _place(address: Address | None) -> dict[str, Any]:
    if isinstance(address, PciSlot):
        return {"bus": address.bus, "addr": f"{address.slot:#x}"}
    if isinstance(address, ScsiUnit):
        return {"bus": address.bus, "channel": address.channel, "scsi-id": address.target, "lun": address.lun}
    if isinstance(address, BusPort):
        return {"bus": address.bus} if address.unit is None else {"bus": address.bus, "unit": address.unit}
    return {}


def _build_nic(nic: Nic, backend: NicBackend) -> list[str]:
    netdev: dict[str, Any] = {"type": "tap", "id": f"net-{nic.id}"}
    if len(backend.fds) == 1:
        netdev["fd"] = str(backend.fds[0])
    else:
        netdev["fds"] = ":".join(map(str, backend.fds))
    if backend.vhost:
        netdev["vhost"] = True
    device: dict[str, Any] = {"driver": nic.driver, "id": nic.id, "netdev": netdev["id"], "mac": nic.mac}
    device |= {**_place(nic.address), **_boot(nic.boot_index), **nic.properties}
    if nic.queues > 1:
        # One interrupt for each direction of each pair, one for changes of the configuration, one for the control queue.
        device |= {"mq": True, "vectors": 2 * nic.queues + 2}
    return ["-netdev", codec.dumps(netdev), *_device(device)]


def _build_disk(disk: Disk, source: DiskBackend) -> list[str]:
    if disk.address is None:
        return _build_drive(disk, source)
    driver = "host_device" if source.is_block else "file"
    node: dict[str, Any] = {"driver": driver, "node-name": disk.id, "filename": source.path}
    node |= {"aio": disk.aio, "discard": disk.discard, **({"read-only": True} if disk.read_only else {})}
    if is_direct(disk):
        node["cache"] = {"direct": True}
    device = {"driver": disk.driver, "id": disk.id, **_place(disk.address), "drive": disk.id, **_boot(disk.boot_index)}
    if disk.cache == "writethrough" and disk.driver not in ("scsi-block", "scsi-generic", "scsi-cd"):
        device["write-cache"] = "off"
    return ["-blockdev", codec.dumps(node), *_device(device)]


def is_direct(disk: Disk) -> bool:
    """Whether the node's page cache is left out. The kernel's own asynchronous I/O works only so."""
    return disk.cache == "none" or (disk.cache == "default" and disk.aio == "native")


def _build_drive(disk: Disk, source: DiskBackend) -> list[str]:
    # Flash memory is part of the board: there is no -device for it.
    words = [f"if={disk.driver}", f"id={disk.id}", "format=raw", f"file={_escape(source.path)}", f"aio={disk.aio}"]
    words += [f"discard={disk.discard}", f"readonly={'on' if disk.read_only else 'off'}"]
    words += ["cache=none"] if is_direct(disk) else []
    words += ["cache=writethrough"] if disk.cache == "writethrough" else []
    return ["-drive", ",".join(words)]


def _build_medium(medium: Medium) -> list[str]:
    scheme = medium.source.partition("://")[0]
    node: dict[str, Any]
    if scheme in URL_DRIVERS:
        node = {"driver": scheme, "node-name": medium.id, "url": medium.source, "read-only": True}
    else:
        node = {"driver": "file", "node-name": medium.id, "filename": medium.source, "read-only": True}
    device = {"driver": medium.driver, "id": f"drive-{medium.id}", **_place(medium.address), "drive": medium.id}
    return ["-blockdev", codec.dumps(node), *_device({**device, **_boot(medium.boot_index)})]


def _build_legacy(model: Model) -> list[str]:
    if not model.floppy:
        return []
    argv = ["-drive", f"if=floppy,format=raw,readonly=on,file={_escape(model.floppy)}"]
    return argv + (["-global", "isa-fdc.bootindexA=0"] if model.boots_from_floppy else [])


# --- display


def _build_display(model: Model, node: Node) -> list[str]:
    argv = ["-display", "none"]
    argv += ["-k", model.keymap] if model.keymap else []
    if isinstance(model.display, Vnc):
        argv += _build_vnc(model.name, model.display, node.display_address)
    elif isinstance(model.display, Spice):
        argv += _build_spice(model.display, node)
    return argv


def _build_vnc(name: str, vnc: Vnc, address: str) -> list[str]:
    if address.startswith("/"):
        words = [f"unix:{_escape(address)}/{_escape(name)}.vnc"]
    else:
        words = [f"{_bracket(address)}:{(vnc.port or VNC_BASE_PORT) - VNC_BASE_PORT}"]
    words += ["password=on"] if vnc.password_file else []
    if not vnc.tls:
        return ["-vnc", ",".join(words)]
    options: dict[str, Any] = {"endpoint": "server"}
    if vnc.x509_directory:
        options |= {"dir": vnc.x509_directory, "verify-peer": vnc.x509_verify}
    credentials = _object("tls-creds-x509" if vnc.x509_directory else "tls-creds-anon", "vnc-tls", options)
    return [*credentials, "-vnc", ",".join([*words, "tls-creds=vnc-tls"])]


def _build_spice(spice: Spice, node: Node) -> list[str]:
    words = [f"addr={_escape(node.display_address)}"]
    words += [f"ipv{spice.ip_version}=on"] if spice.ip_version else []
    if spice.tls:
        words += [f"tls-port={spice.port}", f"x509-cacert-file={_escape(node.spice_authority)}"]
        words += [f"x509-{part}-file={_escape(node.spice_certificate)}" for part in ("key", "cert")]
    else:
        words += [f"port={spice.port}"]
    words += [] if spice.password_file else ["disable-ticketing=on"]
    return ["-spice", ",".join([*words, *(f"{option}={_escape(value)}" for option, value in spice.options.items())])]


# --- process


def _build_process(node: Node, capabilities: Capabilities) -> list[str]:
    argv = ["-pidfile", node.places.pid]
    modern = [
        f"{word}={value}"
        for word, value in (("chroot", node.chroot), ("user", node.run_as))
        if value and capabilities.has_option("run-with", word)
    ]
    argv += ["-run-with", ",".join(modern)] if modern else []
    if node.chroot and not capabilities.has_option("run-with", "chroot"):
        argv += ["-chroot", node.chroot]
    if node.run_as and not capabilities.has_option("run-with", "user"):
        argv += ["-runas", node.run_as]
    return argv


# --- words


def _device(description: dict[str, Any]) -> list[str]:
    return ["-device", codec.dumps(description)]


def _object(kind: str, ident: str, properties: dict[str, Any]) -> list[str]:
    return ["-object", codec.dumps({"qom-type": kind, "id": ident, **properties})]


def _socket(ident: str, path: str) -> list[str]:
    # Relative to the directory of the sockets, in which QEMU is started: a socket's path may have 107 bytes only.
    return ["-chardev", f"socket,id={ident},path={_escape(os.path.basename(path))},server=on,wait=off"]


def _boot(index: int | None) -> dict[str, int]:
    return {} if index is None else {"bootindex": index}


def _escape(text: str) -> str:
    """A comma in a value is doubled in QEMU's key=value lists."""
    return text.replace(",", ",,")


def _bracket(address: str) -> str:
    return f"[{address}]" if ":" in address else address
