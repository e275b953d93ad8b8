"""Files of the cluster on this node: which there are, replacing them, and forgetting the cluster."""

from __future__ import annotations

import os
import shutil

from ganeti.base.errors import PrereqError
from ganeti.base.files import ensure_directory, remove_quietly, write_atomic
from ganeti.base.paths import Paths
from ganeti.base.secret import Secret
from ganeti.node.ssconf import Ssconf
from ganeti.rpc.node.node import CANDIDATE_FILES, CLUSTER_FILES

STORE_SUFFIXES = ("", "-wal", "-shm", ".lock")
_READABLE = {"known_hosts": 0o644, "config.data": 0o640}
"""Files that others than root may read; all others are secrets."""


def upload(paths: Paths, name: str, content: Secret) -> None:
    """Replace one of the `CLUSTER_FILES`. Raises `PrereqError` for any other name."""
    if name not in CLUSTER_FILES:
        raise PrereqError(f"'{name}' is not a file that the master may replace; nothing was written")
    path = os.path.join(paths.data, name)
    if not os.path.isdir(os.path.dirname(path)):
        ensure_directory(os.path.dirname(path), 0o750)
    write_atomic(path, content.reveal(), mode=_READABLE.get(name, 0o600))


def membership_files(paths: Paths) -> list[str]:
    """Every file that makes this host a node of a cluster, ssconf apart."""
    names = [os.path.join(paths.data, name) for name in CLUSTER_FILES]
    own = [paths.ca_certificate, paths.node_certificate, pending_key(paths), paths.epoch]
    return [*names, *own, *(paths.store + suffix for suffix in STORE_SUFFIXES)]


def pending_key(paths: Paths) -> str:
    """Where the private key waits for its certificate while the node joins."""
    return paths.node_certificate + ".key-new"


def forget_candidacy(paths: Paths) -> None:
    """Remove what only master candidates may have, the replica apart."""
    for name in (*CANDIDATE_FILES, "config.data"):
        remove_quietly(os.path.join(paths.data, name))


def forget_cluster(paths: Paths) -> None:
    """Remove everything that makes this host a node. Guests, disks, SSH keys and logs stay."""
    for path in membership_files(paths):
        remove_quietly(path)
    Ssconf(paths).remove()
    shutil.rmtree(os.path.join(paths.data, "rapi"), ignore_errors=True)
