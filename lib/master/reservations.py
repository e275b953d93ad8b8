"""Values that a job has chosen but not committed yet: MAC addresses, ports, addresses of networks, names.

Two jobs that run at the same time must not choose the same value. What a job reserves is kept from the others until the job
ends; by then it stands in the configuration, or is free again.

Reservations live in memory. After a restart of the daemon they are gone while the jobs go on; the check of every commit
(`model.checks`) is what makes sure that no value is used twice: the second job to commit it is refused. To make that rare, a
worker may reserve again, after it has re-attached, what it had got but not committed.

All of it belongs to one thread (the event loop's).
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable, Iterator

from ganeti.base.errors import Code, PrereqError
from ganeti.model.enums import Kind
from ganeti.model.export import FIRST_PORT, LAST_PORT
from ganeti.model.index import IndexedRows
from ganeti.model.objects import Cluster, Network

_Key = tuple[str, str]
"""(what, value)"""

MAC_ATTEMPTS = 1000
_WORDS = {"mac": "MAC address", "port": "TCP port", "instance-name": "instance name", "ip": "IP address"}


class Reservations:
    """Which job has reserved what."""

    def __init__(self, snapshot: Callable[[], IndexedRows], *, chance: random.Random | None = None) -> None:
        """`snapshot`: gives the present configuration."""
        self._snapshot = snapshot
        self._chance = chance or random.SystemRandom()
        self._owners: dict[_Key, int] = {}

    def reserve(self, job: int, what: str, value: str) -> None:
        """Keep a value for a job; again for the same job is harmless.

        `what`: ``mac``, ``port``, ``instance-name``, ``ip/<network>``. Raises `PrereqError` if the configuration or another job
        has the value.
        """
        key = (what, _normal(what, value))
        owner = self._owners.get(key)
        if owner == job:
            return
        if owner is not None:
            raise PrereqError(f"{_word(what)} {value} is about to be used by job {owner}", Code.NOTUNIQUE)
        user = _find_user(self._snapshot(), *key)
        if user is not None:
            code = Code.EXISTS if what == "instance-name" else Code.NOTUNIQUE
            raise PrereqError(f"{_word(what)} {value} is used already, by {user}", code)
        self._owners[key] = job

    def generate(self, job: int, what: str, hint: str = "") -> str:
        """Find a free value and reserve it for a job.

        `what`: ``mac`` (hint: a prefix of three bytes instead of the cluster's), ``port``, ``ip/<network>``. Raises `PrereqError`
        if none is left.
        """
        rows = self._snapshot()
        for value in self._candidates(rows, what, hint):
            key = (what, value)
            if key not in self._owners and _find_user(rows, *key) is None:
                self._owners[key] = job
                return value
        raise PrereqError(f"there is no free {_word(what)} left{_where(rows, what)}", Code.NORES)

    def drop(self, job: int) -> None:
        """The job has ended."""
        for key in [key for key, owner in self._owners.items() if owner == job]:
            del self._owners[key]

    def held(self, job: int) -> list[_Key]:
        """What a job has reserved."""
        return sorted(key for key, owner in self._owners.items() if owner == job)

    def _candidates(self, rows: IndexedRows, what: str, hint: str) -> Iterator[str]:
        kind, _, network = what.partition("/")
        if what == "mac":
            prefix = hint or _cluster(rows).mac_prefix
            for _ in range(MAC_ATTEMPTS):
                yield ":".join([prefix.lower(), *(f"{self._chance.randrange(256):02x}" for _ in range(3))])
        elif what == "port":
            # From the lowest: a firewall that lets a hundred ports through serves a hundred instances.
            yield from map(str, range(FIRST_PORT, LAST_PORT + 1))
        elif kind == "ip" and network:
            yield from _pool(_network(rows, network))
        else:
            raise PrereqError(f"values of '{what}' cannot be generated", Code.INVAL)


def _normal(what: str, value: str) -> str:
    return value.lower() if what in ("mac", "instance-name") else value


def _word(what: str) -> str:
    return _WORDS.get(what.partition("/")[0], what)


def _where(rows: IndexedRows, what: str) -> str:
    _, _, network = what.partition("/")
    return f" in network {_network(rows, network).name}" if network else ""


def _find_user(rows: IndexedRows, what: str, value: str) -> str | None:
    """Who has the value in the configuration, in words."""
    kind, _, network = what.partition("/")
    if what == "instance-name":
        found = rows.by_name(Kind.INSTANCE, value)
        return None if found is None else f"instance {found.name}"
    if kind == "ip" and network:
        reserved = _is_reserved(_network(rows, network), value)
        if reserved:
            return f"a reservation of network {_network(rows, network).name}"
    users = rows.lookup(what, value)
    if not users:
        return None
    obj = rows.get(*users[0])
    return f"{users[0][0]} {obj.label if obj is not None else users[0][1]}"


def _cluster(rows: IndexedRows) -> Cluster:
    for cluster in rows.all(Kind.CLUSTER):
        assert isinstance(cluster, Cluster)
        return cluster
    raise PrereqError("there is no cluster in the configuration", Code.ENVIRON)


def _network(rows: IndexedRows, uuid: str) -> Network:
    found = rows.get(Kind.NETWORK, uuid)
    if not isinstance(found, Network):
        raise PrereqError(f"network {uuid} does not exist", Code.NOENT)
    return found


def _pool(network: Network) -> Iterator[str]:
    """Addresses of a network that may be given away, lowest first; the first and the last one and the gateway are not."""
    subnet = ipaddress.ip_network(network.network)
    for address in subnet.hosts():
        if str(address) != network.gateway:
            yield str(address)


def _is_reserved(network: Network, value: str) -> bool:
    """Whether the network's own pools say that an address is taken; raises `PrereqError` if it does not belong to it."""
    subnet = ipaddress.ip_network(network.network)
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        raise PrereqError(f"'{value}' is not an IP address", Code.INVAL) from None
    if address not in subnet:
        raise PrereqError(f"IP address {value} is not in network {network.name} ({network.network})", Code.INVAL)
    position = int(address) - int(subnet.network_address)
    return any(bits[position : position + 1] == "1" for bits in (network.reservations, network.ext_reservations))
