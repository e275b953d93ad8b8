from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from ganeti.base.errors import HypervisorError
from ganeti.base.paths import Paths
from ganeti.node.environment import HypervisorEnvironment
from support.doors import open_doors


@pytest.fixture
def doors(tmp_path: Path) -> Iterator[HypervisorEnvironment]:
    with open_doors(Paths(str(tmp_path))) as doors:
        yield doors


def test_coroutine_runs_on_the_loop_and_its_result_comes_back(doors: HypervisorEnvironment) -> None:
    async def work() -> object:
        return asyncio.get_running_loop()

    assert doors.wait(work(), 5, "it") is doors.loop


def test_coroutine_that_takes_too_long_is_cancelled(doors: HypervisorEnvironment) -> None:
    ended = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    with pytest.raises(HypervisorError, match=r"waited 0\.02 s in vain for the monitor"):
        doors.wait(work(), 0.02, "the monitor")
    doors.wait(asyncio.sleep(0), 5, "a turn of the loop")
    assert ended == [True]


@pytest.mark.parametrize("error", [HypervisorError("own"), TimeoutError("own")])
def test_error_of_the_coroutine_comes_back_as_it_is(doors: HypervisorEnvironment, error: Exception) -> None:
    async def work() -> None:
        raise error

    with pytest.raises(type(error), match="own"):
        doors.wait(work(), 5, "it")
