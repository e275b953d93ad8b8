"""The table of command lines that have a golden file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ganeti.base import codec
from ganeti.base.paths import Paths
from ganeti.model import parameters, params
from ganeti.model.enums import DiskMode, HypervisorKind
from ganeti.model.filled import FilledInstance
from ganeti.node.hypervisor.kvm import launch, layout
from ganeti.node.hypervisor.kvm.accel import Accelerator
from ganeti.node.hypervisor.kvm.capabilities import Capabilities
from ganeti.node.hypervisor.kvm.command import DiskBackend, NicBackend, Node, build_argv
from ganeti.node.hypervisor.kvm.devices import Model
from ganeti.node.hypervisor.kvm.places import Places
from support.filled import filled_disk, filled_instance, filled_nic

HERE = Path(__file__).parent
KVM, TCG = Accelerator.KVM, Accelerator.TCG


@dataclass(frozen=True)
class Case:
    """Parameters that differ from the defaults, and what the guest has."""

    hvparams: dict[str, Any] = field(default_factory=dict)
    disks: int = 1
    nics: int = 1
    beparams: dict[str, Any] = field(default_factory=dict)
    accelerator: Accelerator = KVM
    qemu: str = "7.2"
    read_only: bool = False
    block: bool = False
    queues: int = 1
    vhost: bool = True
    port: int | None = 11000
    node: dict[str, Any] = field(default_factory=dict)


def load_capabilities(version: str) -> Capabilities:
    """Recorded from a real binary by record.py."""
    return codec.from_json(Capabilities, (HERE / "capabilities" / f"qemu-{version}.json").read_text())


def build_instance(case: Case) -> FilledInstance:
    mode = DiskMode.READ_ONLY if case.read_only else DiskMode.READ_WRITE
    disks = [filled_disk(uuid=f"d{index:07x}-0001-4002-8003-000000000000", mode=mode) for index in range(case.disks)]
    nics = [
        filled_nic(uuid=f"c{index:07x}-0001-4002-8003-000000000000", mac=f"aa:00:00:00:00:{index:02x}")
        for index in range(case.nics)
    ]
    return filled_instance(
        "web.example.com",
        hypervisor=HypervisorKind.KVM,
        hvparams={**params.defaults(parameters.HYPERVISOR[HypervisorKind.KVM]), "kernel_path": "", **case.hvparams},
        beparams={**params.defaults(parameters.BACKEND), "maxmem": 512, "minmem": 256, **case.beparams},
        disks=tuple(disks),
        nics=tuple(nics),
        network_port=case.port,
    )


def build_model(case: Case) -> Model:
    return layout.plan_model(build_instance(case), load_capabilities(case.qemu), case.accelerator)


def build_node(case: Case, model: Model, places: Places, binary: str = "/usr/bin/kvm") -> Node:
    disk = "/dev/xenvg/disk" if case.block else "/var/run/ganeti/instance-disks/web.example.com:"
    return Node(
        binary=binary,
        places=places.of(model.name),
        disks=tuple(DiskBackend(f"{disk}{index}", case.block) for index in range(case.disks)),
        nics=tuple(
            NicBackend(tuple(range(10 + 10 * index, 10 + 10 * index + case.queues)), nic.vhost and case.vhost)
            for index, nic in enumerate(model.nics)
        ),
        display_address=launch.resolve_display(model),
        spice_certificate=places.spice_certificate,
        spice_authority=places.spice_authority,
        **case.node,
    )


def build(case: Case) -> list[str]:
    model = build_model(case)
    return build_argv(model, build_node(case, model, Places(Paths("/"))), load_capabilities(case.qemu))


def render(argv: list[str]) -> str:
    """One option a line."""
    lines: list[str] = []
    for word in argv:
        if word.startswith("-") or not lines:
            lines.append(word)
        else:
            lines[-1] += f" {word}"
    return " \\\n".join(lines) + "\n"


SPICE = {"spice_bind": "127.0.0.1"}

CASES: dict[str, Case] = {
    "plain": Case(),
    "plain-qemu10": Case(qemu="10.0"),
    "diskless-without-nic": Case(disks=0, nics=0),
    "emulated": Case(accelerator=TCG, vhost=False),
    "emulated-host-cpu": Case({"cpu_type": "host,-svm"}, accelerator=TCG, vhost=False),
    "host-cpu": Case({"cpu_type": "host"}),
    "three-disks-two-nics": Case(disks=3, nics=2),
    "pci-reservations": Case({"kvm_pci_reservations": 2}, disks=2, nics=2),
    "block-devices": Case(block=True, disks=2),
    "read-only": Case(read_only=True),
    "incoming": Case(node={"incoming": True}),
    # machine
    "machine-alias": Case({"machine_version": "q35"}),
    "machine-versioned": Case({"machine_version": "pc-i440fx-6.2"}),
    "machine-with-options": Case({"machine_version": "pc,dump-guest-core=off"}),
    "q35-many-types": Case({"machine_version": "q35", "disk_type": "ide", "nic_type": "e1000"}, disks=3),
    "q35-qemu10": Case({"machine_version": "q35"}, qemu="10.0", disks=2),
    "topology": Case({"cpu_cores": 2, "cpu_sockets": 2, "cpu_threads": 1}, beparams={"vcpus": 4}),
    "huge-pages": Case({"mem_path": "/hugepages"}),
    "no-acpi": Case({"acpi": False}),
    "local-time": Case({"use_localtime": True}),
    "reboot-ends": Case({"reboot_behavior": "exit"}),
    "extra": Case({"kvm_extra": "-smbios 'type=1,product=a b' -device pvpanic"}),
    "no-serial": Case({"serial_console": False}),
    "guest-agent": Case({"use_guest_agent": True}),
    "keymap": Case({"keymap": "de", "vnc_bind_address": "127.0.0.1"}),
    # boot
    "kernel": Case({"kernel_path": "/boot/vmlinuz", "initrd_path": "/boot/initrd", "kernel_args": "ro quiet"}),
    "kernel-without-root": Case({"kernel_path": "/boot/vmlinuz", "root_path": None, "serial_console": False, "kernel_args": ""}),
    "boot-cdrom": Case({"boot_order": "cdrom", "cdrom_image_path": "/srv/iso/a.iso"}),
    "boot-network": Case({"boot_order": "network"}),
    "boot-floppy": Case({"boot_order": "floppy", "floppy_image_path": "/srv/floppy, old.img"}),
    "cdroms": Case({"cdrom_image_path": "/srv/iso/a.iso", "cdrom2_image_path": "https://mirror.example.com/b.iso"}),
    "cdrom-scsi": Case({"cdrom_image_path": "/srv/iso/a.iso", "cdrom_disk_type": "scsi", "disk_type": "scsi"}),
    "cdrom-paravirtual": Case({"cdrom_image_path": "/srv/iso/a.iso", "cdrom_disk_type": "paravirtual"}),
    "cdrom-beside-ide-disks": Case({"cdrom_image_path": "/srv/iso/a.iso", "disk_type": "ide"}, disks=3),
    # disks
    **{f"disk-{kind}": Case({"disk_type": kind}, disks=2) for kind in ("ide", "scsi", "scsi-hd", "scsi-cd", "sd", "pflash")},
    **{f"disk-{kind}": Case({"disk_type": kind}, block=True) for kind in ("scsi-block", "scsi-generic")},
    "disk-mtd": Case({"disk_type": "mtd"}),
    **{
        f"scsi-{kind}": Case({"disk_type": "scsi", "scsi_controller_type": kind})
        for kind in ("lsi", "dc390", "megasas", "virtio-scsi-pci")
    },
    **{f"cache-{kind}": Case({"disk_cache": kind}) for kind in ("none", "writeback", "writethrough")},
    "cache-writethrough-pflash": Case({"disk_cache": "writethrough", "disk_type": "pflash"}),
    "aio-native": Case({"disk_aio": "native"}),
    "aio-io-uring": Case({"disk_aio": "io_uring", "disk_cache": "none"}),
    "discard": Case({"disk_discard": "unmap"}),
    # NICs
    **{
        f"nic-{kind}": Case({"nic_type": kind}, nics=2)
        for kind in ("e1000", "i82551", "i82557b", "i82559er", "ne2k_isa", "ne2k_pci", "pcnet", "rtl8139")
    },
    "nic-multiqueue": Case({"virtio_net_queues": 4}, queues=4),
    "nic-without-vhost": Case({"vhost_net": False}),
    # displays
    "vnc": Case({"vnc_bind_address": "0.0.0.0"}),
    "vnc-ipv6": Case({"vnc_bind_address": "::1"}),
    "vnc-socket": Case({"vnc_bind_address": "/var/run/vnc"}, port=None),
    "vnc-password": Case({"vnc_bind_address": "127.0.0.1", "vnc_password_file": "/etc/ganeti/vnc-cluster-password"}),
    "vnc-tls": Case({"vnc_bind_address": "127.0.0.1", "vnc_tls": True}),
    "vnc-x509": Case(
        {"vnc_bind_address": "127.0.0.1", "vnc_tls": True, "vnc_x509_path": "/etc/pki/vnc", "vnc_x509_verify": True}
    ),
    "vga-without-display": Case({"vga": "cirrus"}),
    "vga-none": Case({"vga": "none", "vnc_bind_address": "127.0.0.1"}),
    "spice": Case(SPICE),
    "spice-options": Case(
        {
            **SPICE,
            "spice_ip_version": 4,
            "spice_image_compression": "auto_glz",
            "spice_jpeg_wan_compression": "auto",
            "spice_zlib_glz_wan_compression": "never",
            "spice_streaming_video": "filter",
            "spice_playback_compression": False,
            "spice_password_file": "/etc/ganeti/spice-password",
            "spice_use_vdagent": False,
            "vga": "qxl",
        }
    ),
    "spice-tls": Case({**SPICE, "spice_use_tls": True, "soundhw": "hda", "use_guest_agent": True}),
    # sound, USB
    "sound": Case({"soundhw": "ac97,sb16"}),
    "sound-hda": Case({"soundhw": "hda"}),
    "usb-mouse": Case({"usb_mouse": "mouse"}),
    "usb-devices": Case(
        {"usb_mouse": "tablet", "usb_devices": "keyboard,disk:/srv/usb.img host:1.2 host:04f2:b5ce wacom-tablet ccid"}
    ),
    # process
    "user": Case(node={"run_as": "nobody"}),
    "user-qemu10": Case(qemu="10.0", node={"run_as": "4000:4000", "chroot": "/var/run/ganeti/kvm-hypervisor/chroot/web"}),
    "chroot": Case(node={"chroot": "/var/run/ganeti/kvm-hypervisor/chroot/web.example.com"}),
}
