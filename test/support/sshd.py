"""A real sshd on a loopback port, with keys and a root password of its own, that leaves this machine's files alone."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ganeti.base import net, proc, ssh
from ganeti.base.retry import wait_until

PASSWORD = "correct horse"

# In a mount namespace: sshd wants /run/sshd, and looks passwords up in /etc/shadow.
_START = """set -e
mount -t tmpfs none /run
mkdir -m 755 /run/sshd
mount --bind "$1" /etc/shadow
exec /usr/sbin/sshd -D -e -f "$2"
"""


@dataclass(frozen=True)
class Sshd:
    """A running server: its port, its host keys' public files, the file of keys that may log in."""

    port: int
    host_keys: tuple[Path, ...]
    authorized_keys: Path


@contextmanager
def running_sshd(folder: Path, kinds: tuple[str, ...] = ("ed25519",)) -> Iterator[Sshd]:
    """Run sshd with host keys of these kinds until the block ends. Needs root."""
    port = net.free_port()
    host_keys = []
    for kind in kinds:
        ssh.generate_key(str(folder / f"host_{kind}"), kind)
        host_keys.append(folder / f"host_{kind}.pub")
    authorized = folder / "authorized_keys"
    authorized.touch(0o600)
    digest = proc.run(["openssl", "passwd", "-6", "-stdin"], input=PASSWORD).stdout.strip()
    shadow = folder / "shadow"
    shadow.write_text(f"root:{digest}:19000:0:99999:7:::\nsshd:!:19000::::::\n")
    config = folder / "sshd_config"
    config.write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nUsePAM no\nStrictModes no\nPermitRootLogin yes\nPasswordAuthentication yes\n"
        f"AuthorizedKeysFile {authorized}\nPidFile none\n" + "".join(f"HostKey {path.with_suffix('')}\n" for path in host_keys)
    )
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _START, "sh", str(shadow), str(config)]
    with (folder / "sshd.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={"PATH": os.environ["PATH"]})
    try:
        wait_until(lambda: process.poll() is not None or net.is_reachable("127.0.0.1", port, 1), timeout=10, interval=0.02)
        assert process.poll() is None, (folder / "sshd.log").read_text()
        yield Sshd(port, tuple(host_keys), authorized)
    finally:
        process.terminate()
        process.wait()
