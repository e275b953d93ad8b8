from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from golden.kvm.cases import CASES, KVM, TCG, load_capabilities

from ganeti.node.hypervisor.kvm.check import check_capabilities, check_node, check_parameters, note_cpu
from ganeti.node.hypervisor.kvm.layout import DEFAULTS


def hv(**values: Any) -> dict[str, Any]:
    return {**DEFAULTS, "kernel_path": "", **values}


KNOWN_COMPLAINTS = {
    "kernel-without-root": [
        "kernel_path is set, so root_path, initrd_path or kernel_args has to say where the guest's system is"
    ],
}


@pytest.mark.parametrize("name", CASES)
def test_parameters_of_all_golden_command_lines_are_good(name: str) -> None:
    assert list(check_parameters(hv(**CASES[name].hvparams))) == KNOWN_COMPLAINTS.get(name, [])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"disk_type": "tape"}, "disk_type must be one of ide, mtd"),
        ({"kvm_flag": "maybe"}, "kvm_flag must be one of '', enabled, disabled, not 'maybe'"),
        ({"serial_speed": 12345}, "serial_speed"),
        ({"migration_port": 0}, "migration_port must be between 1 and 65535"),
        ({"kvm_pci_reservations": 32}, "kvm_pci_reservations"),
        ({"virtio_net_queues": 33}, "virtio_net_queues"),
        ({"virtio_net_queues": 2, "nic_type": "e1000"}, "needs nic_type 'paravirtual'"),
        ({"initrd_path": "/x"}, "of no use without kernel_path"),
        ({"boot_order": "cdrom"}, "cdrom_image_path names none"),
        ({"boot_order": "floppy"}, "floppy_image_path names none"),
        ({"disk_aio": "native", "disk_cache": "writeback"}, "works only without the node's cache"),
        ({"vnc_bind_address": "::1", "spice_bind": "::1"}, "one display"),
        ({"vnc_bind_address": "eth0"}, "vnc_bind_address must be an IP address"),
        ({"vnc_x509_verify": True}, "needs certificates"),
        ({"spice_use_tls": True}, "spice_use_tls is of no use without spice_bind"),
        ({"security_model": "user"}, "security_domain does not name one"),
        ({"security_domain": "nobody"}, "only of use if security_model is 'user'"),
        ({"cpu_mask": "a-b"}, "cpu_mask 'a-b' cannot be understood"),
        ({"kvm_extra": "-name 'x"}, "kvm_extra cannot be understood: No closing quotation"),
        ({"usb_devices": "toaster"}, "no USB device 'toaster'"),
        ({"soundhw": "kazoo"}, "no sound card"),
        ({"vga": "voodoo"}, "no graphics card"),
    ],
)
def test_wrong_value_is_told(values: dict[str, Any], expected: str) -> None:
    assert expected in "; ".join(check_parameters(hv(**values)))


def test_default_values_are_good() -> None:
    assert list(check_parameters(hv())) == []


def test_all_problems_are_told_at_once() -> None:
    assert len(list(check_parameters(hv(disk_type="tape", nic_type="token-ring", boot_order="tape")))) == 3


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"machine_version": "pdp11"}, "no machine type 'pdp11'"),
        ({"migration_caps": "xbzrle:teleport"}, "no migration capability 'teleport'"),
    ],
)
def test_value_that_this_qemu_does_not_know_is_told(values: dict[str, Any], expected: str) -> None:
    assert expected in "; ".join(check_capabilities(hv(**values), load_capabilities("7.2")))


def test_spice_that_was_left_out_is_told() -> None:
    from dataclasses import replace

    capabilities = load_capabilities("7.2")
    without = replace(capabilities, commands=capabilities.commands - {"query-spice"}, aio=frozenset({"threads"}))
    text = "; ".join(check_capabilities(hv(spice_bind="::1", disk_aio="native"), without))
    assert "without SPICE" in text and "without disk_aio 'native'" in text


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"kernel_path": "/no/kernel"}, "kernel_path /no/kernel does not exist"),
        ({"cdrom_image_path": "/no/cdrom"}, "cdrom_image_path /no/cdrom does not exist"),
        ({"vnc_bind_address": "::1", "vnc_password_file": "/no/password"}, "vnc_password_file"),
        ({"mem_path": "/no/pages"}, "mem_path /no/pages is no directory"),
        ({"security_model": "user", "security_domain": "no-such-user"}, "no user 'no-such-user'"),
        ({"cpu_mask": "0:7"}, "processors that this node does not have: 7"),
    ],
)
def test_what_this_node_lacks_is_told(values: dict[str, Any], expected: str) -> None:
    assert expected in "; ".join(check_node(hv(**values), [0, 1]))


def test_what_is_there_is_good(tmp_path: Path) -> None:
    kernel = tmp_path / "kernel"
    kernel.touch()
    values = hv(kernel_path=str(kernel), mem_path=str(tmp_path), cdrom_image_path="https://x.example.com/a.iso", cpu_mask="0-1")
    assert list(check_node(values, [0, 1])) == []


def test_password_of_a_display_that_is_not_used_need_not_be_there() -> None:
    assert list(check_node(hv(vnc_password_file="/no/password"), [0])) == []


def test_replaced_processor_is_noted() -> None:
    assert "gets 'max'" in note_cpu(hv(cpu_type="host"), TCG)
    assert note_cpu(hv(cpu_type="host"), KVM) == note_cpu(hv(), TCG) == ""
