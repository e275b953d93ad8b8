"""LUXI as clients see it: what is not the business of a more special test."""

from __future__ import annotations

import asyncio

import pytest

from ganeti.base.errors import GanetiError, PrereqError
from ganeti.rpc.call import declared
from ganeti.rpc.luxi import LuxiApi
from support.masterd import Master, delay, run_with_master


def test_every_declared_method_is_known() -> None:
    async def test(master: Master) -> None:
        client = await master.client()
        for name in declared(LuxiApi):
            with pytest.raises(GanetiError, match=f"{name}: expected a list of at most"):
                await client.call(name, *range(10))

    run_with_master(test)


def test_settings_with_methods_of_their_own_are_stored() -> None:
    async def test(master: Master) -> None:
        client = await master.client()
        assert await client.call("SetWatcherPause", 12345.0) == 12345.0
        assert await client.call("QueryConfigValues", ["watcher_pause", "drain_flag", "nonsense"]) == [12345.0, False, None]
        assert await client.call("SetWatcherPause", None) is None
        assert await client.call("SetDrainFlag", True) is True
        assert await client.call("QueryConfigValues", ["watcher_pause", "drain_flag"]) == [None, True]
        cluster = master.parts.reader.config().cluster
        assert cluster.queue_drained and cluster.serial_no == 4

    run_with_master(test)


def test_settings_changed_at_the_same_time_are_all_stored() -> None:
    async def test(master: Master) -> None:
        clients = [await master.client() for _ in range(4)]
        await asyncio.gather(*(client.call("SetWatcherPause", float(n)) for n, client in enumerate(clients)))
        assert master.parts.reader.config().cluster.serial_no == 5

    run_with_master(test)


def test_objects_are_queried() -> None:
    async def test(master: Master) -> None:
        client = await master.client()
        assert await client.call("QueryNodes", [], ["name", "master_candidate"], False) == [["node1", True]]
        answer = await client.call("Query", "node", ["name"], None)
        assert answer["data"] == [[[0, "node1"]]]
        assert (await client.call("QueryClusterInfo"))["master"] == "node1"
        assert (await client.call("QueryGroups", None, ["name"], False)) == [["default"]]
        assert (await client.call("QueryInstances", None, ["name"], False)) == []
        assert await client.call("QueryTags", "cluster", "") == []
        with pytest.raises(PrereqError, match="cannot take locks"):
            await client.call("QueryNodes", [], ["name"], True)

    run_with_master(test)


def test_version_in_a_request_is_ignored() -> None:
    async def test(master: Master) -> None:
        client = await master.client()
        client.writer.write(b'{"method":"QueryTags","args":["cluster"],"version":3010000}\x03')
        assert await client.receive() == []

    run_with_master(test)


def test_many_clients_at_once_are_served() -> None:
    async def test(master: Master) -> None:
        async def submit(number: int) -> int:
            client = await master.client()
            job: int = await client.call("SubmitJob", [delay(number)])
            return job

        jobs = await asyncio.gather(*(submit(number) for number in range(50)))
        assert sorted(jobs) == list(range(1, 51))

    run_with_master(test)
