"""Talking to the parent of the workers; here it is a small program that only pretends to fork."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from ganeti.base.errors import ExecError
from ganeti.base.paths import Paths
from ganeti.master.zygote import Zygote, default_command
from support.masterd import eventually

PROGRAM = """
import json, os, socket, sys
link = socket.socket(fileno=0)
def say(**words): link.sendall(json.dumps(words).encode() + b"\\n")
print("root is", os.environ["GANETI_ROOTDIR"], flush=True)
say(ready=True)
for number, line in enumerate(link.makefile(), 100):
    name = json.loads(line)["fork"]
    if name == "crash": sys.exit(3)
    if name == "strange": link.sendall(b"what?\\n"); continue
    say(forked=name, pid=number)
    if name == "short": say(exited=number, status=-9)
"""


class Events:
    def __init__(self) -> None:
        self.ready_count = 0
        self.ended: list[tuple[str, int]] = []

    def ready(self) -> None:
        self.ready_count += 1

    def exited(self, name: str, status: int) -> None:
        self.ended.append((name, status))


def run(directory: Path, test: Callable[[Zygote, Events, asyncio.Task[None]], Coroutine[Any, Any, None]]) -> str:
    """Run a test with the program; returns what it printed."""
    paths = Paths(str(directory), "node1")
    os.makedirs(paths.log)

    async def body() -> None:
        zygote, events = Zygote(paths, [sys.executable, "-ISc", PROGRAM]), Events()
        assert not zygote.spawn("too early")
        task = asyncio.create_task(zygote.run(events))
        await eventually(lambda: events.ready_count)
        await test(zygote, events, task)
        await zygote.close()
        with contextlib.suppress(ExecError):
            await asyncio.wait_for(task, 5)
        assert not zygote.spawn("too late")

    asyncio.run(body())
    return Path(paths.log_file("jobs")).read_text()


def test_end_of_a_worker_is_reported_with_its_name(tmp_path: Path) -> None:
    async def test(zygote: Zygote, events: Events, task: asyncio.Task[None]) -> None:
        assert zygote.spawn("long") and zygote.spawn("short")
        await eventually(lambda: events.ended)
        assert events.ended == [("short", -9)]

    assert run(tmp_path, test) == f"root is {tmp_path}\n"


def test_end_of_the_program_is_an_error_that_says_where_to_look(tmp_path: Path) -> None:
    async def test(zygote: Zygote, events: Events, task: asyncio.Task[None]) -> None:
        zygote.spawn("crash")
        with pytest.raises(ExecError, match=r"ended: exit status 3; see .*/jobs\.log"):
            await task

    run(tmp_path, test)


def test_strange_words_are_ignored(tmp_path: Path) -> None:
    async def test(zygote: Zygote, events: Events, task: asyncio.Task[None]) -> None:
        zygote.spawn("strange")
        zygote.spawn("short")
        await eventually(lambda: events.ended)

    run(tmp_path, test)


def test_program_is_started_with_this_interpreter() -> None:
    assert default_command() == [sys.executable, "-m", "ganeti.job.main", "--zygote"]
