"""The parent of the workers: it has everything imported, and forks a worker whenever the master daemon asks for one.

Both sides send JSON lines over a socket (see `serve`). It ends when the socket does; its workers live on.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import logging
import os
import select
import socket
from collections.abc import Callable, Iterator
from typing import Any

from ganeti.base import codec, jsontext
from ganeti.base.errors import DecodeError
from ganeti.model.objects import CLASSES
from ganeti.ops import registry
from ganeti.rpc.call import call_of, declared
from ganeti.rpc.jobs import Assignment, CommitReply, JobApi

log = logging.getLogger(__name__)

_NODE_APIS = ("instance", "blockdev", "node")


def preload() -> None:
    """Import every opcode and compile what is compiled at first use, so that no worker has to; then keep it shared."""
    for cls in (Assignment, CommitReply, *CLASSES.values(), *registry.import_all().values()):
        with contextlib.suppress(DecodeError):
            codec.decode(cls, {})  # compiled although it fails
    for api in (JobApi, *_node_apis()):
        for method in declared(api).values():
            call = call_of(method)
            with contextlib.suppress(DecodeError, TypeError):
                call.decode_arguments(None)
            with contextlib.suppress(DecodeError, TypeError):
                call.decode_result(None)
    gc.collect()
    gc.freeze()  # else the first collection in each worker would copy all those pages


def _node_apis() -> Iterator[type]:
    for name in _NODE_APIS:
        for value in vars(importlib.import_module(f"ganeti.rpc.node.{name}")).values():
            if isinstance(value, type) and declared(value):
                yield value


class Zygote:
    """Forks workers. `work` is a worker's whole life: from its name to its exit status."""

    def __init__(self, control: socket.socket, work: Callable[[str], int]) -> None:
        self._control = control
        self._work = work
        self._children: dict[int, int] = {}  # pidfd -> pid
        self._input = b""

    def serve(self) -> None:
        """Until the control socket ends:

        from the daemon   ``{"fork": name}``
        to the daemon     ``{"ready": true}``, ``{"forked": name, "pid": n}``, ``{"exited": pid, "status": n}``
        (status: the exit status, or minus the signal).
        """
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        try:
            self._send({"ready": True})
            while True:
                for descriptor, _ in poll.poll():
                    if descriptor == self._control.fileno():
                        names = self._read()
                        if names is None:
                            return
                        for name in names:
                            poll.register(self._fork(name), select.POLLIN)
                    else:
                        poll.unregister(descriptor)
                        self._bury(descriptor)
        except ConnectionError as err:
            log.info("the master daemon hung up: %s", err)

    def _read(self) -> list[str] | None:
        """Names of the workers to fork; None at the end."""
        data = self._control.recv(65536)
        if not data:
            return None
        *lines, self._input = (self._input + data).split(b"\n")
        return [str(jsontext.loads(line)["fork"]) for line in lines]

    def _fork(self, name: str) -> int:
        pid = os.fork()
        if pid == 0:
            self._become_worker(name)
        descriptor = os.pidfd_open(pid)
        self._children[descriptor] = pid
        self._send({"forked": name, "pid": pid})
        return descriptor

    def _become_worker(self, name: str) -> None:
        status = 1
        try:
            for descriptor in self._children:
                os.close(descriptor)
            self._control.close()
            status = self._work(name)
        except BaseException:
            log.exception("worker %s crashed", name)
        finally:
            # Not `sys.exit`: nothing of what was inherited is to be cleaned up here.
            os._exit(status)

    def _bury(self, descriptor: int) -> None:
        pid = self._children.pop(descriptor)
        os.close(descriptor)
        _, status = os.waitpid(pid, 0)
        self._send({"exited": pid, "status": os.waitstatus_to_exitcode(status)})

    def _send(self, message: dict[str, Any]) -> None:
        self._control.sendall(jsontext.dumps(message).encode() + b"\n")
