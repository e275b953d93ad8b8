"""From an instance and its parameters to the device model of a guest. Pure: what the node offers comes in as arguments.

PCI slots below ``kvm_pci_reservations`` are left to controllers, each of which has a slot of its own, and to devices that
the operator adds (``kvm_extra``). NICs and disks get the slots from there on, NICs first, so that the name of a network
interface inside the guest does not change when a disk is added.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ganeti.base.errors import HypervisorError
from ganeti.model import params
from ganeti.model.enums import DiskMode, HypervisorKind
from ganeti.model.filled import FilledDisk, FilledInstance, FilledNic
from ganeti.model.objects import Params
from ganeti.model.parameters import HYPERVISOR
from ganeti.node.hypervisor.kvm import periphery
from ganeti.node.hypervisor.kvm.accel import Accelerator
from ganeti.node.hypervisor.kvm.capabilities import Capabilities
from ganeti.node.hypervisor.kvm.devices import (
    Address,
    BusPort,
    Device,
    Disk,
    Kernel,
    Medium,
    Model,
    Nic,
    PciSlot,
    ScsiUnit,
    Spice,
    Vnc,
    device_id,
    is_pci_express,
)

DEFAULTS = params.defaults(HYPERVISOR[HypervisorKind.KVM])

SLOTS = 32
VNC_BASE_PORT = 5900

CONTROLLER_SLOTS = {"vga": 2, "scsi": 3, "balloon": 4, "rng": 5, "virtio-serial": 6, "usb": 7, "sound": 8}

NIC_DRIVERS = {"paravirtual": "virtio-net-pci"}
DISK_DRIVERS = {"paravirtual": "virtio-blk-pci", "ide": "ide-hd", "scsi": "scsi-hd", "sd": "sd-card"}
MEDIUM_DRIVERS = {"": "ide-cd", "ide": "ide-cd", "scsi": "scsi-cd", "paravirtual": "virtio-blk-pci"}
SCSI_CONTROLLERS = {"lsi": "lsi53c895a"}
SCSI_TARGETS = {"lsi53c895a": 7, "dc390": 7, "megasas": 64}
"""How many targets a controller takes; others take 255."""

NO_NETWORK_BOOT = {"romfile": ""}
"""Without it each card wants a boot ROM, which is in a package of its own and costs time at each boot."""

ISA_RESOURCES = ((0x300, 9), (0x320, 10), (0x340, 11), (0x360, 12))
"""Port and interrupt of each ISA network card."""


def plan_model(instance: FilledInstance, capabilities: Capabilities, accelerator: Accelerator) -> Model:
    """The device model of an instance that is started afresh. Raises `HypervisorError` if it cannot be built."""
    instance = replace(instance, hvparams=params.fill(DEFAULTS, instance.hvparams))
    hv = instance.hvparams
    name, options = resolve_machine(hv["machine_version"], capabilities)
    planner = _Planner(instance, name, capabilities)
    kernel = _plan_kernel(hv)
    return Model(
        name=instance.name,
        uuid=instance.uuid,
        machine=name,
        machine_options=options,
        accelerator=accelerator,
        acpi=hv["acpi"],
        cpu=resolve_cpu(hv["cpu_type"], accelerator),
        vcpus=instance.beparams["vcpus"],
        sockets=hv["cpu_sockets"],
        cores=hv["cpu_cores"],
        threads=hv["cpu_threads"],
        memory=instance.beparams["maxmem"],
        memory_path=hv["mem_path"],
        kernel=kernel,
        local_time=hv["use_localtime"],
        reboots=hv["reboot_behavior"] == "reboot",
        keymap=hv["keymap"],
        serial=hv["serial_console"],
        guest_agent=hv["use_guest_agent"],
        sound=bool(hv["soundhw"]),
        floppy=hv["floppy_image_path"],
        boots_from_floppy=hv["boot_order"] == "floppy" and not kernel,
        display=_plan_display(instance),
        nics=planner.nics(),
        disks=planner.disks(),
        media=planner.media(),
        usb_images=planner.usb.images,
        devices=planner.devices(),
        extra=tuple(shlex.split(hv["kvm_extra"])),
    )


def resolve_machine(wanted: str, capabilities: Capabilities) -> tuple[str, str]:
    """The versioned machine type for ``machine_version`` (name, alias or nothing), and the options that follow its name."""
    name, _, options = wanted.partition(",")
    machine = capabilities.find_machine(name)
    if machine is not None:
        return machine.name, options
    known = ", ".join(found.alias or found.name for found in capabilities.machines if not found.deprecated)
    what = f"machine type '{name}'" if name else "default machine type"
    raise HypervisorError(f"QEMU {capabilities.text} has no {what}; set machine_version to one of: {known}")


def resolve_cpu(wanted: str, accelerator: Accelerator) -> str:
    """The model for ``-cpu``. Without KVM the host's processor cannot be shown to the guest; all that can be is emulated."""
    model, comma, features = wanted.partition(",")
    if model == "host" and accelerator is Accelerator.TCG:
        return f"max{comma}{features}"
    return wanted


def _plan_kernel(hv: Params) -> Kernel | None:
    if not hv["kernel_path"]:
        return None
    words = [f"root={hv['root_path']}"] if hv["root_path"] else []
    words += [hv["kernel_args"]] if hv["kernel_args"] else []
    words += [f"console=ttyS0,{hv['serial_speed']}"] if hv["serial_console"] else []
    return Kernel(path=hv["kernel_path"], initrd=hv["initrd_path"], arguments=" ".join(words))


def _plan_display(instance: FilledInstance) -> Vnc | Spice | None:
    hv, port = instance.hvparams, instance.network_port
    if hv["vnc_bind_address"]:
        if not hv["vnc_bind_address"].startswith("/") and (port is None or port < VNC_BASE_PORT):
            raise HypervisorError(
                f"instance {instance.name} has network port {port}, but VNC needs one from {VNC_BASE_PORT} on;"
                " set vnc_bind_address to a directory for a Unix socket, or to '' for no VNC"
            )
        return Vnc(
            address=hv["vnc_bind_address"],
            port=port,
            password_file=hv["vnc_password_file"],
            tls=hv["vnc_tls"],
            x509_directory=hv["vnc_x509_path"],
            x509_verify=hv["vnc_x509_verify"],
        )
    if hv["spice_bind"]:
        if port is None:
            raise HypervisorError(f"instance {instance.name} has no network port, which SPICE needs; set spice_bind to ''")
        return periphery.plan_spice(hv, port)
    return None


class _Planner:
    """Hands out addresses in a fixed order."""

    def __init__(self, instance: FilledInstance, machine: str, capabilities: Capabilities) -> None:
        self._instance = instance
        self._hv: Params = instance.hvparams
        self._capabilities = capabilities
        self._express = is_pci_express(machine)
        if machine in ("microvm", "isapc"):
            raise HypervisorError(f"machine type '{machine}' has no PCI bus, which disks and NICs need; set machine_version")
        self._bus = "pcie.0" if self._express else "pci.0"
        self._slots = self._free_slots()
        self._ports: list[Device] = []
        self._sd_controllers: list[Device] = []
        self._ide_used: set[tuple[str, int]] = set()
        self._scsi_targets = 0
        self._boot_index = 1
        self._media_boot: int | None = None
        self.usb = periphery.plan_usb(self._hv)

    # --- slots

    def _free_slots(self) -> Iterator[int]:
        fixed = {0, 1, *CONTROLLER_SLOTS.values()} | ({SLOTS - 1} if self._express else set())
        for slot in range(self._hv["kvm_pci_reservations"], SLOTS):
            if slot not in fixed:
                yield slot
        raise HypervisorError(
            f"instance {self._instance.name} has more devices than PCI slots (its machine has {SLOTS},"
            f" {self._hv['kvm_pci_reservations']} of which kvm_pci_reservations keeps free); give it fewer disks or NICs"
        )

    def _next_slot(self, driver: str) -> PciSlot:
        slot = next(self._slots)
        if not self._express or not driver.startswith("virtio-"):
            return PciSlot(self._bus, slot)
        # On PCI Express only what sits behind a port of its own can be removed and added while the guest runs.
        port = f"port-{slot}"
        where = PciSlot(self._bus, slot)
        self._ports.append(Device(driver="pcie-root-port", id=port, address=where, properties={"chassis": slot}))
        return PciSlot(port, 0)

    def _controller_slot(self, role: str) -> PciSlot:
        return PciSlot(self._bus, CONTROLLER_SLOTS[role])

    def _claim_boot(self, device: str) -> int | None:
        """The next place in the boot sequence if the instance boots from this kind of device, or falls back to its disks."""
        wanted = self._hv["boot_order"]
        if self._hv["kernel_path"] or device not in (wanted, "disk"):
            return None
        index = self._boot_index
        self._boot_index += 1
        return index

    # --- NICs

    def nics(self) -> tuple[Nic, ...]:
        return tuple(self._plan_nic(index, nic) for index, nic in enumerate(self._instance.nics))

    def _plan_nic(self, index: int, nic: FilledNic) -> Nic:
        wanted: str = self._hv["nic_type"]
        driver = NIC_DRIVERS.get(wanted, wanted)
        self._require_device(driver, "nic_type")
        address: Address | None = None
        properties: dict[str, Any] = {} if self._hv["boot_order"] == "network" else dict(NO_NETWORK_BOOT)
        if driver == "ne2k_isa":
            if index >= len(ISA_RESOURCES):
                raise HypervisorError(f"nic_type ne2k_isa allows {len(ISA_RESOURCES)} NICs, the instance has more; set nic_type")
            iobase, irq = ISA_RESOURCES[index]
            properties = {"iobase": iobase, "irq": irq}
        else:
            address = self._next_slot(driver)
        is_virtio = driver == "virtio-net-pci"
        return Nic(
            id=device_id("nic", nic.uuid),
            uuid=nic.uuid,
            driver=driver,
            mac=nic.mac,
            address=address,
            queues=self._hv["virtio_net_queues"] if is_virtio else 1,
            vhost=is_virtio and self._hv["vhost_net"],
            vnet_hdr=is_virtio and self._hv["vnet_hdr"],
            boot_index=self._claim_boot("network") if driver != "ne2k_isa" else None,
            properties=properties,
        )

    # --- disks

    def disks(self) -> tuple[Disk, ...]:
        # A CD-ROM to boot from comes before the disks, wherever it is plugged in.
        self._media_boot = self._claim_boot("cdrom") if self._hv["cdrom_image_path"] else None
        return tuple(self._plan_disk(disk) for disk in self._instance.disks)

    def _plan_disk(self, disk: FilledDisk) -> Disk:
        wanted: str = self._hv["disk_type"]
        driver = DISK_DRIVERS.get(wanted, wanted)
        is_device = driver not in ("mtd", "pflash")
        if is_device:
            self._require_device(driver, "disk_type")
        ident = device_id("disk", disk.uuid)
        return Disk(
            id=ident,
            uuid=disk.uuid,
            driver=driver,
            address=self._disk_address(driver, ident) if is_device else None,
            read_only=disk.mode is DiskMode.READ_ONLY or driver == "scsi-cd",
            cache=self._hv["disk_cache"],
            aio=self._hv["disk_aio"],
            discard=self._hv["disk_discard"],
            boot_index=self._claim_boot("disk") if is_device and driver != "sd-card" else None,
        )

    def _disk_address(self, driver: str, ident: str) -> Address:
        if driver.startswith("scsi-"):
            return self._next_target()
        if driver == "ide-hd":
            return self._next_ide(self._ide_places())
        if driver == "sd-card":
            controller = ident.replace("disk-", "sd-")
            where = self._next_slot("sdhci-pci")
            self._sd_controllers.append(Device(driver="sdhci-pci", id=controller, address=where))
            return BusPort(f"{where.bus}/{controller}/sd-bus")
        return self._next_slot(driver)

    def _next_target(self) -> ScsiUnit:
        controller, target = self._scsi_controller(), self._scsi_targets
        if target >= SCSI_TARGETS.get(controller, 255):
            raise HypervisorError(
                f"SCSI controller {controller} takes {SCSI_TARGETS[controller]} disks, instance {self._instance.name} has more;"
                " set scsi_controller_type to virtio-scsi-pci"
            )
        self._scsi_targets += 1
        return ScsiUnit("scsi.0", 0, target, 0)

    def _scsi_controller(self) -> str:
        wanted: str = self._hv["scsi_controller_type"]
        return SCSI_CONTROLLERS.get(wanted, wanted)

    def _ide_places(self) -> list[tuple[str, int]]:
        if self._express:
            return [(f"ide.{channel}", 0) for channel in range(6)]
        return [("ide.0", 0), ("ide.0", 1), ("ide.1", 0), ("ide.1", 1)]

    def _next_ide(self, places: list[tuple[str, int]]) -> BusPort:
        for place in places:
            if place not in self._ide_used:
                self._ide_used.add(place)
                return BusPort(*place)
        raise HypervisorError(
            f"instance {self._instance.name} has more than {len(places)} IDE disks and CD-ROMs; set disk_type to another type"
        )

    # --- CD-ROMs

    def media(self) -> tuple[Medium, ...]:
        sources = [self._hv["cdrom_image_path"], self._hv["cdrom2_image_path"]]
        return tuple(self._plan_medium(f"cdrom{index}", source) for index, source in enumerate(sources) if source)

    def _plan_medium(self, ident: str, source: str) -> Medium:
        wanted: str = self._hv["cdrom_disk_type"]
        driver = MEDIUM_DRIVERS.get(wanted, wanted)
        address: Address
        if driver == "ide-cd":
            # Where PCs have their CD-ROM: the second channel first.
            address = self._next_ide(self._ide_places()[2:] + self._ide_places()[:2])
        elif driver == "scsi-cd":
            address = self._next_target()
        elif driver == "virtio-blk-pci":
            address = self._next_slot(driver)
        else:
            raise HypervisorError(f"a CD-ROM cannot be of type '{wanted}'; set cdrom_disk_type to ide, scsi or paravirtual")
        boot, self._media_boot = self._media_boot, None
        return Medium(id=ident, driver=driver, address=address, source=source, boot_index=boot)

    # --- all else

    def devices(self) -> tuple[Device, ...]:
        """Controllers and the like; called last, when it is known which are needed."""
        found = [*self._ports, *self._sd_controllers]
        if self._scsi_targets:
            driver = self._scsi_controller()
            self._require_device(driver, "scsi_controller_type")
            found.append(Device(driver=driver, id="scsi", address=self._controller_slot("scsi")))
        found.append(Device(driver="virtio-balloon-pci", id="balloon", address=self._controller_slot("balloon")))
        if "virtio-rng-pci" in self._capabilities.devices:
            where = self._controller_slot("rng")
            found.append(Device(driver="virtio-rng-pci", id="rng", address=where, properties={"rng": "random"}))
        if self._hv["serial_console"]:
            found.append(Device(driver="isa-serial", id="serial", properties={"chardev": "serial-socket"}))
        found += self._plan_serial_ports()
        vga = periphery.vga_driver(self._hv)
        if vga:
            self._require_device(vga, "vga")
            found.append(Device(driver=vga, id="vga", address=self._controller_slot("vga")))
        if self.usb.devices:
            found.append(Device(driver="qemu-xhci", id="usb", address=self._controller_slot("usb")))
            found += self.usb.devices
        for sound in periphery.plan_sound(self._hv, self._controller_slot("sound")):
            self._require_device(sound.driver, "soundhw")
            found.append(sound)
        return tuple(found)

    def _plan_serial_ports(self) -> list[Device]:
        ports = [("guest-agent", "org.qemu.guest_agent.0")] if self._hv["use_guest_agent"] else []
        ports += [("spice-agent", "com.redhat.spice.0")] if periphery.has_spice_agent(self._hv) else []
        if not ports:
            return []
        controller = Device(driver="virtio-serial-pci", id="virtio-serial", address=self._controller_slot("virtio-serial"))
        return [controller] + [
            Device(
                driver="virtserialport",
                id=ident,
                address=BusPort("virtio-serial.0"),
                properties={"chardev": f"{ident}-socket", "name": name},
            )
            for ident, name in ports
        ]

    def _require_device(self, driver: str, parameter: str) -> None:
        if driver not in self._capabilities.devices:
            raise HypervisorError(
                f"QEMU {self._capabilities.text} has no device '{driver}'; set the hypervisor parameter {parameter}"
                " to another type, or install the package that holds this device"
            )

