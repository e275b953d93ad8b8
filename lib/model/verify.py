"""Everything that can be wrong in a configuration, for `gnt-cluster verify`. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from ganeti.model import candidates, parameters
from ganeti.model.checks import CONFIG, Finding, about, check_object, find_cluster
from ganeti.model.config import Config
from ganeti.model.enums import Kind
from ganeti.model.filled import fill_beparams
from ganeti.model.memory import MemoryRows
from ganeti.model.objects import AnyObject, Cluster, Disk, Instance, Network

MISSING_PARAMETER = "EINSTANCEMISSINGCFGPARAMETER"


def check_all(config: Config) -> Iterator[Finding]:
    """Everything wrong in the configuration, the gravest first; each thing once."""
    rows = MemoryRows([obj for kind in Kind for obj in config.rows.all(kind)], config.serial)
    seen: set[tuple[str, str]] = set()
    for finding in _check_everything(Config(rows), rows):
        key = (finding.item, finding.message)
        if key not in seen:
            seen.add(key)
            yield finding


def _check_everything(config: Config, rows: MemoryRows) -> Iterator[Finding]:
    if find_cluster(rows) is None:
        yield Finding(CONFIG, Kind.CLUSTER.value, "", "the configuration holds no cluster object")
        return
    yield from _check_cluster(config)
    uuids: dict[str, AnyObject] = {}
    for kind in Kind:
        for obj in rows.all(kind):
            yield from check_object(rows, obj, None)
            if obj.serial_no < 1:
                yield about(obj, f"its serial number is {obj.serial_no}")
            if obj.uuid in uuids:
                yield about(obj, f"its uuid {obj.uuid} is also that of {uuids[obj.uuid].KIND} {uuids[obj.uuid].label}")
            uuids[obj.uuid] = obj
    for instance in config.instances:
        yield from _check_layout(config, instance)
        yield from _check_addresses(config, instance)
    for network in config.networks:
        yield from _check_network(network)


def _check_cluster(config: Config) -> Iterator[Finding]:
    cluster, rows = config.cluster, config.rows
    master = rows.get(Kind.NODE, cluster.master_node)
    if master is None:
        yield about(cluster, f"the master node {cluster.master_node} does not exist")
    elif not master.master_candidate:
        yield Finding(CONFIG, Kind.NODE.value, master.label, "it is the master, so it has to be a master candidate")
    for node in config.nodes:
        if cluster.master_ip in (node.primary_ip, node.secondary_ip):
            yield about(cluster, f"the cluster's address {cluster.master_ip} is used by node {node.name}")
    lacking = candidates.missing(cluster, config.nodes)
    if lacking:
        target_size = candidates.wanted(cluster, config.nodes)
        yield about(cluster, f"not enough master candidates: {target_size - lacking} of {target_size}")
    if not config.groups:
        yield about(cluster, "there is no node group")
    yield from _check_defaults(cluster)


def _check_defaults(cluster: Cluster) -> Iterator[Finding]:
    if not cluster.enabled_hypervisors:
        yield about(cluster, "no hypervisor is enabled")
    if not cluster.enabled_disk_templates:
        yield about(cluster, "no disk template is enabled")
    tables = [
        (f"hypervisor {kind}", parameters.HYPERVISOR[kind], cluster.hvparams.get(kind.value, {}))
        for kind in cluster.enabled_hypervisors
    ]
    tables.append(("back-end", parameters.BACKEND, cluster.beparams.get("default", {})))
    tables.append(("NIC", parameters.NIC, cluster.nicparams.get("default", {})))
    tables.append(("node", parameters.NODE, cluster.ndparams))
    for what, table, values in tables:
        lacking = sorted(table.keys() - values.keys())
        if lacking:
            yield about(cluster, f"{what} parameters without a default: {', '.join(lacking)}")
        unknown = sorted(values.keys() - table.keys())
        if unknown:
            yield about(cluster, f"unknown {what} parameters: {', '.join(unknown)}")


def _check_layout(config: Config, instance: Instance) -> Iterator[Finding]:
    """Whether disks, nodes and settings of an instance fit together."""
    cluster = config.cluster
    if instance.hypervisor not in cluster.enabled_hypervisors:
        yield about(instance, f"its hypervisor {instance.hypervisor} is not enabled")
    if instance.disk_template not in cluster.enabled_disk_templates:
        yield about(instance, f"its disk template {instance.disk_template} is not enabled")
    for index, uuid in enumerate(instance.disks):
        disk = config.rows.get(Kind.DISK, uuid)
        if isinstance(disk, Disk):
            if disk.dev_type is not instance.disk_template:
                yield about(instance, f"disk/{index} is of type {disk.dev_type}, the instance of {instance.disk_template}")
            if disk.iv_name and disk.iv_name != f"disk/{index}":
                yield about(instance, f"disk {index} is called {disk.iv_name}")
            strangers = set(disk.nodes) - {instance.primary_node, *instance.secondary_nodes}
            if strangers and not instance.disk_template.is_externally_mirrored:
                yield about(instance, f"disk/{index} lies on nodes that are not the instance's: {', '.join(sorted(strangers))}")
    backend = fill_beparams(cluster, instance)
    lacking = sorted(parameters.BACKEND.keys() - backend.keys())
    if lacking:
        yield Finding(
            MISSING_PARAMETER, Kind.INSTANCE.value, instance.name, f"it has no back-end parameters {', '.join(lacking)}"
        )
    elif backend["minmem"] > backend["maxmem"]:
        yield about(instance, f"its minimum memory {backend['minmem']} is more than its maximum {backend['maxmem']}")


def _check_addresses(config: Config, instance: Instance) -> Iterator[Finding]:
    for nic in instance.nics:
        network = config.rows.get(Kind.NETWORK, nic.network) if nic.network else None
        if isinstance(network, Network) and nic.ip:
            try:
                inside = ipaddress.ip_address(nic.ip) in ipaddress.ip_network(network.network)
            except ValueError as err:
                yield about(instance, f"address of NIC {nic.uuid}: {err}")
                continue
            if not inside:
                yield about(instance, f"address {nic.ip} is not in network {network.name} ({network.network})")


def _check_network(network: Network) -> Iterator[Finding]:
    try:
        size = ipaddress.ip_network(network.network).num_addresses
    except ValueError as err:
        yield about(network, str(err))
        return
    for what, bits in (("reservations", network.reservations), ("external reservations", network.ext_reservations)):
        if bits and (len(bits) != size or set(bits) - {"0", "1"}):
            yield about(network, f"its {what} are not {size} characters 0 or 1")
