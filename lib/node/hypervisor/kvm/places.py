"""Where the files of guests lie on a node, below ``{run}/kvm-hypervisor``."""

from __future__ import annotations

import hashlib
import os
import socket

from ganeti.base.files import ensure_directory
from ganeti.base.paths import Paths
from ganeti.node.links import check_instance_name

LONGEST_STEM = 75
"""Of a socket's name without suffix: what fits into ``sockaddr_un`` (unix(7)) besides ``/proc/self/fd/NUMBER/``."""


class Places:
    """Directories of the hypervisor; `of` gives the files of one guest."""

    def __init__(self, paths: Paths) -> None:
        root = paths.kvm
        self.root = root
        self.pid = root + "/pid"
        self.uid = root + "/uid"
        self.control = root + "/ctrl"
        self.runtime = root + "/conf"
        self.nic = root + "/nic"
        self.chroot = root + "/chroot"
        self.capabilities = root + "/capabilities"
        self.acceleration = root + "/acceleration.json"
        self.uid_pool = paths.run + "/uid-pool"
        self.log = paths.log + "/kvm"
        self.spice_certificate = paths.data + "/spice.pem"
        self.spice_authority = paths.data + "/spice-ca.pem"

    def prepare(self) -> None:
        """Make the directories. What lies in them is for root only: a control socket is power over the guest."""
        for directory in (self.pid, self.uid, self.control, self.runtime, self.nic, self.chroot, self.log):
            ensure_directory(directory, 0o700)

    def of(self, name: str) -> GuestPlaces:
        return GuestPlaces(self, name)

    def known_guests(self) -> list[str]:
        """Names of guests that left a pid file or a mark here, running or not."""
        found = set(_list_directory(self.pid))
        found.update(entry.removesuffix(".shutdown") for entry in _list_directory(self.control) if entry.endswith(".shutdown"))
        return sorted(found)


class GuestPlaces:
    """Files of one guest. Raises `HypervisorError` for a name that is none."""

    def __init__(self, places: Places, name: str) -> None:
        self.name = check_instance_name(name)
        self.control = places.control
        stem = f"{places.control}/{socket_stem(name)}"
        self.qmp = stem + ".qmp"
        self.monitor = stem + ".monitor"
        self.serial = stem + ".serial"
        self.guest_agent = stem + ".qga"
        self.sockets = (self.qmp, self.monitor, self.serial, self.guest_agent)
        self.shutdown_mark = f"{places.control}/{name}.shutdown"
        self.stopping_mark = f"{places.control}/{name}.stopping"
        self.pid = f"{places.pid}/{name}"
        self.uid = f"{places.uid}/{name}"
        self.runtime = f"{places.runtime}/{name}.runtime"
        self.nic = f"{places.nic}/{name}"
        self.chroot = f"{places.chroot}/{name}"
        self.log = f"{places.log}/{name}.log"


def socket_stem(name: str) -> str:
    """The name without suffix of a guest's sockets: its own name, or a short form of it if that is too long for a socket."""
    if len(name) <= LONGEST_STEM:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    return f"{name[: LONGEST_STEM - len(digest) - 1]}-{digest}"


def connect_socket(path: str) -> socket.socket:
    """A connection to a Unix socket, however long the path of its directory is. Raises `OSError`; does not wait."""
    directory, name = os.path.split(path)
    handle = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        connection.connect(f"/proc/self/fd/{handle}/{name}")
    except BaseException:
        connection.close()
        raise
    finally:
        os.close(handle)
    return connection


def _list_directory(path: str) -> list[str]:
    try:
        # Temporary files of atomic writes begin with a dot.
        return [entry for entry in os.listdir(path) if not entry.startswith(".")]
    except FileNotFoundError:
        return []
