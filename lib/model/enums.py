"""Words with a fixed meaning. The value of each member is the word on the wire."""

from __future__ import annotations

import enum


class Word(enum.StrEnum):
    """A text constant that prints as itself."""


class DiskTemplate(Word):
    """How the disks of an instance are stored."""

    DISKLESS = "diskless"
    FILE = "file"
    SHAREDFILE = "sharedfile"
    PLAIN = "plain"
    DRBD = "drbd"
    BLOCKDEV = "blockdev"
    RBD = "rbd"
    EXT = "ext"
    GLUSTER = "gluster"

    @property
    def is_externally_mirrored(self) -> bool:
        """Every node sees the same data, so an instance may run on any of them."""
        return self in _EXTERNALLY_MIRRORED

    @property
    def is_mirrored(self) -> bool:
        return self.is_externally_mirrored or self is DiskTemplate.DRBD

    @property
    def is_file_based(self) -> bool:
        return self in (DiskTemplate.FILE, DiskTemplate.SHAREDFILE, DiskTemplate.GLUSTER)


_EXTERNALLY_MIRRORED = frozenset(
    {
        DiskTemplate.DISKLESS,
        DiskTemplate.SHAREDFILE,
        DiskTemplate.BLOCKDEV,
        DiskTemplate.RBD,
        DiskTemplate.EXT,
        DiskTemplate.GLUSTER,
    }
)


class HypervisorKind(Word):
    """What runs the guests."""

    KVM = "kvm"
    FAKE = "fake"
    XEN_PVM = "xen-pvm"
    XEN_HVM = "xen-hvm"
    LXC = "lxc"
    CHROOT = "chroot"


class AdminState(Word):
    """What the operator wants of an instance."""

    UP = "up"
    DOWN = "down"
    OFFLINE = "offline"


class AdminStateSource(Word):
    """Who last decided the admin state: the operator, or the guest by powering itself off."""

    ADMIN = "admin"
    USER = "user"


class NicMode(Word):
    """How a network interface is connected on its node."""

    BRIDGED = "bridged"
    ROUTED = "routed"
    OPENVSWITCH = "openvswitch"
    EXT = "ext"


class DiskMode(Word):
    """Whether the guest may write."""

    READ_WRITE = "rw"
    READ_ONLY = "ro"


class AllocPolicy(Word):
    """Whether the allocator may place instances in a group."""

    PREFERRED = "preferred"
    LAST_RESORT = "last_resort"
    UNALLOCABLE = "unallocable"


class RebootType(Word):
    """Soft: inside the running hypervisor process; hard: stop and start; full: the disks too."""

    SOFT = "soft"
    HARD = "hard"
    FULL = "full"


class MigrationMode(Word):
    """Whether the guest runs while its state is sent."""

    LIVE = "live"
    NON_LIVE = "non-live"


class JobStatus(Word):
    """Status of a job and of each of its opcodes."""

    QUEUED = "queued"
    WAITING = "waiting"
    CANCELING = "canceling"
    RUNNING = "running"
    CANCELED = "canceled"
    SUCCESS = "success"
    ERROR = "error"

    @property
    def is_final(self) -> bool:
        return self in (JobStatus.CANCELED, JobStatus.SUCCESS, JobStatus.ERROR)


class Kind(Word):
    """Kinds of objects in the cluster store."""

    CLUSTER = "cluster"
    NODE = "node"
    GROUP = "nodegroup"
    INSTANCE = "instance"
    DISK = "disk"
    NETWORK = "network"
    FILTER = "filter"
