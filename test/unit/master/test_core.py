"""The daemon as a whole: when it starts, when it does not, and how it ends."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ganeti.base.errors import ConfigError, ExecError, LockTimeout, NoCluster, NotMaster
from ganeti.base.paths import Paths
from ganeti.master.core import MasterCore, check_epoch, check_master
from ganeti.rpc.memory import MemoryNodeCaller
from support.masterd import ManualSpawner, Master, delay, eventually, make_store, run_with_master
from support.objects import small_cluster


@pytest.fixture
def paths() -> Iterator[Paths]:
    root = tempfile.mkdtemp(prefix="gnt")
    yield Paths(root, "node1")
    shutil.rmtree(root)


def write(path: str, text: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    Path(path).write_text(text)


def test_host_without_a_cluster_is_told_so(paths: Paths) -> None:
    with pytest.raises(NoCluster, match="belongs to no cluster"):
        check_master(paths)


def test_node_that_is_no_candidate_learns_who_is_master(paths: Paths) -> None:
    write(paths.ssconf("master_node"), "node7\n")
    with pytest.raises(NotMaster, match=r"\(node1\) is not the master; the master is node7"):
        check_master(paths)


def test_candidate_learns_who_is_master(paths: Paths) -> None:
    make_store(paths, small_cluster(2))
    check_master(paths)
    with pytest.raises(NotMaster, match="the master is node1"):
        check_master(Paths(paths.root, "node2"))


def test_master_whose_store_is_damaged_says_that(paths: Paths) -> None:
    write(paths.ssconf("master_node"), "node1\n")
    write(paths.store, "this is no database")
    with pytest.raises(ConfigError):
        check_master(paths)


def test_node_that_obeyed_a_newer_master_is_none(paths: Paths) -> None:
    check_epoch(paths, 5)
    write(paths.epoch, "5\n")
    check_epoch(paths, 5)
    with pytest.raises(NotMaster, match="master of epoch 5, but its own store is of epoch 4"):
        check_epoch(paths, 4)


def test_second_daemon_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganeti.store.writer.LOCK_WAIT", 0.01)

    async def test(master: Master) -> None:
        second = MasterCore(master.paths, master._make_nodes, ManualSpawner())
        with pytest.raises(LockTimeout, match="is a master daemon running already"):
            await second.start()
        await second.stop()
        client = await master.client()
        assert await client.call("SubmitJob", [delay()]) == 1

    run_with_master(test)


def test_cluster_address_is_taken_again_and_again_until_it_works() -> None:
    async def test(master: Master) -> None:
        agent = master.agents[master.nodes[0].uuid]
        await eventually(lambda: agent.addresses)
        assert agent.addresses == ["192.0.2.250"]
        await master.stop()
        node = master.memory_nodes[master.nodes[0].uuid]
        node.faults.fail["master_address_start"] = [1]
        await master.start()
        await eventually(lambda: len(agent.addresses) == 2)

    run_with_master(test)


def test_nodes_get_their_ssconf_files_and_the_export_is_written() -> None:
    async def test(master: Master) -> None:
        for node in master.nodes:
            await eventually(lambda ssconf=master.agents[node.uuid].ssconf: ssconf)  # type: ignore[misc]
            assert master.agents[node.uuid].ssconf["master_node"] == "node1\n"

    run_with_master(test, nodes=2)


def test_master_that_was_replaced_stops() -> None:
    async def test(master: Master) -> None:
        master.memory_nodes[master.nodes[1].uuid].faults.epoch = 9
        client = await master.client()
        await client.send("SubmitJob", [delay()])
        with pytest.raises(NotMaster, match="another node has become master"):
            await asyncio.wait_for(master.core.failed, 5)

    run_with_master(test, nodes=2)


def test_end_of_a_vital_part_is_the_end_of_the_daemon() -> None:
    async def test(master: Master) -> None:
        class Broken(ManualSpawner):
            async def run(self, events: object) -> None:
                raise ZeroDivisionError("a defect")

        await master.stop()
        master.core = MasterCore(master.paths, master._make_nodes, Broken())
        await master.core.start()
        with pytest.raises(Exception, match="a vital part of the master daemon ended: a defect"):
            await asyncio.wait_for(master.core.failed, 5)

    run_with_master(test)


def test_orderly_end_lets_idle_workers_go_and_leaves_busy_ones_alone() -> None:
    async def test(master: Master) -> None:
        client = await master.client()
        idle, busy = await master.worker(), await master.worker()
        await client.call("SubmitJob", [delay()])
        known = next(worker for worker in (idle, busy) if master.parts.pool.find(worker.name).job)  # type: ignore[union-attr]
        other = idle if known is busy else busy
        await known.take()
        await other.send("next_job")
        await asyncio.sleep(0.01)
        await master.stop()
        assert await other.receive() is None
        await master.start()
        await known.hang_up()
        await known.attach(known.job)
        await known.finish()

    run_with_master(test)


def test_orderly_end_writes_down_what_nobody_waited_for() -> None:
    async def test(master: Master) -> None:
        client, worker = await master.client(), await master.worker()
        job = await client.call("SubmitJob", [delay()])
        await worker.take()
        await worker.report("running")
        await master.stop()
        await master.start()
        stored = master.parts.reader.job(job)
        assert stored is not None and str(stored.status) == "running"

    run_with_master(test)


def test_daemon_that_cannot_open_its_sockets_lets_go_of_the_store(paths: Paths) -> None:
    cluster = small_cluster(1)
    make_store(paths, cluster)
    write(paths.sockets, "in the way")

    async def body() -> None:
        core = MasterCore(paths, lambda reader, epoch: MemoryNodeCaller({}, epoch), ManualSpawner())
        with pytest.raises(ExecError, match="cannot make directory"):
            await core.start()
        await core.stop()
        os.unlink(paths.sockets)
        core = MasterCore(paths, lambda reader, epoch: MemoryNodeCaller({}, epoch), ManualSpawner())
        await core.start()
        await core.stop()

    asyncio.run(body())
