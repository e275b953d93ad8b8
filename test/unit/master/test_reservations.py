"""Reservations: no value is given to two jobs, none that the configuration has."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import pytest

from ganeti.base.errors import Code, PrereqError
from ganeti.master import reservations
from ganeti.master.reservations import Reservations
from ganeti.model.memory import MemoryRows
from support.objects import make_instance, make_network, make_nic, small_cluster


class World:
    def __init__(self) -> None:
        self.objects: list[Any] = list(small_cluster())
        self.network = make_network(name="lan", network="198.51.100.0/29", gateway="198.51.100.1")
        nic = make_nic(mac="aa:00:00:12:34:56", ip="198.51.100.2", network=self.network.uuid)
        self.instance = make_instance(self.objects[2].uuid, name="web", nics=(nic,), network_port=11000)
        self.objects += [self.network, self.instance]
        self.reservations = Reservations(lambda: MemoryRows(self.objects), chance=random.Random(1))
        self.pool = f"ip/{self.network.uuid}"


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize(
    ("what", "value", "code", "text"),
    [
        ("instance-name", "web", Code.EXISTS, "instance name web is used already, by instance web"),
        ("instance-name", "WEB", Code.EXISTS, "by instance web"),
        ("mac", "AA:00:00:12:34:56", Code.NOTUNIQUE, "MAC address AA:00:00:12:34:56 is used already, by instance web"),
        ("port", "11000", Code.NOTUNIQUE, "by instance web"),
    ],
)
def test_value_of_the_configuration_is_refused(world: World, what: str, value: str, code: str, text: str) -> None:
    with pytest.raises(PrereqError, match=text) as caught:
        world.reservations.reserve(1, what, value)
    assert caught.value.code == code


def test_reserved_value_is_kept_from_other_jobs_until_the_job_ends(world: World) -> None:
    world.reservations.reserve(1, "instance-name", "new")
    world.reservations.reserve(1, "instance-name", "new")
    with pytest.raises(PrereqError, match="about to be used by job 1"):
        world.reservations.reserve(2, "instance-name", "NEW")
    assert world.reservations.held(1) == [("instance-name", "new")]
    world.reservations.drop(1)
    assert world.reservations.held(1) == []
    world.reservations.reserve(2, "instance-name", "new")


def test_address_of_a_pool_is_checked(world: World) -> None:
    with pytest.raises(PrereqError, match="by instance web"):
        world.reservations.reserve(1, world.pool, "198.51.100.2")
    with pytest.raises(PrereqError, match=r"is not in network lan \(198.51.100.0/29\)"):
        world.reservations.reserve(1, world.pool, "198.51.100.9")
    with pytest.raises(PrereqError, match="is not an IP address"):
        world.reservations.reserve(1, world.pool, "nonsense")
    with pytest.raises(PrereqError, match="network nowhere does not exist"):
        world.reservations.reserve(1, "ip/nowhere", "198.51.100.3")
    world.reservations.reserve(1, world.pool, "198.51.100.3")


def test_addresses_are_given_lowest_first_until_the_pool_is_empty(world: World) -> None:
    world.objects[-2] = dataclasses.replace(world.network, ext_reservations="00001000")
    given = [world.reservations.generate(job, world.pool) for job in (1, 2, 3)]
    assert given == ["198.51.100.3", "198.51.100.5", "198.51.100.6"]
    with pytest.raises(PrereqError, match="no free IP address left in network lan") as caught:
        world.reservations.generate(4, world.pool)
    assert caught.value.code == Code.NORES
    world.reservations.drop(2)
    assert world.reservations.generate(4, world.pool) == "198.51.100.5"


def test_reserved_position_of_a_network_is_refused(world: World) -> None:
    world.objects[-2] = dataclasses.replace(world.network, reservations="00010000")
    with pytest.raises(PrereqError, match="a reservation of network lan"):
        world.reservations.reserve(1, world.pool, "198.51.100.3")


def test_mac_addresses_follow_the_prefix(world: World) -> None:
    given = {world.reservations.generate(1, "mac") for _ in range(50)}
    assert len(given) == 50
    assert all(mac.startswith("aa:00:00:") and len(mac) == 17 for mac in given)
    assert world.reservations.generate(1, "mac", "02:AB:cd").startswith("02:ab:cd:")


def test_ports_run_out_at_some_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reservations, "LAST_PORT", 11003)
    given = [world.reservations.generate(job, "port") for job in range(3)]
    assert sorted(given) == ["11001", "11002", "11003"]
    with pytest.raises(PrereqError, match="no free TCP port left"):
        world.reservations.generate(9, "port")


def test_unknown_kind_of_value_is_refused(world: World) -> None:
    with pytest.raises(PrereqError, match="cannot be generated"):
        world.reservations.generate(1, "colour")


def test_worker_may_reserve_again_after_a_restart(world: World) -> None:
    mac = world.reservations.generate(7, "mac")
    world.reservations = Reservations(lambda: MemoryRows(world.objects))
    world.reservations.reserve(7, "mac", mac)
    with pytest.raises(PrereqError, match="job 7"):
        world.reservations.reserve(8, "mac", mac)
