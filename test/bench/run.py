"""All measurements: the store and the jobs alone, then commands and jobs on a cluster of three nodes with real agents, TLS and
replication to two candidates. Status 1 if a limit is missed.

Each part prints its figures beside a baseline of the same run: the machine may be slow today, the ratio is what counts.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from support.qacluster import QaCluster, running  # noqa: E402  # found by the line above

INSTANCES = 10


def run(title: str, argv: list[str]) -> bool:
    """Run one part; whether it met its limits."""
    print(f"\n=== {title}", flush=True)
    begun = time.monotonic()
    status = subprocess.run(argv, check=False).returncode
    print(f"({time.monotonic() - begun:.0f} s)", flush=True)
    return status == 0


def script(name: str, *words: str) -> list[str]:
    return [sys.executable, str(HERE / name), *words]


def on_master(cluster: QaCluster, argv: list[str]) -> list[str]:
    """A command inside the master node, with the node's environment."""
    tool = HERE.parents[1] / "tools" / "devcluster"
    return [sys.executable, str(tool), "--name", cluster.name, "exec", "node1", *argv]


def measure_cluster() -> dict[str, bool]:
    """The parts that need a cluster."""
    print("\n=== making a cluster of three nodes", flush=True)
    with running("fake") as cluster:
        for number in range(INSTANCES):
            cluster.add_instance(f"i{number}", node=f"node{1 + number % 3}")
        commands = on_master(cluster, script("bench_commands.py"))
        jobs = on_master(cluster, script("bench_jobs.py", "--luxi", cluster.paths().luxi_socket))
        return {
            f"commands on a cluster of 3 nodes and {INSTANCES} instances": run("commands on the cluster", commands),
            "jobs on that cluster, replicated to 2 candidates": run("jobs on the cluster", jobs),
        }


def main() -> int:
    """Measure everything, then say what was missed."""
    verdicts = {
        "store alone": run("the store alone", script("bench_store.py")),
        "jobs of a master daemon alone": run("jobs of a master daemon alone", script("bench_jobs.py")),
        **measure_cluster(),
    }
    width = max(map(len, verdicts))
    print("\n=== limits")
    for what, good in verdicts.items():
        print(f"{what:<{width}}  {'met' if good else 'MISSED'}")
    return 0 if all(verdicts.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
