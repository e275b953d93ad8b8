"""Checking the addresses of nodes. Pure."""

from __future__ import annotations

import ipaddress

from ganeti.base.errors import Code, PrereqError
from ganeti.model.config import Config

FAMILIES = {2: 4, 10: 6}
"""IP version by address family."""


def parse_ip(text: str, what: str, family: int | None = None) -> str:
    """The address in its usual form; `PrereqError` if it is none, or not of the family wanted."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise PrereqError(f"{what} '{text}' is not an IP address", Code.INVAL) from None
    if family is not None and address.version != FAMILIES[family]:
        raise PrereqError(f"{what} {text} is not an IPv{FAMILIES[family]} address", Code.INVAL)
    return str(address)


def check_free(config: Config, addresses: set[str], besides: str | None = None) -> None:
    """`PrereqError` if the cluster or another node than `besides` (uuid) has one of these addresses."""
    if config.cluster.master_ip in addresses:
        raise PrereqError(f"address {config.cluster.master_ip} is the cluster's own", Code.NOTUNIQUE)
    for node in config.nodes:
        taken = addresses & {node.primary_ip, node.secondary_ip}
        if taken and node.uuid != besides:
            raise PrereqError(f"address {min(taken)} belongs to node {node.name}", Code.NOTUNIQUE)


def check_homing(config: Config, primary: str, secondary: str) -> None:
    """`PrereqError` unless the node has one or two addresses just as the master has."""
    master = config.master
    two_wanted = master.primary_ip != master.secondary_ip
    if two_wanted and primary == secondary:
        raise PrereqError(
            "the master has an address of its own for replication (secondary IP), so every node needs one; give it with -s",
            Code.INVAL,
        )
    if not two_wanted and primary != secondary:
        raise PrereqError(
            "the master has no secondary IP, so no other node may have one; leave -s out, or give the master one first",
            Code.INVAL,
        )
