from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from golden.kvm.cases import KVM, TCG, Case, build_instance, build_model, load_capabilities
from hypothesis import given
from hypothesis import strategies as st

from ganeti.base.errors import HypervisorError
from ganeti.node.hypervisor.kvm.devices import Address, Model, device_id
from ganeti.node.hypervisor.kvm.layout import plan_model, resolve_cpu, resolve_machine


def places(model: Model) -> list[Address]:
    parts = (*model.devices, *model.nics, *model.disks, *model.media)
    shared = ("usb.0", "virtio-serial.0", "sound.0")
    return [part.address for part in parts if part.address is not None and part.address.bus not in shared]


def plan(hvparams: dict[str, Any] | None = None, **fields: Any) -> Model:
    return build_model(Case(hvparams or {}, **fields))


@given(
    hvparams=st.fixed_dictionaries(
        {
            "disk_type": st.sampled_from(["paravirtual", "ide", "scsi", "sd", "pflash"]),
            "nic_type": st.sampled_from(["paravirtual", "e1000", "ne2k_isa"]),
            "machine_version": st.sampled_from(["", "q35"]),
            "kvm_pci_reservations": st.integers(0, 14),
            "use_guest_agent": st.booleans(),
            "soundhw": st.sampled_from(["", "ac97", "hda"]),
            "usb_mouse": st.sampled_from(["", "tablet"]),
            "vga": st.sampled_from(["", "std"]),
            "cdrom_image_path": st.sampled_from(["", "/x"]),
        }
    ),
    disks=st.integers(0, 3),
    nics=st.integers(0, 4),
)
def test_no_two_devices_are_at_the_same_place(hvparams: dict[str, Any], disks: int, nics: int) -> None:
    model = plan(hvparams, disks=disks, nics=nics)
    found = places(model)
    assert len(set(found)) == len(found)
    ids = [part.id for part in (*model.devices, *model.nics, *model.disks, *model.media)]
    assert len(set(ids)) == len(ids)


def test_another_disk_changes_no_nic() -> None:
    assert plan(disks=1, nics=2).nics == plan(disks=5, nics=2).nics


def test_ids_are_the_uuid_without_its_last_two_groups() -> None:
    assert device_id("disk", "11111111-2222-3333-4444-555555555555") == "disk-11111111-2222-3333"
    assert device_id("nic", "11111111-2222-3333-4444-555555555555") == "nic-11111111-2222-3333"


def test_reserved_slots_hold_neither_disks_nor_nics() -> None:
    model = plan({"kvm_pci_reservations": 20}, disks=3, nics=3)
    assert min(part.address.slot for part in (*model.disks, *model.nics)) == 20  # type: ignore[union-attr]


def test_too_many_devices_for_the_slots_are_an_error() -> None:
    plan(disks=10, nics=10)
    with pytest.raises(HypervisorError, match="more devices than PCI slots"):
        plan(disks=11, nics=10)


def test_ide_takes_four_disks_and_media() -> None:
    plan({"disk_type": "ide", "cdrom_image_path": "/x"}, disks=3)
    with pytest.raises(HypervisorError, match="more than 4 IDE"):
        plan({"disk_type": "ide", "cdrom_image_path": "/x"}, disks=4)


def test_scsi_controller_limits_the_disks() -> None:
    plan({"disk_type": "scsi"}, disks=7)
    with pytest.raises(HypervisorError, match="lsi53c895a takes 7 disks"):
        plan({"disk_type": "scsi"}, disks=8)
    plan({"disk_type": "scsi", "scsi_controller_type": "virtio-scsi-pci"}, disks=20)


def test_isa_cards_are_limited() -> None:
    with pytest.raises(HypervisorError, match="ne2k_isa allows 4"):
        plan({"nic_type": "ne2k_isa"}, nics=5)


@pytest.mark.parametrize("machine", ["microvm", "isapc"])
def test_machine_without_pci_is_refused(machine: str) -> None:
    with pytest.raises(HypervisorError, match="no PCI bus"):
        plan({"machine_version": machine})


def test_device_that_this_qemu_does_not_have_is_named_with_its_parameter() -> None:
    capabilities = load_capabilities("7.2")
    lacking = replace(capabilities, devices=capabilities.devices - {"virtio-blk-pci"})
    with pytest.raises(HypervisorError, match="no device 'virtio-blk-pci'.*disk_type"):
        plan_model(build_instance(Case()), lacking, KVM)


def test_qemu_without_random_device_does_without() -> None:
    capabilities = load_capabilities("7.2")
    lacking = replace(capabilities, devices=capabilities.devices - {"virtio-rng-pci"})
    assert "rng" not in [device.id for device in plan_model(build_instance(Case()), lacking, KVM).devices]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("", ("pc-i440fx-7.2", "")),
        ("pc", ("pc-i440fx-7.2", "")),
        ("q35", ("pc-q35-7.2", "")),
        ("pc-q35-6.1", ("pc-q35-6.1", "")),
        ("q35,smm=off", ("pc-q35-7.2", "smm=off")),
    ],
)
def test_machine_is_resolved_to_its_versioned_name(wanted: str, expected: tuple[str, str]) -> None:
    assert resolve_machine(wanted, load_capabilities("7.2")) == expected


def test_unknown_machine_is_an_error_that_lists_those_known() -> None:
    with pytest.raises(HypervisorError, match="no machine type 'pdp11'.*q35"):
        resolve_machine("pdp11", load_capabilities("7.2"))


def test_host_processor_is_replaced_where_guests_are_emulated() -> None:
    assert resolve_cpu("host", TCG) == "max"
    assert resolve_cpu("host,-svm", TCG) == "max,-svm"
    assert resolve_cpu("host", KVM) == "host"
    assert resolve_cpu("EPYC", TCG) == "EPYC"


def test_only_what_is_booted_from_has_a_place_in_the_boot_sequence() -> None:
    model = plan({"boot_order": "network"}, disks=2, nics=2)
    assert [part.boot_index for part in (*model.nics, *model.disks)] == [1, 2, 3, 4]
    model = plan({"boot_order": "cdrom", "cdrom_image_path": "/a", "cdrom2_image_path": "/b"}, disks=1)
    assert [part.boot_index for part in (*model.media, *model.disks)] == [1, None, 2]
    model = plan({"kernel_path": "/boot/vmlinuz"}, disks=1)
    assert [part.boot_index for part in model.disks] == [None]


@pytest.mark.parametrize("port", [None, 80])
def test_vnc_needs_a_port_of_its_own(port: int | None) -> None:
    with pytest.raises(HypervisorError, match="VNC needs one from 5900"):
        plan({"vnc_bind_address": "0.0.0.0"}, port=port)


def test_spice_needs_a_port() -> None:
    with pytest.raises(HypervisorError, match="SPICE needs"):
        plan({"spice_bind": "127.0.0.1"}, port=None)
