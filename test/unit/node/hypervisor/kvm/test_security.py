from __future__ import annotations

import os
from pathlib import Path

import pytest

from ganeti.base.errors import HypervisorError
from ganeti.node.hypervisor.kvm.security import User, choose_user, parse_pool


def test_pool_is_made_of_numbers_and_ranges() -> None:
    assert parse_pool(["4000", " 5000-5002 "]) == [4000, 5000, 5001, 5002]


def test_damaged_pool_is_an_error() -> None:
    with pytest.raises(HypervisorError, match="'x-y'"):
        parse_pool(["x-y"])


def test_guest_may_stay_root(tmp_path: Path) -> None:
    assert choose_user("none", "", [], str(tmp_path)) == User()


def test_guest_may_be_a_user_who_exists(tmp_path: Path) -> None:
    assert choose_user("user", "root", [], str(tmp_path)) == User("root")
    with pytest.raises(HypervisorError, match="no user 'no-such-user'"):
        choose_user("user", "no-such-user", [], str(tmp_path))


def test_user_of_the_pool_is_free_again_when_the_last_holder_closes(tmp_path: Path) -> None:
    pool = ["4000-4001"]
    first = choose_user("pool", "", pool, str(tmp_path))
    second = choose_user("pool", "", pool, str(tmp_path))
    assert (first.argument, second.argument) == ("4000:4000", "4001:4001")
    with pytest.raises(HypervisorError, match="all 2 users"):
        choose_user("pool", "", pool, str(tmp_path))
    inherited = os.dup(first.fds[0])  # as by the guest's process
    first.close()
    with pytest.raises(HypervisorError, match="all 2 users"):
        choose_user("pool", "", pool, str(tmp_path))
    os.close(inherited)
    third = choose_user("pool", "", pool, str(tmp_path))
    assert third.argument == "4000:4000"
    second.close()
    third.close()


def test_empty_pool_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(HypervisorError, match="is empty"):
        choose_user("pool", "", [], str(tmp_path))


def test_unknown_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(HypervisorError, match="none, user or pool"):
        choose_user("jail", "", [], str(tmp_path))
