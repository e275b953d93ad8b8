"""How fast jobs are: one after the other, and many submitted together; beside an empty Python process and a raw fsync.

Usage: bench_jobs.py                   a master daemon of its own, without and with replication to two candidates
       bench_jobs.py --luxi SOCKET     the daemon behind this socket (a devcluster's: real agents, TLS, replication)

The own daemon is the real one with real workers; its two candidates keep real replicas (SQLite, synced), but are reached
within the process instead of over HTTPS. Status 1 if a target is missed: p50 of submit-to-done under 20 ms, 100 jobs/s.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from ganeti.base.paths import Paths
from ganeti.master.core import MasterCore
from ganeti.master.zygote import Zygote
from ganeti.model.objects import Node
from ganeti.rpc.luxi_client import LuxiClient
from ganeti.rpc.memory import MemoryNode, MemoryNodeCaller
from ganeti.store.reader import Reader
from support.masterd import QuietNode, make_store
from support.objects import small_cluster

SINGLE, MANY = 200, 500
FINAL = ("success", "error", "canceled")
LIMIT_MS, LIMIT_RATE = 20.0, 100.0
OP = {"OP_ID": "OP_TEST_DELAY", "duration": 0}


# --- what is measured


def follow(client: LuxiClient, job: int) -> None:
    """Wait until a job has ended, as commands do."""
    row: Any = None
    while row is None or row[0] not in FINAL:
        row, _ = client.call("WaitForJobChange", job, ["status"], row, None, 30)
    assert row[0] == "success", f"job {job} ended with {row[0]}"


def single(client: LuxiClient) -> list[float]:
    """Milliseconds from submission to the end, of jobs one after the other."""
    times = []
    for _ in range(SINGLE):
        started = time.perf_counter()
        follow(client, client.call("SubmitJob", [OP]))
        times.append((time.perf_counter() - started) * 1000)
    return sorted(times)


def together(client: LuxiClient, count: int) -> float:
    """Jobs per second when many are submitted in one request."""
    started = time.perf_counter()
    for _, job in client.call("SubmitManyJobs", [[OP]] * count):
        follow(client, job)
    return count / (time.perf_counter() - started)


def report(title: str, client: LuxiClient) -> bool:
    """Measure and print; whether the targets are met."""
    together(client, 50)
    times = single(client)
    p50, p99 = statistics.median(times), times[len(times) * 99 // 100]
    rates = {count: together(client, count) for count in (100, MANY)}
    print(f"{title}")
    print(f"  one at a time     p50 {p50:6.2f} ms   p99 {p99:6.2f} ms   (p50 under {LIMIT_MS:g} ms: {yes(p50 < LIMIT_MS)})")
    for count, rate in rates.items():
        print(f"  {count:4} together     {rate:6.0f} jobs/s   (at least {LIMIT_RATE:g}: {yes(rate >= LIMIT_RATE)})")
    return p50 < LIMIT_MS and min(rates.values()) >= LIMIT_RATE


def yes(good: bool) -> str:
    return "yes" if good else "NO"


def baselines() -> None:
    """What this machine can do right now."""
    starts = []
    for _ in range(11):
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        starts.append((time.perf_counter() - begun) * 1000)
    syncs = []
    with tempfile.NamedTemporaryFile() as stream:
        for number in range(200):
            os.pwrite(stream.fileno(), b"x" * 4096, 4096 * number)
            begun = time.perf_counter()
            os.fsync(stream.fileno())
            syncs.append((time.perf_counter() - begun) * 1000)
    start, sync = statistics.median(starts), statistics.median(syncs)
    print(f"baseline: python3 -c pass {start:.1f} ms, fsync of 4 KiB {sync:.2f} ms")


# --- a daemon of our own


async def serve(paths: Paths) -> None:
    """Be a master daemon with the real workers and candidates in memory, until SIGTERM."""
    with Reader(paths.store) as reader:
        nodes = [node for node in reader.config().nodes if isinstance(node, Node)]
    agents = {node.uuid: MemoryNode(node.name, [QuietNode(paths.root, node.name)]) for node in nodes}
    core = MasterCore(paths, lambda _reader, epoch: MemoryNodeCaller(agents, epoch), Zygote(paths))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await core.start()
    await stop.wait()
    await core.stop()


@contextmanager
def own_daemon(candidates: int) -> Iterator[LuxiClient]:
    """A client of a daemon in a process of its own."""
    root = tempfile.mkdtemp(prefix="gnt")
    paths = Paths(root, "node1")
    make_store(paths, small_cluster(1 + candidates))
    Path(paths.ssconf("master_node")).write_text("node1\n")
    environment = {**os.environ, **paths.environment(), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen([sys.executable, __file__, "--serve"], env=environment)
    try:
        with LuxiClient(paths) as client:
            yield client
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(root, ignore_errors=True)


def main() -> int:
    """Measure; status 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--luxi", metavar="SOCKET", help="socket of a daemon that runs already")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(Paths.from_environment()))
        return 0
    baselines()
    if options.luxi:
        with LuxiClient(Paths.from_environment(), options.luxi) as client:
            return 0 if report(f"daemon at {options.luxi}", client) else 1
    good = True
    for candidates in (0, 2):
        with own_daemon(candidates) as client:
            good = report(f"own daemon, replication to {candidates} candidates", client) and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
