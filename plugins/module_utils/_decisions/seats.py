# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Seats: which hosts may be enabled with a token that enables only so many.

The service counts machines by their machine identity, and so does the plan. A host holds a seat when it is enabled as
last seen, and may hold one when nobody can tell: its client could not say, its record cannot be read, or a seat was
granted to it and nobody has looked since. All of these count, so that the plan errs on the side of too few.
"""

from __future__ import annotations

import collections
import collections.abc as c
import dataclasses
import typing as t

from .._record import Check, EligibilityVerdict, Reason, Record
from .eligibility import FIXED_BY_CLIENT

_NAMED = 5


@dataclasses.dataclass(frozen=True, slots=True)
class KnownHost:
    """What is known of a host that has been looked at, or was to be.

    `holds_seat`: it has a seat, or may have. `identity` is the hash of its machine-id. `refusals` are the reasons why
    the policy does not call it eligible, with `verdict`. `trouble` is why there is no newest record.
    """

    name: str
    holds_seat: bool = False
    identity: str | None = None
    verdict: EligibilityVerdict | None = None
    refusals: tuple[Reason, ...] = ()
    trouble: Reason | None = None


class Denial(t.TypedDict):
    """A host that gets no seat, why, and what to do."""

    host: str
    id: str
    message: str
    remedy: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class SeatPlan:
    """`granted` and `in_use` are hosts; `free` counts the seats that are left when all that are granted are taken."""

    seats: int
    granted: tuple[str, ...]
    denied: tuple[Denial, ...]
    in_use: tuple[str, ...]
    free: int


def known_from_record(record: Record) -> KnownHost:
    """What the record of a host says that matters to its seat."""
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
    """Whether a check that is not passed keeps a host from being enabled. What is enabled already has shown enough."""
    if check["id"] in FIXED_BY_CLIENT:
        return False
    if check["id"] == "network":
        return check["status"] == "fail" and not enabled
    return check["status"] == "fail" or not enabled


def plan_seats(
    known: c.Mapping[str, KnownHost], wanting: c.Iterable[str], seats: int, *, require_eligible: bool = True
) -> SeatPlan:
    """Grant the seats to the hosts that want one, in their order; those that hold one already come first.

    `known` are all hosts that were ever looked at, also those that want nothing now.
    """
    hosts = [known.get(name, KnownHost(name, trouble=_NO_RECORD)) for name in dict.fromkeys(wanting)]
    together = _clones(known.values())
    denied = {host.name: denial for host in hosts if (denial := _refusal(host, together, require_eligible))}
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


_NO_RECORD = Reason(
    id="no_record", message="there is no record of this host", remedy="run the check playbook on it, then plan again"
)


def _identity(host: KnownHost) -> str:
    """What the service counts by. A host whose identity is not known counts by its name, which no hash equals."""
    return host.identity or f"host {host.name}"


def _clones(hosts: c.Iterable[KnownHost]) -> dict[str, list[KnownHost]]:
    """Hosts that have the same machine identity, by it."""
    together = collections.defaultdict(list)
    for host in hosts:
        if host.identity is not None:
            together[host.identity].append(host)
    return {identity: same for identity, same in together.items() if len(same) > 1}


def _refusal(host: KnownHost, together: c.Mapping[str, list[KnownHost]], require_eligible: bool) -> Denial | None:
    """Why this host gets no seat, however many there are."""
    if host.trouble is not None:
        return _denial(host, host.trouble["id"], host.trouble["message"], host.trouble["remedy"])
    same = together.get(host.identity or "", [])
    # Where one of them alone is enabled, it is the machine that the service knows, and nothing fights yet.
    if len(same) > 1 and [other.name for other in same if other.holds_seat] != [host.name]:
        return _cloned(host, same)
    if require_eligible and host.verdict != "eligible":
        return _not_eligible(host)
    return None


def _cloned(host: KnownHost, same: c.Sequence[KnownHost]) -> Denial:
    return _denial(
        host,
        "cloned",
        f"{_named([other.name for other in same])} have the same machine identity: the service takes them for one "
        "machine, and they would take the registration from each other",
        "give each host an identity of its own (empty /etc/machine-id, then systemd-machine-id-setup) and check it "
        "again; where one is only an old name of another, remove its record",
    )


def _not_eligible(host: KnownHost) -> Denial:
    identifier = "ineligible" if host.verdict == "ineligible" else "eligibility_unknown"
    words = "; ".join(reason["message"] for reason in host.refusals) or "its record does not say that it is eligible"
    remedy = next((reason["remedy"] for reason in host.refusals if reason["remedy"]), None)
    return _denial(host, identifier, words, remedy)


def _no_seat(host: KnownHost, seats: int, holders: c.Sequence[str], granted: c.Sequence[str]) -> Denial:
    others = [name for name in dict.fromkeys([*holders, *granted]) if name != host.name]
    number = "the one seat is" if seats == 1 else f"all {seats} seats are"
    taken = f"{number} taken by {_named(others)}" if seats else "there are no seats"
    if host.holds_seat:
        return _denial(
            host,
            "seats_exceeded",
            f"it is enabled, or may be, and {taken}",
            "disable a host that can do without, or get more seats",
        )
    return _denial(host, "seats_used_up", taken, "disable a host that can do without, or get more seats")


def _denial(host: KnownHost, identifier: str, message: str, remedy: str | None) -> Denial:
    return Denial(host=host.name, id=identifier, message=message, remedy=remedy)


def _named(hosts: c.Sequence[str]) -> str:
    more = [f"{len(hosts) - _NAMED} more"] if hosts[_NAMED:] else []
    *most, last = [*hosts[:_NAMED], *more]
    return f"{', '.join(most)} and {last}" if most else last
