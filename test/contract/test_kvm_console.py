"""The program behind `gnt-instance console`, with the serial port of a real guest."""

from __future__ import annotations

import os
import pty
import re
import select
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ganeti.base import proc
from support.kvmnode import KvmNode, kvm_instance, kvm_node

PROGRAM = str(Path(__file__).resolve().parents[2] / "tools" / "ganeti-kvm-console")
NAME = "i0.example.com"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[KvmNode]:
    with kvm_node(tmp_path / "n1") as found:
        yield found


def read_until(terminal: int, pattern: str, seconds: float = 20.0) -> str:
    text, deadline = "", time.monotonic() + seconds
    while not re.search(pattern, text):
        ready, _, _ = select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"{pattern!r} not found in {text!r}"
        text += os.read(terminal, 4096).decode()
    return text


def test_terminal_is_connected_until_the_escape_key(node: KvmNode) -> None:
    node.start(kvm_instance())
    ours, theirs = pty.openpty()
    process = proc.start([PROGRAM, node.files().serial, NAME], stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    text = read_until(ours, r"C=[0-9a-f]{8}\n.*C=[0-9a-f]{8}\n")
    assert f"Serial console of {NAME}; leave it with Ctrl-]" in text
    os.write(ours, b"\x1d")
    assert process.wait(10) == 0
    os.close(ours)


def test_pipe_is_connected_too(node: KvmNode) -> None:
    node.start(kvm_instance())
    process = proc.start([PROGRAM, node.files().serial], stdin=proc.PIPE, stdout=proc.PIPE)
    assert process.stdin is not None and process.stdout is not None
    read_until(process.stdout.fileno(), r"C=[0-9a-f]{8}\n")
    process.stdin.write(b"p")
    process.stdin.close()
    assert process.wait(20) == 0
    process.stdout.close()


def test_guest_that_does_not_run_is_told() -> None:
    result = proc.run([PROGRAM, "/nonexistent/web.serial", "web"], ok=(1,))
    assert "instance web has no serial console on this node" in result.stderr


def test_wrong_usage_is_told() -> None:
    assert "Usage" in proc.run([PROGRAM], ok=(2,)).stderr
