"""As which user a guest's QEMU runs (``security_model``): root, a user of the operator's choice, or one of a pool.

A user of the pool belongs to one guest at a time. That is kept by a lock on a file, whose descriptor the guest's process
inherits: the user is free again exactly when the process is gone.
"""

from __future__ import annotations

import fcntl
import logging
import os
import pwd
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ganeti.base.errors import HypervisorError
from ganeti.base.files import ensure_directory

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class User:
    """Whom to become: `argument` is what QEMU is told (empty: stay root), `fds` are for the process to inherit."""

    argument: str = ""
    fds: tuple[int, ...] = ()

    def close(self) -> None:
        """Close this process's copies of the descriptors."""
        for fd in self.fds:
            os.close(fd)


def choose_user(model: str, domain: str, pool: Sequence[str], lock_directory: str) -> User:
    """The user for a new guest. `pool` are the lines of the cluster's pool. Raises `HypervisorError`."""
    if model == "none":
        return User()
    if model == "user":
        check_domain(domain)
        return User(domain)
    if model == "pool":
        return _take_from_pool(parse_pool(pool), lock_directory)
    raise HypervisorError(f"security_model must be none, user or pool, not '{model}'")


def check_domain(domain: str) -> None:
    """Whether the user exists here. Raises `HypervisorError`."""
    try:
        pwd.getpwnam(domain)
    except KeyError:
        raise HypervisorError(
            f"security_model is 'user', but this node has no user '{domain}'; create it, or correct security_domain"
        ) from None


def parse_pool(lines: Iterable[str]) -> list[int]:
    """Numbers of the users in a pool, from lines such as ``4000`` and ``5000-5010``."""
    found: list[int] = []
    for line in lines:
        first, dash, last = line.strip().partition("-")
        try:
            found.extend(range(int(first), int(last if dash else first) + 1))
        except ValueError:
            raise HypervisorError(f"the cluster's pool of users has an entry that cannot be understood: '{line}'") from None
    return found


def _take_from_pool(pool: list[int], directory: str) -> User:
    if not pool:
        raise HypervisorError(
            "security_model is 'pool', but the cluster's pool of users is empty; fill it with gnt-cluster modify --uid-pool"
        )
    ensure_directory(directory, 0o700)
    for uid in pool:
        fd = os.open(f"{directory}/{uid}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)  # some guest has it
            continue
        return User(f"{uid}:{uid}", (fd,))
    raise HypervisorError(
        f"security_model is 'pool', but all {len(pool)} users of the cluster's pool are taken on this node;"
        " add some with gnt-cluster modify --add-uids"
    )
