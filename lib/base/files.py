"""Files and directories: whole-file writes that survive a crash, and paths that cannot leave their directory."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Collection

from ganeti.base.errors import ExecError, PrereqError


def write_atomic(path: str, data: str | bytes, *, mode: int = 0o600, owner: tuple[int, int] | None = None) -> None:
    """Replace a file: readers see the old content or the new, and after a crash one of the two is there.

    The new file has exactly `mode`, whatever the umask, and the numeric (user, group) of `owner`. Raises `OSError`.
    """
    directory = os.path.dirname(path) or "."
    handle, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(path)}.", suffix=".new", dir=directory)
    try:
        with open(handle, "wb") as stream:
            stream.write(data.encode() if isinstance(data, str) else data)
            if owner is not None:
                os.fchown(stream.fileno(), *owner)
            # After the owner: changing that clears set-id bits.
            os.fchmod(stream.fileno(), mode)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        remove_quietly(temporary)
        raise
    sync_directory(directory)


def sync_directory(path: str) -> None:
    """Make renames and removals inside the directory survive a crash."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_text(path: str) -> str:
    """The whole file as text; bytes that are not UTF-8 become replacement characters. Raises `OSError`."""
    with open(path, encoding="utf-8", errors="replace") as stream:
        return stream.read()


def read_optional(path: str) -> str | None:
    """As `read_text`, but None if the file, or a directory on the way to it, does not exist."""
    try:
        return read_text(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def ensure_directory(path: str, mode: int = 0o755, *, owner: tuple[int, int] | None = None) -> None:
    """Create a directory and its parents, or correct its mode and owner. Parents that are missing get mode 0755.

    Raises `ExecError` if something else than a directory is there.
    """
    parent = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(parent):
        ensure_directory(parent)
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        if not os.path.isdir(path):
            raise ExecError(f"cannot make directory {path}: something else of this name is there; move it away") from None
    found = os.stat(path)
    if owner is not None and (found.st_uid, found.st_gid) != owner:
        os.chown(path, *owner)
    if found.st_mode & 0o7777 != mode:
        os.chmod(path, mode)


def require_below(path: str, allowed: Collection[str]) -> str:
    """The path with all links resolved, if it lies strictly inside one of the `allowed` directories.

    The file itself need not exist. Raises `PrereqError` for a relative path, or one that ``..`` or a link leads outside.
    """
    if not os.path.isabs(path):
        raise PrereqError(f"path '{path}' is not absolute")
    resolved = os.path.realpath(path)
    for directory in allowed:
        base = os.path.realpath(directory)
        if resolved != base and os.path.commonpath([resolved, base]) == base:
            return resolved
    listed = ", ".join(sorted(allowed)) or "none"
    detail = f" (it leads to {resolved})" if resolved != path else ""
    raise PrereqError(f"path '{path}'{detail} is not inside an allowed directory; allowed: {listed}")


def remove_quietly(path: str) -> bool:
    """Remove a file; False if it is not there. Other errors are raised."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
        return True
    return False
