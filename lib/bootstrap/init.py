"""`gnt-cluster init`: from a plain host to a cluster of one node. Every step registers its undo; a failure leaves nothing."""

from __future__ import annotations

import ipaddress
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ganeti.base import files, net, ssh, x509
from ganeti.base.errors import Code, PrereqError
from ganeti.base.net import InterfaceAddress
from ganeti.base.paths import Paths
from ganeti.base.secret import generate_token
from ganeti.base.undo import Undo
from ganeti.bootstrap import daemons
from ganeti.bootstrap.settings import FirstNode, InitSettings, build_objects
from ganeti.master.ssconf import ssconf_values
from ganeti.model.config import Config
from ganeti.model.known_hosts import known_hosts
from ganeti.model.memory import MemoryRows
from ganeti.model.names import normalize_host_name
from ganeti.model.objects import AnyObject, Cluster, Put
from ganeti.node import cluster_files, identity
from ganeti.node.ssconf import Ssconf
from ganeti.rpc import following
from ganeti.rpc.luxi_client import LuxiClient
from ganeti.store.writer import Store

AUTHORITY_DAYS = 10 * 365
NODE_PORT = 1811
FIRST_EPOCH = 1

Say = Callable[[str], None]


@dataclass(frozen=True)
class Host:
    """What this host says of itself; gathered once, so that the checks can be pure."""

    name: str
    primary_ip: str
    cluster_ip: str
    cluster_answers: bool
    addresses: tuple[InterfaceAddress, ...]
    devices: tuple[str, ...]
    leftovers: tuple[str, ...]
    """Files of a cluster that are here already."""


def look_around(paths: Paths, settings: InitSettings) -> Host:
    """Resolve names and find out about addresses, devices and leftovers of another cluster."""
    family = 2 if settings.primary_ip_version == 4 else 10
    normalize_host_name(settings.cluster_name)
    own = net.resolve(paths.hostname, family)
    cluster = net.resolve(settings.cluster_name, family)
    kept = [*cluster_files.membership_files(paths), paths.ssconf("cluster_name")]
    return Host(
        name=paths.hostname if "." in paths.hostname else own.name,
        primary_ip=own.ip,
        cluster_ip=cluster.ip,
        cluster_answers=net.is_reachable(cluster.ip, NODE_PORT, timeout=1.0),
        addresses=tuple(net.own_addresses()),
        devices=tuple(sorted(os.listdir("/sys/class/net"))),
        leftovers=tuple(path for path in kept if os.path.exists(path)),
    )


def check_host(host: Host, settings: InitSettings) -> None:
    """Whether a cluster can begin on this host; raises `PrereqError`. Pure."""
    own = {address.ip for address in host.addresses}
    if host.leftovers:
        raise PrereqError(
            f"this host is in a cluster already, or was: {', '.join(host.leftovers)} exist; "
            "if that cluster is gone, remove them ('gnt-cluster destroy' does, on its master)",
            Code.EXISTS,
        )
    if ipaddress.ip_address(host.primary_ip).is_loopback:
        raise PrereqError(
            f"this host's name {host.name} resolves to the loopback address {host.primary_ip}; "
            "other nodes could not reach it: give it a real address in /etc/hosts or DNS",
            Code.ENVIRON,
        )
    if host.primary_ip not in own:
        raise PrereqError(
            f"this host's name {host.name} resolves to {host.primary_ip}, which is no address of this host",
            Code.ENVIRON,
        )
    if host.cluster_ip == host.primary_ip:
        raise PrereqError(
            f"the cluster's name {settings.cluster_name} resolves to this host's own address {host.primary_ip}; "
            "it needs an address of its own, since it moves with the master role",
            Code.NOTUNIQUE,
        )
    if host.cluster_answers or host.cluster_ip in own:
        raise PrereqError(
            f"the cluster's address {host.cluster_ip} ({settings.cluster_name}) is in use already",
            Code.NOTUNIQUE,
        )
    if settings.secondary_ip and settings.secondary_ip not in own:
        raise PrereqError(
            f"the secondary address {settings.secondary_ip} is no address of this host", Code.ENVIRON
        )


def check_device(host: Host, cluster: Cluster) -> None:
    """Whether the interface for the cluster's address exists."""
    if cluster.master_netdev not in host.devices:
        raise PrereqError(
            f"there is no network interface {cluster.master_netdev} for the cluster's address; "
            f"name one with --master-netdev (here: {', '.join(host.devices)})",
            Code.ENVIRON,
        )


def init_cluster(paths: Paths, settings: InitSettings, say: Say = lambda _text: None) -> Cluster:
    """Make this host the first node and master of a new cluster; returns the cluster as stored."""
    host = look_around(paths, settings)
    check_host(host, settings)
    # Everything wrong with the settings shows before anything is made.
    check_device(host, build_objects(settings, FirstNode(host.name, host.primary_ip, host.cluster_ip))[0])
    with Undo() as undo:
        _make_directories(paths, undo)
        say("Making the cluster's certificates and keys")
        first = _make_identity(paths, settings, host, undo)
        objects = build_objects(settings, first)
        say("Writing the cluster store")
        cluster = _make_store(paths, objects, undo)
        _write_cluster_files(paths, objects, undo)
        # The master daemon puts the cluster's address on this host as soon as it runs.
        undo.push(_drop_address, cluster)
        undo.push(daemons.stop_all, paths)
        say("Starting the daemons")
        daemons.start_all(paths)
        say("Running the first job")
        _post_init(paths)
        undo.commit()
    return cluster


def _make_directories(paths: Paths, undo: Undo) -> None:
    for path, mode in (
        (paths.data, 0o750),
        (paths.conf, 0o755),
        (paths.hooks, 0o755),
        (paths.log, 0o750),
        (paths.os_log, 0o750),
        (paths.run, 0o755),
        (paths.sockets, 0o750),
        (paths.livelocks, 0o750),
        (paths.lock, 0o755),
    ):
        if not os.path.isdir(path):
            files.ensure_directory(path, mode)
            if not path.startswith(paths.log):  # logs of an attempt that failed are worth keeping
                undo.push(shutil.rmtree, path, ignore_errors=True)


def _write(path: str, text: str, undo: Undo, mode: int = 0o600) -> None:
    undo.push(files.remove_quietly, path)
    files.write_atomic(path, text, mode=mode)


def _make_identity(paths: Paths, settings: InitSettings, host: Host, undo: Undo) -> FirstNode:
    """Certificates and secrets of the cluster, certificate and SSH keys of this node."""
    authority = x509.create_authority(settings.cluster_name, AUTHORITY_DAYS)
    _write(paths.ca_key, authority.key_pem, undo)
    _write(paths.ca_certificate, authority.cert_pem, undo, 0o644)
    own = identity.make_certificate(authority, host.name)
    _write(paths.node_certificate, own.pem, undo)
    _write(paths.rapi_certificate, identity.make_certificate(authority, settings.cluster_name).pem, undo)
    _write(paths.hmac_key, generate_token().reveal() + "\n", undo)
    _write(paths.domain_secret, generate_token().reveal() + "\n", undo)
    host_key = identity.host_key(paths) if settings.modify_ssh_setup else ""
    root_key = _make_root_key(paths, settings, undo) if settings.modify_ssh_setup else ""
    return FirstNode(
        host.name, host.primary_ip, host.cluster_ip, x509.digest(own.cert_pem), host_key, root_key
    )


def _make_root_key(paths: Paths, settings: InitSettings, undo: Undo) -> str:
    kind = settings.ssh_key_type or "rsa"
    line, made = identity.ensure_root_key(paths, kind, settings.ssh_key_bits)
    if made:
        for suffix in ("", ".pub"):
            undo.push(files.remove_quietly, identity.root_key_file(paths, kind) + suffix)
    authorized = paths.ssh_directory + "/authorized_keys"
    if ssh.add_authorized_key(authorized, line):
        undo.push(ssh.remove_authorized_key, authorized, line)
    return line


def _make_store(paths: Paths, objects: Sequence[AnyObject], undo: Undo) -> Cluster:
    for suffix in ("", "-wal", "-shm", ".lock"):
        undo.push(files.remove_quietly, paths.store + suffix)
    with Store.open(paths.store, epoch=FIRST_EPOCH, create=True) as store:
        committed = store.commit(None, [Put(one) for one in objects]).result()
    files.write_atomic(paths.epoch, f"{FIRST_EPOCH}\n", mode=0o644)
    undo.push(files.remove_quietly, paths.epoch)
    return next(one for one in committed.objects if isinstance(one, Cluster))


def _write_cluster_files(paths: Paths, objects: Sequence[AnyObject], undo: Undo) -> None:
    config = Config(MemoryRows([replace(one, serial_no=1) for one in objects]))
    master = config.master
    values = ssconf_values(config)
    for key in values:
        undo.push(files.remove_quietly, paths.ssconf(key))
    Ssconf(paths).write(values)
    nodes = [(master.name, master.primary_ip, master.ssh_host_key)]
    _write(paths.known_hosts, known_hosts(config.cluster.cluster_name, nodes), undo, 0o644)


def _drop_address(cluster: Cluster) -> None:
    if any(address.ip == cluster.master_ip for address in net.own_addresses()):
        net.remove_address(cluster.master_netdev, cluster.master_ip, cluster.master_netmask)


def _post_init(paths: Paths) -> None:
    with LuxiClient(paths) as client:
        following.run_quietly(client.call, [{"OP_ID": "OP_CLUSTER_POST_INIT"}])
