"""Names of the ssconf files: small facts of the cluster that every node holds, one value or one entry a line.

Shapes: ``node_primary_ips`` and ``node_secondary_ips`` "name ip"; ``node_vm_capable`` "name=True"; ``nodegroups`` and
``networks`` "uuid name"; ``master_candidates_certs`` "uuid=digest"; ``ssh_ports`` "name=port"; ``hvparams_<hypervisor>``
"key=value"; booleans "True" or "False"; ``primary_ip_family`` "2" or "10".
"""

from __future__ import annotations

from ganeti.model.enums import HypervisorKind

MAX_SIZE = 4 * 1024 * 1024
"""Bytes that one file may have. (128 KiB, as elsewhere, would not hold the names of 10,000 instances.)"""

KEYS = frozenset(
    {
        "cluster_name",
        "cluster_tags",
        "enabled_user_shutdown",
        "file_storage_dir",
        "gluster_storage_dir",
        "hypervisor_list",
        "instance_list",
        "maintain_node_health",
        "master_candidates",
        "master_candidates_certs",
        "master_candidates_ips",
        "master_ip",
        "master_netdev",
        "master_netmask",
        "master_node",
        "networks",
        "node_list",
        "node_primary_ips",
        "node_secondary_ips",
        "node_vm_capable",
        "nodegroups",
        "offline_nodes",
        "online_nodes",
        "primary_ip_family",
        "release_version",
        "shared_file_storage_dir",
        "ssh_ports",
        "uid_pool",
    }
    | {f"hvparams_{kind}" for kind in HypervisorKind}
)
