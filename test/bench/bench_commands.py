"""Wall time of commands, as ratios to an empty Python process of the same run. Run on a master node.

Prints one line per command: its median, the baseline's median, and the ratio. Interleaved, so that a slow moment of the machine
hits both.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

BASELINE = [sys.executable, "-c", "pass"]
COMMANDS = (["gnt-instance", "list"], ["gnt-node", "list"], ["gnt-job", "list"], ["gnt-cluster", "getmaster"])
LIMITS = {"gnt-instance list": 5.0}
"""Ratios that must not be exceeded."""


def wall(argv: Sequence[str]) -> float:
    """Seconds of one run."""
    begin = time.perf_counter()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def measure(argv: Sequence[str], rounds: int) -> tuple[float, float]:
    """Medians of the command and of the baseline."""
    wall(argv)
    pairs = [(wall(argv), wall(BASELINE)) for _ in range(rounds)]
    return statistics.median(pair[0] for pair in pairs), statistics.median(pair[1] for pair in pairs)


def main() -> int:
    """Measure all; status 1 if a limit is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=21)
    rounds = parser.parse_args().rounds
    here = os.path.dirname(sys.executable)
    missed = 0
    for program, *words in COMMANDS:
        name = " ".join([program, *words])
        own, base = measure([os.path.join(here, program), *words], rounds)
        limit = LIMITS.get(name)
        verdict = "" if limit is None else f"   (at most {limit:g}: {'yes' if own / base <= limit else 'NO'})"
        missed += limit is not None and own / base > limit
        print(f"{name:24} {own * 1000:7.1f} ms   python3 -c pass {base * 1000:6.1f} ms   ratio {own / base:5.2f}{verdict}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
