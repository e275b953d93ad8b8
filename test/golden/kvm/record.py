"""Record what a QEMU binary can do, for the golden tests: record.py BINARY, writes capabilities/qemu-MAJOR.MINOR.json."""

from __future__ import annotations

import sys
from pathlib import Path

from ganeti.base import codec, proc
from ganeti.node.hypervisor.kvm.capabilities import probe


def main() -> None:
    """Ask the binary and write the file."""
    found = probe(sys.argv[1], proc.run)
    name = f"qemu-{found.version[0]}.{found.version[1]}.json"
    path = Path(__file__).parent / "capabilities" / name
    path.write_text(codec.dumps(codec.encode(found), indent=1) + "\n")
    print(path)


if __name__ == "__main__":
    main()
