"""What a job tells the people who watch it: lines of its log."""

from __future__ import annotations

import logging

from ganeti.job.master import Master

log = logging.getLogger(__name__)

WARNING = "WARNING: "
"""What a line begins with that the operator must not miss."""


class Feedback:
    """The log of one opcode. Lines also go to the log file of all jobs."""

    def __init__(self, master: Master, job: int, op_index: int) -> None:
        self._master = master
        self._job = job
        self._op_index = op_index

    def info(self, message: str) -> None:
        log.info("job %d: %s", self._job, message)
        self._master.log(self._op_index, "message", message)

    def warn(self, message: str) -> None:
        log.warning("job %d: %s", self._job, message)
        self._master.log(self._op_index, "message", WARNING + message)
