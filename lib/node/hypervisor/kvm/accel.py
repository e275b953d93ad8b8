"""Whether KVM is of use on this node, found out by running a guest.

That ``/dev/kvm`` can be opened says little: on a virtual machine it may belong to a hypervisor that runs only kernels made
for it, or that emulates each instruction. QEMU then starts, says that KVM is enabled, and the guest never boots. So a small
guest (`accel_rom`) is run under a time limit, once per boot and binary.
"""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from ganeti.base import codec
from ganeti.base.errors import CommandError, DecodeError, HypervisorError
from ganeti.base.files import ensure_directory, read_optional, write_atomic
from ganeti.base.proc import ANY_STATUS, Runner
from ganeti.model.enums import Word
from ganeti.node.hypervisor.kvm import accel_rom
from ganeti.node.hypervisor.kvm.capabilities import Capabilities

log = logging.getLogger(__name__)

DEVICE = "/dev/kvm"
BOOT_ID = "/proc/sys/kernel/random/boot_id"

LIMIT_SECONDS = 10.0
"""Real hardware needs about 0.1 s."""

RETRY_SECONDS = 3600.0
"""A node may have been too busy to answer in time: after this long a "no" is asked again."""


class Accelerator(Word):
    """How a guest's instructions are run; the value is QEMU's word."""

    KVM = "kvm"
    TCG = "tcg"


class KvmFlag(Word):
    """Values of the hypervisor parameter ``kvm_flag``."""

    AUTOMATIC = ""
    ENABLED = "enabled"
    DISABLED = "disabled"


@dataclass(frozen=True)
class Acceleration:
    """Whether KVM can be used, and why not."""

    usable: bool
    reason: str = ""

    @property
    def note(self) -> str:
        """A sentence for people; empty if all is well."""
        if self.usable:
            return ""
        return f"KVM cannot be used on this node ({self.reason}); guests are emulated (TCG), which is many times slower"


@dataclass(frozen=True)
class Finding:
    """The file of a remembered answer."""

    boot_id: str
    path: str
    mtime_ns: int
    size: int
    time: float
    result: Acceleration


def choose(flag: str, acceleration: Acceleration) -> Accelerator:
    """The accelerator for a guest. Raises `HypervisorError` if KVM is insisted on but of no use."""
    if flag == KvmFlag.DISABLED:
        return Accelerator.TCG
    if acceleration.usable:
        return Accelerator.KVM
    if flag == KvmFlag.ENABLED:
        raise HypervisorError(
            f"hypervisor parameter kvm_flag is 'enabled', but KVM cannot be used on this node: {acceleration.reason};"
            " set kvm_flag to '' to have guests emulated instead"
        )
    return Accelerator.TCG


class AccelerationProbe:
    """Answers for the binaries of this node, remembered in `file`. Safe to use from several threads."""

    def __init__(
        self, file: str, runner: Runner, *, device: str = DEVICE, clock: Callable[[], float] = time.time
    ) -> None:
        self._file = file
        self._runner = runner
        self._device = device
        self._clock = clock
        self._findings: dict[str, Finding] = {}
        self._lock = threading.Lock()

    def get(self, path: str, capabilities: Capabilities) -> Acceleration:
        """Whether KVM works with the binary at `path`."""
        if not capabilities.kvm:
            return Acceleration(False, f"{path} was built without it")
        problem = _check_device(self._device)
        if problem:
            return Acceleration(False, problem)
        status = os.stat(path)
        wanted = (_read_boot_id(), path, status.st_mtime_ns, status.st_size)
        with self._lock:
            if path not in self._findings:
                self._findings = self._load() | self._findings
            found = self._findings.get(path)
            if found is None or not self._is_valid(found, wanted):
                found = Finding(*wanted, self._clock(), probe(path, capabilities, self._runner))
                log.log(logging.INFO if found.result.usable else logging.WARNING, "%s", found.result.note or "KVM works")
                self._findings[path] = found
                ensure_directory(os.path.dirname(self._file), 0o700)
                write_atomic(self._file, codec.to_json(self._findings))
        return found.result

    def _is_valid(self, found: Finding, wanted: tuple[str, str, int, int]) -> bool:
        if (found.boot_id, found.path, found.mtime_ns, found.size) != wanted:
            return False
        return found.result.usable or self._clock() - found.time < RETRY_SECONDS

    def _load(self) -> dict[str, Finding]:
        text = read_optional(self._file)
        try:
            return codec.from_json(dict[str, Finding], text) if text else {}
        except DecodeError:
            return {}  # written by another version of this software: ask again


def probe(path: str, capabilities: Capabilities, runner: Runner, accelerator: Accelerator = Accelerator.KVM) -> Acceleration:
    """Run the test guest with this binary."""
    is_x86 = capabilities.target == "x86_64" and capabilities.find_machine("pc") is not None
    if not is_x86:
        return _probe_without_guest(path, runner, accelerator)
    with tempfile.NamedTemporaryFile(prefix="kvm-probe-", suffix=".rom") as image:
        image.write(accel_rom.build_rom())
        image.flush()
        argv = [
            path, "-nodefaults", "-no-user-config", "-machine", "pc", "-accel", accelerator, "-m", "8",
            "-display", "none", "-no-reboot", "-bios", image.name,
            "-device", f"isa-debug-exit,iobase={accel_rom.EXIT_PORT:#x},iosize=1",
        ]  # fmt: skip
        try:
            result = runner(argv, timeout=LIMIT_SECONDS, ok=ANY_STATUS)
        except CommandError:
            return Acceleration(False, f"a test guest made no progress in {LIMIT_SECONDS:g} s")
    return judge(result.status, result.output)


def judge(status: int, output: str) -> Acceleration:
    """What the exit status of the test guest means."""
    value, is_ours = status >> 1, bool(status & 1)
    if is_ours and value == accel_rom.SUCCESS:
        return Acceleration(True)
    if is_ours and value in accel_rom.STAGES:
        return Acceleration(False, f"a test guest found: {accel_rom.STAGES[value]}")
    lines = output.strip().splitlines()
    return Acceleration(False, f"a test guest ended with status {status}" + (f": {lines[-1]}" if lines else ""))


def _probe_without_guest(path: str, runner: Runner, accelerator: Accelerator) -> Acceleration:
    # No test guest for this architecture: that QEMU can create a virtual machine has to do.
    argv = [path, "-nodefaults", "-no-user-config", "-machine", "none", "-accel", accelerator, "-display", "none"]
    commands = "".join(codec.dumps({"execute": name}) + "\n" for name in ("qmp_capabilities", "quit"))
    try:
        runner([*argv, "-qmp", "stdio"], input=commands, timeout=LIMIT_SECONDS)
    except CommandError as err:
        return Acceleration(False, err.message.splitlines()[-1])
    return Acceleration(True)


def _check_device(device: str) -> str:
    if not os.path.exists(device):
        return f"{device} does not exist: no hardware virtualization, or its kernel module is not loaded"
    return "" if os.access(device, os.R_OK | os.W_OK) else f"{device} may not be opened"


def _read_boot_id() -> str:
    return (read_optional(BOOT_ID) or "").strip()
