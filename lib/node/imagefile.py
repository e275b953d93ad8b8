"""Disks that are files: where they may lie, and making, growing and removing them.

A disk's path is *logical*: absolute, as on a host whose root is ``/``. It must lie below one of the allowed directories; no link
below that directory is followed, so that nobody who can write in one instance's directory can make the agent touch another file.
"""

from __future__ import annotations

import os
import stat

from ganeti.base.errors import StorageError
from ganeti.base.files import read_optional, sync_directory
from ganeti.base.paths import Paths
from ganeti.model.enums import DiskTemplate
from ganeti.model.filled import FilledDisk
from ganeti.node.ssconf import Ssconf
from ganeti.rpc.node.replies import StorageInfo

MIB = 1024 * 1024
DIRECTORY_MODE = 0o750
FILE_MODE = 0o600

_SYSTEM = (
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64",
    "/proc", "/root", "/sbin", "/sys", "/usr/bin", "/usr/lib", "/usr/sbin",
)
_EXACT = ("/", "/home", "/srv", "/usr", "/var", "/var/lib")


def is_forbidden(directory: str) -> bool:
    """Whether files of instances must never lie directly here, whatever the settings say."""
    path = os.path.normpath(directory)
    return not os.path.isabs(path) or path in _EXACT or any(path == top or path.startswith(top + "/") for top in _SYSTEM)


class ImageFiles:
    """Files of instances' disks, below allowed directories. `key` is the ssconf file that names the cluster's directory."""

    def __init__(self, paths: Paths, key: str) -> None:
        self._paths = paths
        self._key = key
        self._ssconf = Ssconf(paths)

    def allowed(self) -> list[str]:
        """Logical names of the directories: the cluster's, then those which this node's ``file-storage-paths`` lists."""
        found = self._ssconf.lines(self._key)
        extra = read_optional(os.path.join(self._paths.conf, "file-storage-paths")) or ""
        found += [line.strip() for line in extra.splitlines() if line.strip() and not line.strip().startswith("#")]
        return [os.path.normpath(directory) for directory in found if not is_forbidden(directory)]

    def locate(self, path: str) -> tuple[str, str]:
        """The real name of a logical path, and that of the allowed directory it lies in. Raises `StorageError`."""
        normal = os.path.normpath(path)
        if not os.path.isabs(path) or ".." in path.split("/") or "\0" in path:
            raise StorageError(f"path '{path}' is not a plain absolute path")
        allowed = self.allowed()
        for directory in allowed:
            if normal.startswith(directory + "/"):
                base = os.path.realpath(self._paths.below(directory))
                wanted = os.path.join(base, normal[len(directory) + 1 :])
                if os.path.realpath(wanted) != wanted:
                    raise StorageError(f"path '{path}' goes through a symbolic link below {directory}; remove the link")
                return wanted, base
        listed = ", ".join(allowed) or "none"
        raise StorageError(
            f"path '{path}' is not inside a directory for instance files; on this node those are: {listed} "
            "(from the cluster's settings and the file file-storage-paths)"
        )

    def locate_disk(self, disk: FilledDisk) -> tuple[str, str]:
        """As `locate`, for the file of a disk."""
        if len(disk.logical_id) != 2 or not isinstance(disk.logical_id[1], str):
            raise StorageError(f"disk {describe(disk)} has no file name in its identification")
        return self.locate(disk.logical_id[1])

    def prepare(self, directory: str) -> None:
        """Make the directory of an instance's files; there already is success."""
        real, base = self.locate(directory)
        self.require_base(base)
        try:
            os.makedirs(os.path.dirname(real), DIRECTORY_MODE, exist_ok=True)
            os.mkdir(real, DIRECTORY_MODE)
        except FileExistsError:
            if not os.path.isdir(real):
                raise StorageError(f"cannot make directory {real}: something else of this name is there") from None
        except OSError as err:
            raise StorageError(f"cannot make directory {real}: {err.strerror}") from err

    def cleanup(self, directory: str) -> None:
        """Remove the directory if it is empty; gone already is success."""
        real, _ = self.locate(directory)
        try:
            os.rmdir(real)
        except FileNotFoundError:
            pass  # what was wanted
        except OSError as err:
            raise StorageError(f"cannot remove directory {real}: {err.strerror}; look what is in it") from err

    def require_base(self, base: str) -> None:
        """The allowed directory itself must be there: if it is not, something is not mounted."""
        if not os.path.isdir(base):
            raise StorageError(f"directory {base} for instance files is not there; make it, or mount its file system")


class ImageDevice:
    """Disks as sparse files: what the templates of that kind have in common (a `storage.base.Device` and `Space`)."""

    template: DiskTemplate
    kind: str
    key: str
    """The ssconf file that names the cluster's directory."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self.files = ImageFiles(paths, self.key)

    def create(self, disk: FilledDisk) -> None:
        path, base = self.files.locate_disk(disk)
        self.files.require_base(base)
        create(path, disk.size)

    def remove(self, disk: FilledDisk) -> None:
        remove(self.files.locate_disk(disk)[0])

    def find(self, disk: FilledDisk) -> str | None:
        path, _ = self.files.locate_disk(disk)
        return path if exists(path) else None

    def assemble(self, disk: FilledDisk, *, as_primary: bool) -> str:
        path = self.find(disk)
        if path is None:
            raise StorageError(f"disk {describe(disk)} is not on node {self._paths.hostname}: {self.why_missing()}")
        return path

    def why_missing(self) -> str:
        """What a file that is not there probably means."""
        return "the file does not exist"

    def shutdown(self, disk: FilledDisk) -> None:
        """Nothing was set up for a file."""

    def grow(self, disk: FilledDisk, amount: int, *, dry_run: bool) -> None:
        grow(self.assemble(disk, as_primary=True), amount, dry_run=dry_run)

    def space(self, name: str) -> StorageInfo:
        return measure(self.kind, name, self._paths.below(name))


def describe(disk: FilledDisk) -> str:
    """How messages name a disk."""
    return f"{disk.iv_name or disk.uuid} ({disk.logical_id[-1] if disk.logical_id else 'no path'})"


def create(path: str, size: int) -> None:
    """Make a sparse file of `size` MiB that nobody else can read; it must not exist. Leaves nothing on failure."""
    if size <= 0:
        raise StorageError(f"cannot make file {path}: a disk of {size} MiB makes no sense")
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
    except FileExistsError:
        raise StorageError(f"file {path} exists already; it may belong to another instance") from None
    except FileNotFoundError:
        raise StorageError(f"cannot make file {path}: its directory does not exist") from None
    except OSError as err:
        raise StorageError(f"cannot make file {path}: {err.strerror}") from err
    try:
        os.fchmod(handle, FILE_MODE)
        os.ftruncate(handle, size * MIB)
        os.fsync(handle)
        sync_directory(os.path.dirname(path))
    except (OSError, OverflowError) as err:
        os.unlink(path)
        raise StorageError(f"cannot make file {path} of {size} MiB: {err}") from err
    finally:
        os.close(handle)


def exists(path: str) -> bool:
    """Whether the regular file is there. Raises `StorageError` if something else is, or it cannot be found out."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as err:
        raise StorageError(f"cannot look at file {path}: {err.strerror}") from err
    if not stat.S_ISREG(found.st_mode):
        raise StorageError(f"{path} is not a regular file")
    return True


def remove(path: str) -> None:
    """Remove the file; absent is success."""
    if exists(path):
        try:
            os.unlink(path)
            sync_directory(os.path.dirname(path))
        except OSError as err:
            raise StorageError(f"cannot remove file {path}: {err.strerror}") from err


def grow(path: str, amount: int, *, dry_run: bool) -> None:
    """Make the file `amount` MiB longer; the new part reads as zeros."""
    if amount < 0:
        raise StorageError(f"cannot grow file {path} by {amount} MiB: disks do not shrink")
    try:
        handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as err:
        raise StorageError(f"cannot grow file {path}: {err.strerror}") from err
    try:
        if not dry_run:
            os.ftruncate(handle, os.fstat(handle).st_size + amount * MIB)
            os.fsync(handle)
    except (OSError, OverflowError) as err:
        raise StorageError(f"cannot grow file {path} by {amount} MiB: {err}") from err
    finally:
        os.close(handle)


def measure(kind: str, name: str, path: str) -> StorageInfo:
    """Space of the file system that holds a directory; unknown if the directory is not there."""
    try:
        found = os.statvfs(path)
    except OSError:
        return StorageInfo(kind, name, None, None)
    unit = found.f_frsize
    return StorageInfo(kind, name, found.f_blocks * unit // MIB, found.f_bavail * unit // MIB)


def overwrite(path: str, offset: int, size: int, *, block: int = 4 * MIB) -> None:
    """Write zeros over `size` MiB from `offset` (both MiB) of a file or block device, down to the disk."""
    if offset < 0 or size < 0:
        raise StorageError(f"cannot wipe {size} MiB from {offset} MiB on: not a range")
    zeros = memoryview(bytes(block))
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError as err:
        raise StorageError(f"cannot wipe {path}: {err.strerror}") from err
    try:
        end = os.lseek(handle, 0, os.SEEK_END)
        position, limit = offset * MIB, (offset + size) * MIB
        if limit > end:
            raise StorageError(f"cannot wipe {path} from {offset} to {offset + size} MiB: it ends at {end / MIB:g} MiB")
        while position < limit:
            position += os.pwrite(handle, zeros[: min(block, limit - position)], position)
        os.fdatasync(handle)
    except OSError as err:
        raise StorageError(f"cannot wipe {path}: {err.strerror}") from err
    finally:
        os.close(handle)
