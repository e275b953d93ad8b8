"""`gnt-cluster destroy`: the last job, then every trace of the cluster on this node."""

from __future__ import annotations

import os
import shutil

from ganeti.base import files
from ganeti.base.errors import Code, PrereqError
from ganeti.base.paths import Paths
from ganeti.bootstrap import daemons
from ganeti.model.ssconf import KEYS
from ganeti.rpc import following
from ganeti.rpc.luxi_client import LuxiClient

STORE_SUFFIXES = ("", "-wal", "-shm", ".lock")


def cluster_files(paths: Paths) -> list[str]:
    """Every file that belongs to the cluster; SSH keys and logs are not among them."""
    return [
        *(paths.store + suffix for suffix in STORE_SUFFIXES),
        *(paths.ssconf(key) for key in sorted(KEYS)),
        paths.config_export,
        paths.epoch,
        paths.ca_certificate,
        paths.ca_key,
        paths.node_certificate,
        paths.rapi_certificate,
        paths.hmac_key,
        paths.domain_secret,
        paths.known_hosts,
    ]


def destroy_cluster(paths: Paths) -> None:
    """Destroy the cluster whose master this is. `PrereqError` while it has instances or other nodes."""
    with LuxiClient(paths) as client:
        following.run_quietly(client.call, [{"OP_ID": "OP_CLUSTER_DESTROY"}])
    daemons.stop_all(paths)
    remove_files(paths)


def remove_files(paths: Paths) -> None:
    """Remove the cluster's files from this node; the daemons must not run."""
    for path in cluster_files(paths):
        files.remove_quietly(path)
    for directory in (paths.livelocks, paths.sockets, paths.fake_hypervisor, paths.kvm):
        shutil.rmtree(directory, ignore_errors=True)
    left = [path for path in cluster_files(paths) if os.path.exists(path)]
    if left:
        raise PrereqError(
            f"the cluster is destroyed, but {', '.join(left)} could not be removed; remove them by hand",
            Code.ENVIRON,
        )
