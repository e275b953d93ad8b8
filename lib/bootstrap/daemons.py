"""Starting and stopping the daemons of this node, where no service manager does it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence

from ganeti.base import daemon, proc
from ganeti.base.errors import Code, PrereqError
from ganeti.base.paths import Paths

NODE_DAEMONS = ("ganeti-noded",)
"""Daemons of every node, in the order in which they are started."""
MASTER_DAEMONS = ("ganeti-masterd",)
"""Daemons of the master alone, started after those of every node."""
START_TIMEOUT = 60.0
STOP_TIMEOUT = 20.0
NOT_MASTER = 11


def find_program(name: str) -> str:
    """The path of one of our programs: beside the running interpreter, or in PATH."""
    beside = os.path.join(os.path.dirname(sys.executable), name)
    found = beside if os.access(beside, os.X_OK) else shutil.which(name)
    if found is None:
        raise PrereqError(
            f"program {name} is neither beside {sys.executable} nor in PATH; is the installation complete?",
            Code.ENVIRON,
        )
    return found


def environment(paths: Paths) -> dict[str, str]:
    """What a daemon gets in its environment."""
    return proc.clean_environment({**paths.environment(), "PATH": os.environ.get("PATH", os.defpath)})


def start(paths: Paths, name: str, arguments: Sequence[str] = (), *, runner: proc.Runner = proc.run) -> None:
    """Start a daemon and wait until it says that it is ready; one that runs already is left alone."""
    if not daemon.is_running(paths.pid_file(name)):
        runner([find_program(name), *arguments], env=environment(paths), timeout=START_TIMEOUT)


def stop(paths: Paths, name: str) -> None:
    """Stop a daemon; one that does not run is success."""
    daemon.stop_daemon(paths.pid_file(name), STOP_TIMEOUT)


def stop_all(paths: Paths) -> None:
    """Stop every daemon of this node, in reverse order."""
    for name in reversed((*NODE_DAEMONS, *MASTER_DAEMONS)):
        stop(paths, name)
