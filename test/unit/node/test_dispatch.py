from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from ganeti.base.errors import HypervisorError, Timeout
from ganeti.node import dispatch
from ganeti.node.dispatch import Busy, Dispatcher, Entry, build_table, declared_apis, handling, time_limit
from ganeti.rpc.call import HOURS_4, NORMAL, SLOW, URGENT, Call, call_of, rpc
from ganeti.rpc.node.blockdev import BlockdevApi, OsApi
from ganeti.rpc.node.instance import InstanceApi
from ganeti.rpc.node.node import NodeApi
from support.filled import filled_disk, filled_instance

LANES = {"cluster": 1, "quick": 1, "normal": 1, "long": 2}


class SampleApi:
    @rpc(timeout=URGENT)
    def quick(self, name: str) -> str:
        raise NotImplementedError

    @rpc(timeout=SLOW)
    def slow(self, name: str) -> str:
        raise NotImplementedError

    @rpc(timeout=SLOW)
    def free(self, name: str) -> str:
        raise NotImplementedError

    @rpc(timeout=URGENT)
    def coroutine(self) -> str:
        raise NotImplementedError

    @rpc(timeout=URGENT)
    def fail(self) -> None:
        raise NotImplementedError


class Sample(SampleApi):
    def __init__(self) -> None:
        self.gate = threading.Event()
        self.begun: list[str] = []

    def quick(self, name: str) -> str:
        return name

    @handling(order="name")
    def slow(self, name: str) -> str:
        self.begun.append(name)
        assert self.gate.wait(10)
        return name

    def free(self, name: str) -> str:
        return self.slow(name)

    async def coroutine(self) -> str:  # type: ignore[override]  # what the dispatcher also takes
        await asyncio.sleep(0)
        return threading.current_thread().name

    def fail(self) -> None:
        raise HypervisorError("no")


def table_of(target: object) -> dict[str, Entry]:
    found = {}
    for name, method in vars(SampleApi).items():
        if not name.startswith("_"):
            found[name] = dispatch._entry(call_of(method), getattr(target, name))
    return found


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  # what is waited for happens in threads
            await asyncio.sleep(0.002)


def run(test: Callable[[Dispatcher, Sample, dict[str, Entry]], Coroutine[Any, Any, None]], **options: Any) -> None:
    async def life() -> None:
        sample = Sample()
        table = table_of(sample)
        dispatcher = Dispatcher(table, lanes=LANES, **options)
        try:
            await test(dispatcher, sample, table)
        finally:
            sample.gate.set()
            await dispatcher.close(5)

    asyncio.run(life())


# --- the table


def test_every_declared_api_is_found() -> None:
    assert {InstanceApi, BlockdevApi, OsApi, NodeApi} <= set(declared_apis())


def test_agent_does_not_start_without_an_implementation_of_each_api() -> None:
    with pytest.raises(TypeError, match="BlockdevApi"):
        build_table({InstanceApi: object(), OsApi: object(), NodeApi: object()})


def test_agent_does_not_start_with_a_method_missing() -> None:
    class Half(OsApi):
        def os_validate(self, name: str, osparams: dict[str, str], force_variant: bool) -> str:
            return ""

    others: dict[type, object] = {api: object() for api in declared_apis()}
    with pytest.raises(TypeError, match=r"OsApi\.os_create|does not implement"):
        build_table({**others, OsApi: Half()})


def test_lane_follows_from_the_time_limit_unless_it_is_given() -> None:
    assert [dispatch._lane_for(limit) for limit in (URGENT, NORMAL, SLOW, HOURS_4)] == ["quick", "normal", "long", "long"]


def test_key_names_the_object_a_call_is_about() -> None:
    assert dispatch._key_of("instance", filled_instance("web")) == "instance:web"
    assert dispatch._key_of("name", "web") == "instance:web"
    assert dispatch._key_of("disk", filled_disk(uuid="u")) == "disk:u"
    assert dispatch._key_of("directory", "/a") == "directory:/a"


def test_node_answers_before_the_caller_gives_up() -> None:
    assert time_limit(Call(print, "x", URGENT, False)) == URGENT - 5
    assert time_limit(Call(print, "x", 10.0, False)) == 9.0


# --- running calls


def test_result_and_error_reach_the_caller() -> None:
    async def test(dispatcher: Dispatcher, sample: Sample, table: dict[str, Entry]) -> None:
        assert await dispatcher.call(table["quick"], ["a"]) == "a"
        with pytest.raises(HypervisorError, match="no"):
            await dispatcher.call(table["fail"], [])

    run(test)


def test_coroutine_runs_on_the_loop() -> None:
    async def test(dispatcher: Dispatcher, sample: Sample, table: dict[str, Entry]) -> None:
        assert await dispatcher.call(table["coroutine"], []) == threading.current_thread().name

    run(test)


def test_slow_calls_do_not_hold_up_quick_ones() -> None:
    async def test(dispatcher: Dispatcher, sample: Sample, table: dict[str, Entry]) -> None:
        slow = [asyncio.ensure_future(dispatcher.call(table["slow"], [name])) for name in "abcd"]
        await until(lambda: len(sample.begun) == 2)
        assert await dispatcher.call(table["quick"], ["a"]) == "a"
        sample.gate.set()
        assert await asyncio.gather(*slow) == list("abcd")

    run(test)


def test_calls_about_one_object_run_one_after_the_other_and_take_no_thread_while_they_wait() -> None:
    async def test(dispatcher: Dispatcher, sample: Sample, table: dict[str, Entry]) -> None:
        first = [asyncio.ensure_future(dispatcher.call(table["slow"], ["web"])) for _ in range(3)]
        await until(lambda: sample.begun == ["web"])
        other = asyncio.ensure_future(dispatcher.call(table["slow"], ["db"]))
        await until(lambda: sample.begun == ["web", "db"])
        sample.gate.set()
        await asyncio.gather(*first, other)
        assert sample.begun == ["web", "db", "web", "web"]
        assert dispatcher._turns == {}

    run(test)


def test_calls_without_an_order_run_side_by_side() -> None:
    async def test(dispatcher: Dispatcher, sample: Sample, table: dict[str, Entry]) -> None:
        calls = [asyncio.ensure_future(dispatcher.call(table["free"], ["web"])) for _ in range(2)]
        await until(lambda: len(sample.begun) == 2)
        sample.gate.set()
        await asyncio.gather(*calls)

    run(test)


def test_call_that_takes_too_long_is_answered_and_keeps_its_turn() -> None:
    async def test(dispatcher: Dispatcher, sample: Sample, table: dict[str, Entry]) -> None:
        with pytest.raises(Timeout, match=r"slow is not done after 0\.05 s"):
            await dispatcher.call(table["slow"], ["web"])
        with pytest.raises(Timeout, match="was not begun"):
            await dispatcher.call(table["slow"], ["web"])
        assert sample.begun == ["web"]
        await until(lambda: dispatcher.running == 1)
        sample.gate.set()
        await until(lambda: dispatcher.running == 0)
        assert await dispatcher.call(table["slow"], ["web"]) == "web"

    run(test, limit=lambda call: 0.05)


def test_call_that_gave_up_waiting_never_runs() -> None:
    async def test(dispatcher: Dispatcher, sample: Sample, table: dict[str, Entry]) -> None:
        for name in "ab":
            asyncio.ensure_future(dispatcher.call(table["slow"], [name])).add_done_callback(lambda task: task.exception())
        await until(lambda: len(sample.begun) == 2)
        with pytest.raises(Timeout, match="was not begun"):
            await dispatcher.call(table["slow"], ["c"])
        sample.gate.set()
        await until(lambda: dispatcher.running == 0)
        assert sorted(sample.begun) == ["a", "b"]

    run(test, limit=lambda call: 0.05)


def test_too_many_waiting_calls_are_refused() -> None:
    async def test(dispatcher: Dispatcher, sample: Sample, table: dict[str, Entry]) -> None:
        calls = [asyncio.ensure_future(dispatcher.call(table["slow"], [name])) for name in "abc"]
        await until(lambda: len(sample.begun) == 2)
        with pytest.raises(Busy, match="try again later"):
            await dispatcher.call(table["slow"], ["d"])
        assert await dispatcher.call(table["quick"], ["x"]) == "x"
        sample.gate.set()
        await asyncio.gather(*calls)

    run(test, max_waiting=3)


def test_closing_waits_for_running_calls_and_takes_no_new_ones() -> None:
    async def test(dispatcher: Dispatcher, sample: Sample, table: dict[str, Entry]) -> None:
        call = asyncio.ensure_future(dispatcher.call(table["slow"], ["web"]))
        await until(lambda: sample.begun)
        assert await dispatcher.close(0.02) is False
        with pytest.raises(Busy, match="is stopping"):
            await dispatcher.call(table["quick"], ["x"])
        sample.gate.set()
        assert await call == "web"
        assert await dispatcher.close(1) is True

    run(test)
