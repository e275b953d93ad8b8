"""The program that the master daemon starts to get workers: ``python -m ganeti.job.main --zygote``, control socket on fd 0."""

from __future__ import annotations

import os
import signal
import socket
import sys

from ganeti.base import log
from ganeti.base.paths import Paths
from ganeti.job import worker
from ganeti.job.zygote import Zygote, preload


def main() -> int:
    """Serve until the control socket ends."""
    if sys.argv[1:] != ["--zygote"]:
        sys.stderr.write("This program is started by ganeti-masterd only.\n")
        return 1
    paths = Paths.from_environment()
    os.chdir("/")
    worker.set_title("ganeti-jobs")
    log.setup(paths.log_file("jobs"))
    signal.signal(signal.SIGHUP, lambda number, frame: log.reopen())
    control = socket.socket(fileno=os.dup(0))
    with open(os.devnull, "rb") as null:
        os.dup2(null.fileno(), 0)
    preload()
    Zygote(control, lambda name: worker.run(name, paths)).serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
