"""Run a piece of a test in Linux namespaces of its own, so that it may change the network or mounts of "the machine"."""

from __future__ import annotations

import ctypes
import os
import pickle
import traceback
from collections.abc import Callable
from typing import TypeVar

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWNET = 0x40000000

T = TypeVar("T")


def run_in_namespaces(function: Callable[[], T], flags: int = CLONE_NEWNET) -> T:
    """Fork, enter new namespaces, call the function there and return what it returns (it must pickle). Needs root.

    Raises `AssertionError` with the child's traceback if the function raises.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.unshare(flags) != 0:
                number = ctypes.get_errno()
                raise OSError(number, f"unshare: {os.strerror(number)}")
            answer = pickle.dumps((True, function()))
        except BaseException:
            answer = pickle.dumps((False, traceback.format_exc()))
        with os.fdopen(writer, "wb") as stream:
            stream.write(answer)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        data = stream.read()
    os.waitpid(child, 0)
    if not data:
        raise AssertionError("the child process in the namespace died without an answer")
    good, value = pickle.loads(data)
    if not good:
        raise AssertionError(f"in the namespace:\n{value}")
    result: T = value
    return result
