"""`gnt-cluster destroy`: the last job, then every trace of the cluster on this node."""

from __future__ import annotations

import shutil

from ganeti.base.paths import Paths
from ganeti.bootstrap import daemons
from ganeti.node import cluster_files
from ganeti.rpc import following
from ganeti.rpc.luxi_client import LuxiClient


def destroy_cluster(paths: Paths) -> None:
    """Destroy the cluster whose master this is. `PrereqError` while it has instances or other nodes."""
    with LuxiClient(paths) as client:
        following.run_quietly(client.call, [{"OP_ID": "OP_CLUSTER_DESTROY"}])
    daemons.stop_all(paths)
    cluster_files.forget_cluster(paths)
    for directory in (paths.livelocks, paths.sockets):
        shutil.rmtree(directory, ignore_errors=True)
