# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Plan the seats of a token: the hosts that can be enabled with it.

The server counts machines by their machine identity, and so does the plan. A host holds a seat if it was enabled when
it was last checked. It may hold one if its state is unknown: its client did not report it, its record cannot be read,
or a seat was granted to it and it has not been checked since. All of these seats count as taken.
"""

from __future__ import annotations

import collections
import collections.abc as c
import dataclasses
import typing as t

from .._decisions import causes
from .._decisions.eligibility import FIXED_BY_CLIENT
from .._record import Check, EligibilityVerdict, Reason, Record

_NAMED = 5


@dataclasses.dataclass(frozen=True, slots=True)
class KnownHost:
    """A host of the fleet, as far as its seat is concerned.

    `holds_seat` is true if it holds a seat or may hold one. `identity` is the hash of its machine ID. `refusals` are
    the reasons for a `verdict` other than eligible. `failure` is the reason why it has no current record.
    """

    name: str
    holds_seat: bool = False
    identity: str | None = None
    verdict: EligibilityVerdict | None = None
    refusals: tuple[Reason, ...] = ()
    failure: Reason | None = None


class Denial(t.TypedDict):
    """A host that gets no seat, with the reason and the remedy."""

    host: str
    id: str
    message: str
    remedy: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class SeatPlan:
    """`granted` and `in_use` are hosts. `free` is the number of seats that are left after all grants are used."""

    seats: int
    granted: tuple[str, ...]
    denied: tuple[Denial, ...]
    in_use: tuple[str, ...]
    free: int


def known_from_record(record: Record) -> KnownHost:
    """Return the host that a record describes."""
    client, eligibility = record["client"], record["eligibility"]
    enabled = client["enabled"]
    doubtful = [check for check in eligibility["checks"] if check["status"] in ("fail", "unknown")]
    refusing = [check for check in doubtful if _refuses(check, enabled=enabled is True)]
    verdict = eligibility["verdict"]
    if refusing:
        verdict = "ineligible" if any(check["status"] == "fail" for check in refusing) else "unknown"
        refusing = [
            check for check in refusing if check["status"] == ("fail" if verdict == "ineligible" else "unknown")
        ]
    elif doubtful:
        verdict = "eligible"
    return KnownHost(
        name=record["host"],
        holds_seat=enabled is True or (enabled is None and client["installed"] is not False),
        identity=record["system"]["machine_id_sha256"],
        verdict=verdict,
        refusals=tuple(Reason(id=each["id"], message=each["message"], remedy=each["remedy"]) for each in refusing),
    )


def _refuses(check: Check, *, enabled: bool) -> bool:
    """Return True if a check that is not passed prevents enabling. For an enabled host, unknown checks do not count."""
    if check["id"] in FIXED_BY_CLIENT:
        return False
    if check["id"] == "network":
        return check["status"] == "fail" and not enabled
    return check["status"] == "fail" or not enabled


def plan_seats(
    known: c.Mapping[str, KnownHost], wanting: c.Iterable[str], seats: int, *, require_eligible: bool = True
) -> SeatPlan:
    """Grant the seats to the hosts in `wanting`, in their order; hosts that hold a seat already come first.

    `known` are all hosts of the fleet, including those that do not want a seat now.
    """
    no_record = causes.NO_RECORD.reason()
    hosts = [known.get(name, KnownHost(name, failure=no_record)) for name in dict.fromkeys(wanting)]
    clones = _clones(known.values())
    denied = {host.name: denial for host in hosts if (denial := _refusal(host, clones, require_eligible))}
    admitted = [host for host in hosts if host.name not in denied]
    holders = [host for host in known.values() if host.holds_seat]
    names = {host.name for host in admitted}
    taken = {_identity(host) for host in holders if host.name not in names}
    granted = []
    for host in sorted(admitted, key=lambda host: not host.holds_seat):
        if len(taken) < seats:
            taken.add(_identity(host))
            granted.append(host.name)
        else:
            denied[host.name] = _no_seat(host, seats, [other.name for other in holders], granted)
    return SeatPlan(
        seats=seats,
        granted=tuple(granted),
        denied=tuple(denied[host.name] for host in hosts if host.name in denied),
        in_use=tuple(host.name for host in holders),
        free=max(0, seats - len(taken)),
    )


def _identity(host: KnownHost) -> str:
    """Return the identity by which the host is counted. Without a machine identity, this is its name."""
    return host.identity or f"host {host.name}"


def _clones(hosts: c.Iterable[KnownHost]) -> dict[str, list[KnownHost]]:
    """Return the hosts that share a machine identity, by identity."""
    by_identity = collections.defaultdict(list)
    for host in hosts:
        if host.identity is not None:
            by_identity[host.identity].append(host)
    return {identity: same for identity, same in by_identity.items() if len(same) > 1}


def _refusal(host: KnownHost, clones: c.Mapping[str, list[KnownHost]], require_eligible: bool) -> Denial | None:
    """Return why this host gets no seat, regardless of the number of seats."""
    if host.failure is not None:
        return _denial(host, host.failure)
    same = clones.get(host.identity or "", [])
    # If this host is the only enabled one of them, the server counts it, and there is no conflict yet.
    if same and [other.name for other in same if other.holds_seat] != [host.name]:
        return _denial(host, causes.CLONED.reason(hosts=_named([other.name for other in same])))
    if require_eligible and host.verdict != "eligible":
        return _not_eligible(host)
    return None


def _not_eligible(host: KnownHost) -> Denial:
    reasons = "; ".join(reason["message"] for reason in host.refusals) or "its record does not contain the checks"
    remedies = (reason["remedy"] for reason in host.refusals if reason["remedy"])
    remedy = next(remedies, "see the checks in its record")
    if host.verdict == "ineligible":
        return _denial(host, causes.INELIGIBLE.reason(reasons=reasons, remedy=remedy))
    return _denial(host, causes.ELIGIBILITY_UNKNOWN.reason(reasons=reasons, remedy=remedy))


def _no_seat(host: KnownHost, seats: int, holders: c.Sequence[str], granted: c.Sequence[str]) -> Denial:
    others = [name for name in dict.fromkeys([*holders, *granted]) if name != host.name]
    number = "the only seat is" if seats == 1 else f"all {seats} seats are"
    seats_taken = f"{number} taken by {_named(others)}" if seats else "the number of seats is 0"
    if 0 < seats < len(others):
        number = "there is one seat" if seats == 1 else f"there are {seats} seats"
        seats_taken = f"{number}, and {len(others)} other hosts hold one: {_named(others)}"
    if host.holds_seat:
        return _denial(host, causes.SEATS_EXCEEDED.reason(seats_taken=seats_taken))
    return _denial(host, causes.SEATS_USED_UP.reason(seats_taken=seats_taken))


def _denial(host: KnownHost, reason: Reason) -> Denial:
    return Denial(host=host.name, id=reason["id"], message=reason["message"], remedy=reason["remedy"])


def _named(hosts: c.Sequence[str]) -> str:
    more = [f"{len(hosts) - _NAMED} more"] if hosts[_NAMED:] else []
    *most, last = [*hosts[:_NAMED], *more]
    return f"{', '.join(most)} and {last}" if most else last
