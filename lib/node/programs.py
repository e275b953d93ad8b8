"""Starting our own daemons on this node, where no service manager does it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence

from ganeti.base import daemon, proc
from ganeti.base.errors import Code, PrereqError
from ganeti.base.paths import Paths

START_TIMEOUT = 60.0


def find_program(name: str) -> str:
    """The path of one of our programs: beside the running interpreter, or in PATH. Raises `PrereqError`."""
    beside = os.path.join(os.path.dirname(sys.executable), name)
    found = beside if os.access(beside, os.X_OK) else shutil.which(name)
    if found is None:
        raise PrereqError(
            f"program {name} is neither beside {sys.executable} nor in PATH; is the installation complete?", Code.ENVIRON
        )
    return found


def environment(paths: Paths) -> dict[str, str]:
    """What a daemon gets in its environment."""
    return proc.clean_environment({**paths.environment(), "PATH": os.environ.get("PATH", os.defpath)})


def start(paths: Paths, name: str, arguments: Sequence[str] = (), *, runner: proc.Runner = proc.run) -> bool:
    """Start a daemon and wait until it says that it is ready; False if one runs already. Raises `CommandError`."""
    if daemon.read_pid(paths.pid_file(name)) is not None:
        return False
    runner([find_program(name), *arguments], env=environment(paths), timeout=START_TIMEOUT)
    return True
