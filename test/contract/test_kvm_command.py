"""The installed QEMU accepts the command lines of the golden tests, but for those that need what a machine may not have."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from golden.kvm.cases import CASES, TCG, Case, build_instance, build_node

from ganeti.base import proc
from ganeti.base.paths import Paths
from ganeti.node.hypervisor.kvm import layout
from ganeti.node.hypervisor.kvm.capabilities import Capabilities, probe
from ganeti.node.hypervisor.kvm.command import DiskBackend, build_argv
from ganeti.node.hypervisor.kvm.places import Places
from support.kvmnode import QEMU

NEEDS_MORE = {
    "cdroms": "a web server",
    "disk-mtd": "a machine with flash memory of that kind",
    "disk-scsi-block": "a SCSI disk",
    "disk-scsi-generic": "a SCSI disk",
    "huge-pages": "huge pages",
    "machine-versioned": "machine types of QEMU 6.2, which newer ones drop",
    "spice": "a package of QEMU's that is not always installed",
    "spice-options": "a package of QEMU's that is not always installed",
    "spice-tls": "the certificates of a cluster",
    "usb-devices": "USB devices of the host",
    "vnc-x509": "certificates",
}


@pytest.fixture(scope="module")
def capabilities() -> Capabilities:
    return probe(QEMU, proc.run)


def prepare(argv: list[str], directory: Path) -> list[str]:
    """With files that exist, and without taps."""
    image = directory / "image"
    image.write_bytes(b"\0" * 1474560)
    for path in ("/srv/iso/a.iso", "/srv/floppy,, old.img"):
        argv = [word.replace(path, str(image)) for word in argv]
    argv = [word.replace("/var/run/vnc", str(directory)) for word in argv]
    for index, word in enumerate(argv[:-1]):
        if word == "-netdev":
            argv[index + 1] = json.dumps({"type": "user", "id": json.loads(argv[index + 1])["id"]})
        if word in ("-kernel", "-initrd"):
            argv[index + 1] = str(write_kernel(directory) if word == "-kernel" else image)
    return argv


def write_kernel(directory: Path) -> Path:
    """As much of a kernel as QEMU looks at (Linux' Documentation/x86/boot.rst: magic number and version of the protocol)."""
    kernel = bytearray(65536)
    kernel[0x1F1] = 4
    kernel[0x202:0x208] = b"HdrS\x02\x02"
    path = directory / "kernel"
    path.write_bytes(kernel)
    return path


def build_for_here(case: Case, directory: Path, capabilities: Capabilities) -> list[str]:
    model = layout.plan_model(build_instance(case), capabilities, TCG)
    model = replace(model, cpu="", memory=min(model.memory, 64))
    places = Places(Paths(str(directory)))
    places.prepare()
    disk = directory / "disk"
    disks = []
    for index in range(case.disks):
        path = Path(f"{disk}{index}")
        path.write_bytes(b"\0" * 1024 * 1024)
        disks.append(DiskBackend(str(path)))
    node = replace(build_node(replace(case, vhost=False), model, places, QEMU), disks=tuple(disks))
    if node.chroot:
        node = replace(node, chroot=str(directory))
    return prepare(build_argv(model, node, capabilities), directory)


@pytest.mark.parametrize("name", sorted(set(CASES) - set(NEEDS_MORE)))
def test_qemu_accepts_the_command_line(name: str, tmp_path: Path, capabilities: Capabilities) -> None:
    argv = build_for_here(CASES[name], tmp_path, capabilities)
    if "-incoming" in argv:
        argv = argv[:-2]
    commands = "".join(json.dumps({"execute": command}) + "\n" for command in ("qmp_capabilities", "query-status", "quit"))
    if "none" in argv:
        argv = [*argv, "-qmp", "stdio"]
    result = proc.run(argv, input=commands, timeout=30, cwd=str(tmp_path))
    assert '"status"' in result.stdout


def test_exceptions_are_cases() -> None:
    assert set(NEEDS_MORE) - set(CASES) == set()
