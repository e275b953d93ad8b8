"""Network interfaces of a new instance, and what they need of a node."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from ganeti.base.errors import Code, NodeError, PrereqError
from ganeti.model import parameters, params
from ganeti.model.config import Config
from ganeti.model.enums import Kind, NicMode
from ganeti.model.filled import FilledNic, fill_nic
from ganeti.model.ids import NodeUuid, new_uuid
from ganeti.model.index import IndexedRows
from ganeti.model.objects import Cluster, Nic, Params
from ganeti.ops.context import Context
from ganeti.rpc.node.node import NodeApi
from ganeti.rpc.node.replies import VerifyRequest

MAX_NICS = 8
KEYS = ("bridge", "ip", "link", "mac", "mode", "name", "network", "vlan")
GENERATED = ("auto", "generate")

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_VLAN = re.compile(r"\.?[0-9]{1,4}(:[0-9]{1,4})*|")


@dataclass(frozen=True)
class WantedNic:
    """One interface as asked for, checked. `mac` is None if one is to be found."""

    mac: str | None
    ip: str | None
    name: str | None
    nicparams: Params


def check_nics(cluster: Cluster, asked: Sequence[Mapping[str, str | None]], own_ip: str | None) -> list[WantedNic]:
    """The interfaces asked for; `own_ip` is what ``ip=auto`` stands for (the address of the instance's name)."""
    if len(asked) > MAX_NICS:
        raise PrereqError(f"an instance can have {MAX_NICS} NICs at most, not {len(asked)}", Code.INVAL)
    wanted = [_check_nic(cluster, f"nic/{index}", entry, own_ip) for index, entry in enumerate(asked)]
    for label, values in (
        ("called", [nic.name for nic in wanted if nic.name]),
        ("given the MAC address", [nic.mac for nic in wanted if nic.mac]),
    ):
        twice = sorted({value for value in values if values.count(value) > 1})
        if twice:
            raise PrereqError(f"several NICs are {label} {', '.join(twice)}", Code.NOTUNIQUE)
    return wanted


def _check_nic(cluster: Cluster, label: str, entry: Mapping[str, str | None], own_ip: str | None) -> WantedNic:
    unknown = sorted(set(entry) - set(KEYS))
    if unknown:
        raise PrereqError(f"{label}: there is no parameter {unknown[0]}; a NIC has {', '.join(KEYS)}", Code.INVAL)
    values = {key: _meant(value) for key, value in entry.items()}
    if values.get("network") is not None or values.get("ip") == "pool":
        raise PrereqError(f"{label}: networks and their address pools are not supported yet; give link and ip", Code.INVAL)
    if values.get("bridge") is not None:
        if values.get("link") is not None:
            raise PrereqError(f"{label}: bridge is another word for link; give one of them", Code.INVAL)
        values["link"] = values["bridge"]
    given = {key: values[key] for key in ("mode", "link", "vlan") if values.get(key) is not None}
    overrides = params.update({}, params.coerce(parameters.NIC, given, label, allow_default=True))
    ip = _check_ip(label, values.get("ip"), own_ip)
    _check_filled(label, params.fill(cluster.nicparams.get("default", {}), overrides), ip)
    return WantedNic(_check_mac(label, values.get("mac")), ip, values.get("name"), overrides)


def _meant(value: str | None) -> str | None:
    return None if value is None or value.lower() == "none" or not value else value


def _check_mac(label: str, mac: str | None) -> str | None:
    if mac is None or mac in GENERATED:
        return None
    lowered = mac.lower()
    # The lowest bit of the first byte marks a group address, which no interface can have.
    if not _MAC.fullmatch(lowered) or int(lowered[:2], 16) & 1:
        raise PrereqError(f"{label}: '{mac}' is not the MAC address of an interface (such as aa:00:00:35:ac:4f)", Code.INVAL)
    return lowered


def _check_ip(label: str, ip: str | None, own_ip: str | None) -> str | None:
    if ip is None:
        return None
    if ip == "auto":
        if own_ip is None:
            raise PrereqError(f"{label}: ip=auto needs the name to be resolved; add --name-check", Code.INVAL)
        return own_ip
    try:
        return str(ipaddress.ip_address(ip))
    except ValueError:
        raise PrereqError(f"{label}: '{ip}' is not an IP address", Code.INVAL) from None


def _check_filled(label: str, filled: Params, ip: str | None) -> None:
    try:
        mode = NicMode(filled["mode"])
    except ValueError:
        modes = ", ".join(map(str, NicMode))
        raise PrereqError(f"{label}: there is no mode '{filled['mode']}'; there are {modes}", Code.INVAL) from None
    if mode in (NicMode.OPENVSWITCH, NicMode.EXT):
        raise PrereqError(f"{label}: mode {mode} is not supported yet; use bridged or routed", Code.INVAL)
    if mode is NicMode.ROUTED and ip is None:
        raise PrereqError(f"{label}: mode routed needs an IP address", Code.INVAL)
    if not filled["link"]:
        raise PrereqError(f"{label}: the link is missing", Code.INVAL)
    if not _VLAN.fullmatch(filled.get("vlan", "")):
        raise PrereqError(f"{label}: '{filled['vlan']}' is not a VLAN: write 100, .100 or 100:200", Code.INVAL)


def check_duplicates(config: Config, nics: Iterable[WantedNic]) -> None:
    """`PrereqError` if another instance has an address on the same link."""
    # Every implementation of rows has indexes; asking them costs the same in a cluster of any size.
    rows = cast(IndexedRows, config.rows)
    defaults = config.cluster.nicparams.get("default", {})
    for index, nic in enumerate(nics):
        link = params.fill(defaults, nic.nicparams)["link"]
        users = [config.instance(uuid) for kind, uuid in rows.lookup("ip", nic.ip or "") if kind is Kind.INSTANCE]
        for user in users:
            if any(own.ip == nic.ip and params.fill(defaults, own.nicparams)["link"] == link for own in user.nics):
                raise PrereqError(
                    f"nic/{index}: address {nic.ip} on {link} belongs to instance {user.name}; choose another", Code.NOTUNIQUE
                )


def check_conflicts(config: Config, nics: Iterable[WantedNic]) -> None:
    """`PrereqError` if an address belongs to the cluster or a node, or lies in a network of the cluster."""
    taken = {config.cluster.master_ip: "the cluster"}
    for node in config.nodes:
        taken.update({node.primary_ip: f"node {node.name}", node.secondary_ip: f"node {node.name}"})
    for index, nic in enumerate(nics):
        owner = taken.get(nic.ip) if nic.ip else None
        inside = [net.name for net in config.networks if nic.ip and _is_inside(nic.ip, net.network)]
        if owner or inside:
            where = f"belongs to {owner}" if owner else f"lies in network {inside[0]}"
            raise PrereqError(
                f"nic/{index}: address {nic.ip} {where}; choose another, or use --no-conflicts-check", Code.NOTUNIQUE
            )


def _is_inside(ip: str, network: str) -> bool:
    return ipaddress.ip_address(ip) in ipaddress.ip_network(network, strict=False)


def build_nics(ctx: Context, wanted: Iterable[WantedNic]) -> tuple[Nic, ...]:
    """The interface objects. MAC addresses are reserved, or found and reserved, until the job ends."""
    prefix = ctx.config.cluster.mac_prefix
    result = []
    for nic in wanted:
        if nic.mac is not None:
            ctx.reserve("mac", nic.mac)
        mac = nic.mac or ctx.generate("mac", prefix)
        result.append(Nic(uuid=new_uuid(), mac=mac, name=nic.name, ip=nic.ip, nicparams=nic.nicparams))
    return tuple(result)


def check_bridges(ctx: Context, nodes: Iterable[NodeUuid], nics: Iterable[Nic]) -> None:
    """`PrereqError` unless every bridge of these NICs is there on all these nodes."""
    for node, reason in lacking_bridges(ctx, nodes, bridges_of([fill_nic(ctx.config, nic) for nic in nics])).items():
        raise PrereqError(f"{reason} on node {ctx.config.node(node).name}; use another link or another node", Code.ENVIRON)


def lacking_bridges(ctx: Context, nodes: Iterable[NodeUuid], bridges: Sequence[str]) -> dict[str, str]:
    """Why nodes (uuid) cannot be used: which bridges they lack, or that they do not answer."""
    if not bridges:
        return {}
    result = {}
    for node, reply in ctx.nodes.call_all(nodes, NodeApi.node_verify, VerifyRequest(bridges=list(bridges))).items():
        if isinstance(reply, NodeError):
            result[node] = reply.reason
        elif reply.missing_bridges:
            result[node] = f"bridge {', '.join(reply.missing_bridges)} is missing"
    return {str(node): reason for node, reason in result.items()}


def bridges_of(nics: Iterable[FilledNic]) -> list[str]:
    """The bridges that these NICs hang on."""
    return sorted({nic.link for nic in nics if nic.mode is NicMode.BRIDGED})


def bridges_wanted(cluster: Cluster, nics: Iterable[WantedNic]) -> list[str]:
    """The bridges that NICs asked for will hang on."""
    filled = [params.fill(cluster.nicparams.get("default", {}), nic.nicparams) for nic in nics]
    return sorted({str(values["link"]) for values in filled if values["mode"] == NicMode.BRIDGED})
