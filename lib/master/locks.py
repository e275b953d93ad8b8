"""The lock table: who holds which lock, who waits for which, and who is next. Pure: no clock, no waiting, no I/O.

A request is granted as a whole or queued as a whole. It is granted when it conflicts neither with a lock that somebody else
holds nor with a queued request that comes before it (more urgent priority, then earlier arrival), so a large request is not
starved by small ones. Owners that wait hold nothing, so no deadlock is possible.

The lock of a level (``node/[lockset]``) stands for all its members, also those that do not exist yet. Each claim on a member
is therefore also an *intention* on its level's lock, in the manner of multi-granularity locking [Gray et al. 1976]:

    ======================  ====  ====  ===  ===
    compatible with         IS    IX    S    X
    ======================  ====  ====  ===  ===
    IS (a member, shared)   yes   yes   yes  no
    IX (a member, excl.)    yes   yes   no   no
    S  (shared)             yes   no    yes  no
    X  (exclusive)          no    no    no   no
    ======================  ====  ====  ===  ===

Every operation costs in proportion to the locks it names and the requests that these block, not to the size of the table.
"""

from __future__ import annotations

import bisect
import enum
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from ganeti.base.errors import ConfigError, ExecError
from ganeti.model.locks import ALL, LockName, level_of, lock, sort_key

Owner = int
"""Locks are owned by jobs, known by their ids."""


class Mode(enum.IntEnum):
    """How a lock is claimed; the first two are intentions on the lock of a level."""

    INTEND_SHARED = 0
    INTEND_EXCLUSIVE = 1
    SHARED = 2
    EXCLUSIVE = 3


_IS, _IX, _S, _X = Mode
_CONFLICTS: tuple[tuple[Mode, ...], ...] = ((_X,), (_S, _X), (_IX, _X), (_IS, _IX, _S, _X))
_INTENTION = {_S: _IS, _X: _IX}
_WORDS = {_IS: "shared", _IX: "exclusive", _S: "shared", _X: "exclusive"}

Claim = tuple[LockName, Mode]


@dataclass(slots=True, eq=False)
class _Request:
    owner: Owner
    order: tuple[int, int]
    exclusive: frozenset[LockName]
    shared: frozenset[LockName]
    claims: frozenset[Claim]


def _order(request: _Request) -> tuple[int, int]:
    return request.order


@dataclass(slots=True)
class _Entry:
    """One lock. Per mode: how many claims each owner holds, and the requests that wait, in their order."""

    holders: tuple[dict[Owner, int], ...] = field(default_factory=lambda: ({}, {}, {}, {}))
    waiters: tuple[list[_Request], ...] = field(default_factory=lambda: ([], [], [], []))

    def is_unused(self) -> bool:
        return not any(self.holders) and not any(self.waiters)

    def is_held_against(self, owner: Owner, mode: Mode) -> bool:
        for other in _CONFLICTS[mode]:
            holders = self.holders[other]
            if len(holders) > (owner in holders):
                return True
        return False

    def is_awaited_against(self, mode: Mode, order: tuple[int, int] | None) -> bool:
        """Whether a conflicting request comes before `order` (None: any)."""
        for other in _CONFLICTS[mode]:
            waiters = self.waiters[other]
            if waiters and (order is None or waiters[0].order < order):
                return True
        return False

    def unblocked(self, gone: Mode) -> Iterator[_Request]:
        """Requests that a claim of mode `gone` may have blocked here, as far as no earlier one blocks them too."""
        for mode in _CONFLICTS[gone]:
            if not self.waiters[mode]:
                continue
            first = min((self.waiters[other][0].order for other in _CONFLICTS[mode] if self.waiters[other]), default=None)
            for request in self.waiters[mode]:
                if first is not None and request.order > first:
                    break
                yield request


@dataclass(frozen=True)
class Held:
    """The locks of one owner."""

    exclusive: frozenset[LockName] = frozenset()
    shared: frozenset[LockName] = frozenset()


@dataclass(frozen=True)
class Obstacle:
    """Why a request waits at one lock: those who hold it, and queued requests that come first."""

    lock: LockName
    mode: str
    holders: tuple[Owner, ...]
    ahead: tuple[Owner, ...]

    def __str__(self) -> str:
        parts = []
        if self.holders:
            parts.append(f"held by {_jobs(self.holders)}")
        if self.ahead:
            parts.append(f"wanted earlier by {_jobs(self.ahead)}")
        return f"{self.lock} ({self.mode}): {', '.join(parts)}"


@dataclass(frozen=True)
class LockRow:
    """One lock as the query resource ``lock`` shows it. `pending` holds (mode, owner) in the order of their turn."""

    name: LockName
    mode: str | None
    owners: tuple[Owner, ...]
    pending: tuple[tuple[str, Owner], ...]


def _jobs(owners: Collection[Owner]) -> str:
    return ("job " if len(owners) == 1 else "jobs ") + ", ".join(map(str, owners))


class LockTable:
    """See the text of the module. Methods that may let others go on return the owners whose requests were granted."""

    def __init__(self) -> None:
        self._entries: dict[LockName, _Entry] = {}
        self._held: dict[Owner, dict[LockName, Mode]] = {}
        self._waiting: dict[Owner, _Request] = {}
        self._arrivals = 0

    # --- asking
    def request(
        self, owner: Owner, exclusive: Iterable[LockName], shared: Iterable[LockName] = (), priority: int = 0
    ) -> bool:
        """Take all the locks now (True) or queue for them (False). A repeated request keeps its place.

        An owner that holds locks gets more only if they are free at once; else `ExecError`: it must release first.
        """
        wanted = frozenset(exclusive)
        also = frozenset(shared) - wanted
        known = self._waiting.get(owner)
        if known is not None:
            if (known.exclusive, known.shared) == (wanted, also):
                return False
            raise ExecError(f"job {owner} asked for other locks while its earlier request was still waiting")
        self._arrivals += 1
        request = _Request(owner, (priority, self._arrivals), wanted, also, _claims(wanted, also))
        if owner in self._held:
            return self._extend(request)
        if self._is_grantable(request):
            self._grant(request)
            return True
        self._enqueue(request)
        return False

    def acquire_free(self, owner: Owner, names: Iterable[LockName], minimum: int = 0) -> list[LockName]:
        """Take exclusively whichever of `names` nobody holds or waits for; nothing if fewer than `minimum` are free."""
        free = [name for name in sorted(set(names), key=sort_key) if self._is_free(owner, name)]
        if len(free) < minimum:
            return []
        for name in free:
            self._hold(owner, name, _X)
        return free

    def withdraw(self, owner: Owner) -> list[Owner]:
        """Forget the owner's queued request, if any."""
        request = self._waiting.pop(owner, None)
        if request is None:
            return []
        self._dequeue(request)
        return self._advance(request.claims)

    def set_priority(self, owner: Owner, priority: int) -> list[Owner]:
        """Move the owner's queued request, if any, among those of another priority; it keeps its arrival."""
        request = self._waiting.get(owner)
        if request is None or request.order[0] == priority:
            return []
        self._dequeue(request)
        request.order = (priority, request.order[1])
        self._enqueue(request)
        granted = self._advance(request.claims)
        return granted if owner in granted else [*granted, *self._try(request)]

    # --- giving back
    def release(self, owner: Owner, names: Iterable[LockName] | None = None) -> list[Owner]:
        """Give locks back (None: all). Locks that the owner does not hold are ignored."""
        held = self._held.get(owner, {})
        gone: set[Claim] = set()
        for name in list(held) if names is None else list(names):
            mode = held.get(name)
            if mode is not None:
                gone |= self._drop(owner, name, mode)
        return self._advance(gone)

    def downgrade(self, owner: Owner, names: Iterable[LockName]) -> list[Owner]:
        """Turn exclusive locks into shared ones. Locks that the owner does not hold exclusively are ignored."""
        gone: set[Claim] = set()
        for name in names:
            if self._held.get(owner, {}).get(name) is _X:
                gone |= self._drop(owner, name, _X)
                self._hold(owner, name, _S)
        return self._advance(gone)

    def present(self, owner: Owner, exclusive: Iterable[LockName], shared: Iterable[LockName] = ()) -> list[Owner]:
        """Make these, exactly, the owner's locks: it says that it has them. A queued request of it is forgotten.

        Raises `ConfigError`, and changes nothing, if one of them conflicts with what another owner holds.
        """
        wanted = frozenset(exclusive)
        also = frozenset(shared) - wanted
        conflicts = sorted(
            {
                f"{name} is held by {_jobs(holders)}"
                for name, mode in _claims(wanted, also)
                if (holders := self._holders_against(owner, name, mode))
            }
        )
        if conflicts:
            raise ConfigError(f"job {owner} claims locks that others hold: {'; '.join(conflicts)}")
        granted = self.withdraw(owner)
        target = dict.fromkeys(wanted, _X) | dict.fromkeys(also, _S)
        gone: set[Claim] = set()
        for name, mode in list(self._held.get(owner, {}).items()):
            if target.get(name) is not mode:
                gone |= self._drop(owner, name, mode)
        for name, mode in target.items():
            if name not in self._held.get(owner, {}):
                self._hold(owner, name, mode)
        return granted + self._advance(gone)

    # --- looking
    def held(self, owner: Owner) -> Held:
        """What the owner holds."""
        held = self._held.get(owner, {})
        exclusive = frozenset(name for name, mode in held.items() if mode is _X)
        return Held(exclusive, frozenset(held) - exclusive)

    def is_waiting(self, owner: Owner) -> bool:
        return owner in self._waiting

    def owners(self) -> set[Owner]:
        """Everybody who holds a lock or waits for one."""
        return set(self._held) | set(self._waiting)

    def why(self, owner: Owner) -> list[Obstacle]:
        """What the owner's queued request waits for, in the order of the locks; empty if it does not wait."""
        request = self._waiting.get(owner)
        if request is None:
            return []
        obstacles = []
        for name, mode in sorted(request.claims, key=lambda claim: (sort_key(claim[0]), claim[1])):
            holders = tuple(sorted(self._holders_against(owner, name, mode)))
            entry = self._entries[name]
            ahead = tuple(
                other.owner
                for other_mode in _CONFLICTS[mode]
                for other in entry.waiters[other_mode]
                if other.order < request.order
            )
            if holders or ahead:
                obstacles.append(Obstacle(name, _WORDS[mode], holders, tuple(dict.fromkeys(ahead))))
        return obstacles

    def rows(self) -> list[LockRow]:
        """All locks that somebody holds or waits for, in their order."""
        return [self._row(name) for name in sorted(self._entries, key=sort_key)]

    def _row(self, name: LockName) -> LockRow:
        entry = self._entries[name]
        mode = next((word for kind, word in ((_X, "exclusive"), (_S, "shared")) if entry.holders[kind]), None)
        owners = tuple(sorted({*entry.holders[_X], *entry.holders[_S]}))
        waiting = sorted((*entry.waiters[_X], *entry.waiters[_S]), key=_order)
        pending = tuple(("exclusive" if name in request.exclusive else "shared", request.owner) for request in waiting)
        return LockRow(name, mode, owners, pending)

    # --- inside
    def _is_grantable(self, request: _Request) -> bool:
        for name, mode in request.claims:
            entry = self._entries.get(name)
            if entry is None:
                continue
            if entry.is_held_against(request.owner, mode) or entry.is_awaited_against(mode, request.order):
                return False
        return True

    def _is_free(self, owner: Owner, name: LockName) -> bool:
        if name in self._held.get(owner, {}):
            return False
        for claimed, mode in _claims((name,), ()):
            entry = self._entries.get(claimed)
            if entry and (entry.is_held_against(owner, mode) or entry.is_awaited_against(mode, None)):
                return False
        return True

    def _holders_against(self, owner: Owner, name: LockName, mode: Mode) -> set[Owner]:
        entry = self._entries.get(name)
        if entry is None:
            return set()
        return {other for kind in _CONFLICTS[mode] for other in entry.holders[kind]} - {owner}

    def _extend(self, request: _Request) -> bool:
        """More locks for an owner that holds some. It may pass those who wait (they may wait for it), but never wait itself."""
        for name, mode in sorted(request.claims, key=lambda claim: sort_key(claim[0])):
            holders = self._holders_against(request.owner, name, mode)
            if holders:
                raise ExecError(
                    f"job {request.owner} holds locks and wants {name}, which is held by {_jobs(sorted(holders))};"
                    " whoever holds locks must not wait for others: release them first"
                )
        self._grant(request)
        return True

    def _grant(self, request: _Request) -> None:
        for name in request.exclusive:
            self._hold(request.owner, name, _X)
        for name in request.shared:
            self._hold(request.owner, name, _S)

    def _hold(self, owner: Owner, name: LockName, mode: Mode) -> None:
        held = self._held.setdefault(owner, {})
        before = held.get(name)
        if before is not None:
            if before >= mode:
                return
            self._drop(owner, name, before)
            held = self._held.setdefault(owner, {})
        held[name] = mode
        for claimed, kind in _claim(name, mode):
            holders = self._entry(claimed).holders[kind]
            holders[owner] = holders.get(owner, 0) + 1

    def _drop(self, owner: Owner, name: LockName, mode: Mode) -> set[Claim]:
        """Take one lock from its holder; returns the claims that are really gone."""
        held = self._held[owner]
        del held[name]
        if not held:
            del self._held[owner]
        gone = set()
        for claimed, kind in _claim(name, mode):
            holders = self._entries[claimed].holders[kind]
            holders[owner] -= 1
            if not holders[owner]:
                del holders[owner]
                gone.add((claimed, kind))
                self._forget_if_unused(claimed)
        return gone

    def _enqueue(self, request: _Request) -> None:
        self._waiting[request.owner] = request
        for name, mode in request.claims:
            bisect.insort(self._entry(name).waiters[mode], request, key=_order)

    def _dequeue(self, request: _Request) -> None:
        for name, mode in request.claims:
            waiters = self._entries[name].waiters[mode]
            del waiters[bisect.bisect_left(waiters, request.order, key=_order)]
            self._forget_if_unused(name)

    def _advance(self, gone: Iterable[Claim]) -> list[Owner]:
        """Grant what the claims that are gone had blocked. Granting blocks as much as waiting did, so once is enough."""
        candidates: dict[Owner, _Request] = {}
        for name, mode in gone:
            entry = self._entries.get(name)
            if entry is not None:
                candidates.update((request.owner, request) for request in entry.unblocked(mode))
        return [owner for request in sorted(candidates.values(), key=_order) for owner in self._try(request)]

    def _try(self, request: _Request) -> list[Owner]:
        """Grant a queued request if that is possible now."""
        if not self._is_grantable(request):
            return []
        del self._waiting[request.owner]
        self._dequeue(request)
        self._grant(request)
        return [request.owner]

    def _entry(self, name: LockName) -> _Entry:
        entry = self._entries.get(name)
        if entry is None:
            entry = self._entries[name] = _Entry()
        return entry

    def _forget_if_unused(self, name: LockName) -> None:
        if self._entries[name].is_unused():
            del self._entries[name]


def _claim(name: LockName, mode: Mode) -> tuple[Claim, ...]:
    """What a lock in a mode claims: itself and, for a member of a level, the intention on the level's lock."""
    if name.endswith(ALL):
        return ((name, mode),)
    return ((name, mode), (lock(level_of(name)), _INTENTION[mode]))


def _claims(exclusive: Iterable[LockName], shared: Iterable[LockName]) -> frozenset[Claim]:
    pairs = [*((name, _X) for name in exclusive), *((name, _S) for name in shared)]
    return frozenset(claim for name, mode in pairs for claim in _claim(name, mode))
