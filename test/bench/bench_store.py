"""How fast the store is, beside what the disk can do: a row inserted and synced by SQLite alone, measured in the same run.

Give a directory on the disk to measure as the only argument (default: a temporary one).
"""

from __future__ import annotations

import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from ganeti.model.enums import DiskTemplate, Kind
from ganeti.model.objects import Put
from ganeti.store.reader import Reader
from ganeti.store.replica import Replica
from ganeti.store.writer import Store, Write

sys.path.insert(0, str(Path(__file__).parent.parent))
from support.objects import make_disk, make_instance, make_job, make_nic, small_cluster

ROUNDS = 300
TEXT = "x" * 1000


def _rate(what: str, count: int, seconds: float) -> float:
    rate = count / seconds
    print(f"{what:<58} {rate:>9.0f}/s {seconds / count * 1e6:>9.0f} us each")
    return rate


def _timed(function: Callable[[], Any]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def _baseline(path: Path) -> float:
    """One row per transaction, write-ahead log, every commit synced."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, text TEXT)")
    seconds = _timed(lambda: [connection.execute("INSERT INTO rows (text) VALUES (?)", (TEXT,)) for _ in range(ROUNDS)])
    connection.close()
    return _rate("baseline: SQLite alone, one row and one sync each", ROUNDS, seconds)


def _instances(node: str, count: int) -> list[list[Put]]:
    requests = []
    for _ in range(count):
        disk = make_disk()
        instance = make_instance(node, disks=(disk.uuid,), disk_template=DiskTemplate.SHAREDFILE, nics=(make_nic(),))
        requests.append([Put(disk), Put(instance)])
    return requests


def bench_commits(tmp_path: Path) -> None:
    baseline = _baseline(tmp_path / "baseline.db")
    with Store.open(str(tmp_path / "cluster.db"), create=True) as store, Reader(store.path) as reader:
        node = store.commit(None, [Put(obj) for obj in small_cluster(nodes=3)]).result().objects[2].uuid
        requests = _instances(node, ROUNDS)
        single = _timed(lambda: [store.commit(None, request).result() for request in requests])
        rate = _rate("commit of an instance with its disk, one after the other", ROUNDS, single)
        print(f"{'':<58} {rate / baseline:>9.2f} times the baseline")
        requests = _instances(node, 4 * ROUNDS)
        grouped = _timed(lambda: _wait([store.commit(None, request) for request in requests]))
        rate = _rate("the same, asked for together (group commit)", 4 * ROUNDS, grouped)
        print(f"{'':<58} {rate / baseline:>9.2f} times the baseline")
        _bench_jobs(store)
        _bench_reading(store, reader)


def _wait(futures: list[Future[Any]]) -> None:
    for future in futures:
        future.result()


def _bench_jobs(store: Store) -> None:
    """The writes in the life of a trivial job: accepted with its start, and finished."""

    def run(count: int) -> None:
        for ident in store.allocate_job_ids(count):
            job = make_job(ident)
            store.write(Write(new_jobs=[job])).result()
            store.save_jobs([job]).result()

    threads = [threading.Thread(target=run, args=(ROUNDS // 8,)) for _ in range(8)]
    seconds = _timed(lambda: [*(thread.start() for thread in threads), *(thread.join() for thread in threads)])
    _rate("jobs accepted and finished, eight at a time", ROUNDS // 8 * 8, seconds)


def _bench_reading(store: Store, reader: Reader) -> None:
    first = _timed(lambda: reader.config().instances)
    _rate("instances listed for the first time", len(reader.config().instances), first)
    times = [_timed(reader.snapshot) for _ in range(1000)]
    print(f"{'a snapshot when nothing changed, median':<58} {'':>11} {statistics.median(times) * 1e6:>9.0f} us")
    instance = reader.config().instances[0]
    times = []
    for _ in range(100):
        store.commit(None, [Put(make_disk())]).result()
        times.append(_timed(lambda: reader.config().instance(instance.uuid)))
    print(f"{'a fresh snapshot and one object, median':<58} {'':>11} {statistics.median(times) * 1e6:>9.0f} us")


def bench_large_cluster(tmp_path: Path) -> None:
    with Store.open(str(tmp_path / "cluster.db"), create=True) as store, Reader(store.path) as reader:
        node = store.commit(None, [Put(obj) for obj in small_cluster(nodes=3)]).result().objects[2].uuid
        _wait([store.commit(None, request) for request in _instances(node, 10_000)])
        ids = store.allocate_job_ids(10_000)
        store.accept_jobs([make_job(ident) for ident in ids]).result()
        store.archive_jobs(ids[:100]).result()
        for turn in ("first time", "again"):
            seconds = _timed(lambda: reader.config().instances)
            print(f"{'10,000 instances listed, ' + turn:<58} {seconds * 1000:>9.1f} ms")
        for turn in ("first time", "again"):
            seconds = _timed(reader.jobs)
            print(f"{'10,000 jobs listed, ' + turn:<58} {seconds * 1000:>9.1f} ms")
        seconds = _timed(lambda: reader.config().rows.names(Kind.INSTANCE))
        print(f"{'10,000 names':<58} {seconds * 1000:>9.1f} ms")
        request = _instances(node, 1)[0]
        seconds = _timed(lambda: store.commit(None, request).result())
        print(f"{'one more instance committed':<58} {seconds * 1000:>9.1f} ms")


def bench_replica(tmp_path: Path) -> None:
    with (
        Store.open(str(tmp_path / "cluster.db"), create=True) as store,
        Reader(store.path) as reader,
        Replica(str(tmp_path / "replica.db")) as replica,
    ):
        node = store.commit(None, [Put(obj) for obj in small_cluster(nodes=3)]).result().objects[2].uuid
        _wait([store.commit(None, request) for request in _instances(node, ROUNDS)])
        rows = reader.log_rows(0, limit=10 * ROUNDS) or []
        _rate("rows applied by a replica, one sync each", len(rows), _timed(lambda: [replica.append([row]) for row in rows]))
        replica.remove()
        _rate("rows applied by a replica, together", len(rows), _timed(lambda: replica.append(rows)))


def main() -> None:
    """Measure all."""
    base = sys.argv[1] if len(sys.argv) > 1 else None
    for bench in (bench_commits, bench_large_cluster, bench_replica):
        with tempfile.TemporaryDirectory(dir=base) as directory:
            bench(Path(directory))


if __name__ == "__main__":
    main()
