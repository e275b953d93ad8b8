"""Bringing up a QEMU process with everything it needs of this node, and cleaning up behind one that has ended."""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import shutil
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import psutil

from ganeti.base import files, proc
from ganeti.base.errors import CommandError, HypervisorError
from ganeti.base.paths import Paths
from ganeti.base.undo import Undo
from ganeti.model.filled import FilledInstance
from ganeti.model.objects import Params
from ganeti.node.environment import HypervisorEnvironment
from ganeti.node.hypervisor.kvm import pinning, runtime, security
from ganeti.node.hypervisor.kvm.accel import Accelerator
from ganeti.node.hypervisor.kvm.capabilities import Capabilities
from ganeti.node.hypervisor.kvm.command import DiskBackend, NicBackend, Node, build_argv
from ganeti.node.hypervisor.kvm.devices import Model, Spice, Vnc
from ganeti.node.hypervisor.kvm.guests import Guest, Guests
from ganeti.node.hypervisor.kvm.places import GuestPlaces, Places
from ganeti.node.hypervisor.kvm.process import GuestProcess
from ganeti.node.hypervisor.kvm.runtime import Runtime
from ganeti.node.net.door import Port, Tap
from ganeti.node.ssconf import Ssconf

log = logging.getLogger(__name__)

VHOST_DEVICE = "/dev/vhost-net"
LOG_BYTES = 1024 * 1024
WORDS_KEPT = 6
HEADER = "--- "
QUIT_SECONDS = 10.0
KILL_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Order:
    """A guest to bring up. `runtime` has a port for each NIC, without taps; `disks` are paths by the disks' ids."""

    runtime: Runtime
    disks: dict[str, str]
    binary: str
    capabilities: Capabilities
    incoming: bool = False


class Launcher:
    """Makes and ends QEMU processes."""

    def __init__(self, environment: HypervisorEnvironment, places: Places, guests: Guests) -> None:
        self._paths: Paths = environment.paths
        self._net = environment.net
        self._places = places
        self._guests = guests
        self._ssconf = Ssconf(environment.paths)

    # --- up

    def launch(self, order: Order, undo: Undo) -> Guest:
        """Start QEMU; the guest itself does not run yet. Everything done is pushed on `undo`.

        Raises `HypervisorError`, with what QEMU itself said where it did.
        """
        model = order.runtime.model
        places = self._places.of(model.name)
        self._places.prepare()
        undo.push(self.clean, places.name)
        hv = order.runtime.hvparams
        with contextlib.ExitStack() as ours:
            taps = [self._open_tap(port, model, ours) for port in order.runtime.ports]
            user = security.choose_user(
                hv["security_model"], hv["security_domain"], self._ssconf.lines("uid_pool"), self._places.uid_pool
            )
            ours.callback(user.close)
            ports = tuple(replace(port, tap=tap.name) for port, tap in zip(order.runtime.ports, taps, strict=True))
            runtime.save(places.runtime, replace(order.runtime, ports=ports, devices=order.disks, arriving=order.incoming))
            self._connect(places, ports)
            node = self._describe_node(order, places, taps, user)
            fds = [fd for tap in taps for fd in tap.fds] + list(user.fds)
            return self._spawn(places, build_argv(model, node, order.capabilities), fds, undo)

    def _open_tap(self, port: Port, model: Model, ours: contextlib.ExitStack) -> Tap:
        nic = model.nics[port.index]
        tap = self._net.open_tap(None, nic.queues, vnet_hdr=nic.vnet_hdr)
        ours.callback(tap.close)
        return tap

    def _connect(self, places: GuestPlaces, ports: Sequence[Port]) -> None:
        files.ensure_directory(places.nic, 0o700)
        for port in ports:
            files.write_atomic(f"{places.nic}/{port.index}", port.tap + "\n")
            self._net.connect(port)

    def _describe_node(self, order: Order, places: GuestPlaces, taps: Sequence[Tap], user: security.User) -> Node:
        model = order.runtime.model
        if user.argument:
            files.write_atomic(places.uid, user.argument + "\n")
        if order.runtime.chroot:
            files.ensure_directory(places.chroot, 0o755)
        has_vhost = model.accelerator is Accelerator.KVM and os.access(VHOST_DEVICE, os.R_OK | os.W_OK)
        return Node(
            binary=order.binary,
            places=places,
            disks=tuple(_describe_disk(model.name, order.disks[disk.id]) for disk in model.disks),
            nics=tuple(
                NicBackend(tap.fds, vhost=nic.vhost and has_vhost) for tap, nic in zip(taps, model.nics, strict=True)
            ),
            display_address=resolve_display(model),
            spice_certificate=self._places.spice_certificate,
            spice_authority=self._places.spice_authority,
            run_as=user.argument,
            chroot=places.chroot if order.runtime.chroot else "",
            incoming=order.incoming,
        )

    def _spawn(self, places: GuestPlaces, argv: list[str], fds: Sequence[int], undo: Undo) -> Guest:
        offset = _begin_log(places.log, argv)
        try:
            child = proc.start(argv, cwd=places.control, log_file=places.log, pass_fds=fds)
        except CommandError as err:
            raise HypervisorError(f"cannot start instance {places.name}: {err.message}") from err
        process = GuestProcess.of_child(child)
        undo.push(process.end, KILL_SECONDS)
        try:
            return self._guests.add(places, process)
        except HypervisorError as err:
            raise HypervisorError(f"cannot start instance {places.name}: {err.message}{quote(places, offset)}") from err

    # --- what a new process is told before the guest runs

    def prepare(self, guest: Guest, model: Model, hv: Params) -> None:
        """Passwords of the display, and processors."""
        if isinstance(model.display, (Vnc, Spice)) and model.display.password_file:
            password = files.read_text(model.display.password_file).partition("\n")[0].strip()
            self._guests.execute(guest, "set_password", {"protocol": model.display.kind, "password": password})
        masks = pinning.parse_mask(hv["cpu_mask"])
        if any(mask is not None for mask in masks):
            threads = [int(cpu["thread-id"]) for cpu in self._guests.execute(guest, "query-cpus-fast")]
            pinning.apply_affinity(pinning.plan_affinity(masks, threads))

    # --- down

    def end(self, guest: Guest) -> None:
        """End the process: by QMP, so that nothing written is lost, else by signals. Raises `HypervisorError`."""
        try:
            self._guests.execute(guest, "quit", seconds=QUIT_SECONDS)
        except HypervisorError as err:
            log.info("%s", err)  # it may have ended before it could answer
        if not guest.process.wait(QUIT_SECONDS) and not guest.process.end(KILL_SECONDS):
            raise HypervisorError(
                f"QEMU of instance {guest.name} (process {guest.process.pid}) cannot be killed;"
                " it probably waits for a disk that does not answer"
            )
        self._guests.forget(guest)

    def clean(self, name: str, *, keep_mark: bool = False) -> None:
        """Remove what a guest that has ended leaves behind; nothing there is success."""
        places = self._places.of(name)
        known = runtime.load_readable(places.runtime)
        for port in known.ports if known is not None else ():
            if not port.tap:
                continue
            try:
                self._net.disconnect(port)
            except HypervisorError as err:
                log.warning("%s", err)  # the tap is gone with the process; the rest must be cleaned all the same
        for directory in (places.nic, places.chroot):
            shutil.rmtree(directory, ignore_errors=True)
        marks = [places.stopping_mark] if keep_mark else [places.stopping_mark, places.shutdown_mark]
        for path in (*places.sockets, places.uid, places.runtime, *marks, places.pid):
            files.remove_quietly(path)


# --- facts of the node


def find_binary(kvm_path: str, default: str, search: str = proc.SEARCH_PATH) -> str:
    """The QEMU to use. Where the default does not exist, that of this machine's architecture in the folders of `search`.

    Raises `HypervisorError`.
    """
    if os.path.exists(kvm_path):
        return kvm_path
    if kvm_path == default:
        found = shutil.which(f"qemu-system-{os.uname().machine}", path=search)
        if found is not None:
            return found
        raise HypervisorError(
            f"no QEMU found on this node, neither {default} nor qemu-system-{os.uname().machine};"
            " install it, or set the hypervisor parameter kvm_path"
        )
    raise HypervisorError(f"QEMU binary {kvm_path} does not exist on this node; correct the hypervisor parameter kvm_path")


def describe_ports(instance: FilledInstance) -> tuple[Port, ...]:
    """A port for each NIC, not connected yet."""
    return tuple(Port(instance.name, index, nic, "", instance.tags) for index, nic in enumerate(instance.nics))


def without_taps(ports: Sequence[Port]) -> tuple[Port, ...]:
    """The same ports, not connected."""
    return tuple(replace(port, tap="") for port in ports)


def resolve_display(model: Model) -> str:
    """Where the display listens: an address, or the first address of the network interface that ``spice_bind`` names."""
    if model.display is None:
        return ""
    wanted = model.display.address
    if isinstance(model.display, Vnc) or wanted not in psutil.net_if_addrs():
        return wanted
    families = {4: ("AF_INET",), 6: ("AF_INET6",)}.get(model.display.ip_version, ("AF_INET", "AF_INET6"))
    for family in families:
        for entry in psutil.net_if_addrs()[wanted]:
            if entry.family.name == family:
                return str(entry.address).partition("%")[0]
    raise HypervisorError(f"network interface {wanted} has no address for SPICE; correct spice_bind or spice_ip_version")


def _describe_disk(name: str, path: str) -> DiskBackend:
    try:
        return DiskBackend(path, stat.S_ISBLK(os.stat(path).st_mode))
    except OSError as err:
        raise HypervisorError(f"cannot start instance {name}: its disk {path} cannot be used: {err.strerror}") from err


# --- what QEMU said


def _begin_log(path: str, argv: Sequence[str]) -> int:
    """Note the start in the guest's log; returns where QEMU's own words will begin."""
    with contextlib.suppress(FileNotFoundError):
        if os.path.getsize(path) > LOG_BYTES:
            os.replace(path, path + ".1")
    with open(path, "a", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as stream:
        stream.write(f"{HEADER}{time.strftime('%Y-%m-%d %H:%M:%S')} {shlex.join(argv)}\n")
        stream.flush()
        return stream.tell()


def quote(places: GuestPlaces, offset: int = 0) -> str:
    """QEMU's last words, to be added to an error: since `offset` in its log, or since it was started."""
    try:
        with open(places.log, "rb") as stream:
            stream.seek(max(offset, os.fstat(stream.fileno()).st_size - 16384))
            text = stream.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    if not offset:
        text = text.rpartition(f"\n{HEADER}")[2].partition("\n")[2]
    lines = [line for line in text.splitlines() if line.strip()]
    return f"; it said: {' / '.join(lines[-WORDS_KEPT:])}" if lines else f" without a word; see {places.log}"
