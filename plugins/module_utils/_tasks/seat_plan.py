# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Plan which hosts may use the seats of a token (module `seat_plan`)."""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

from .._decisions.policy import Policy
from .._errors import LivepatchError
from .._fleet.seats import plan_seats
from .._records import grants
from .._records.postgresql.address import StorePlace
from .._report.formats import seat_table
from .._report.summary.result_limits import ENTRIES, NAMES, limit_lists
from .._time import format_time
from .commands import Task, read_clock, show_table
from .store.delivery import send_waiting

# The granted hosts are complete, because plays select hosts with them.
_LIMITS = {"denied": NAMES, "in_use": NAMES, "problems": ENTRIES}


@dataclasses.dataclass(frozen=True)
class SeatOptions:
    """Options of the module. `hosts` None means every host that has a record. The policy has the seats by default."""

    record_dirs: tuple[StorePlace, ...]
    hosts: list[str] | None
    priority: list[str]
    seats: int | None
    policy: Policy
    require_eligible: bool
    show: bool
    check_mode: bool


def seat_plan(options: SeatOptions) -> Task[dict[str, t.Any]]:
    """Grant seats to hosts in their order, and store the grants."""
    seats = _number_of_seats(options)
    now = (yield from read_clock()).utc
    if not options.check_mode:
        yield from send_waiting(options.record_dirs)
    # Check mode stores nothing, not even a lock.
    with contextlib.nullcontext() if options.check_mode else grants.lock_grants(options.record_dirs[0]) as ledger:
        known = grants.read_seat_grants(list(options.record_dirs), now)
        plan = plan_seats(known.hosts, _in_order(options, known), seats, require_eligible=options.require_eligible)
        if ledger is not None:
            new = [host for host in plan.granted if host not in plan.in_use or host in known.grants]
            known.grant(ledger, new, format_time(now, exact=True))
    result = {
        "seats": plan.seats,
        "granted": list(plan.granted),
        "denied": list(plan.denied),
        "in_use": list(plan.in_use),
        "free": plan.free,
        "problems": [problem.as_dict() for problem in known.problems],
    }
    if options.show:
        yield from show_table(lambda **layout: seat_table.render(result, **layout))
    return limit_lists(result, _LIMITS)


def _in_order(options: SeatOptions, known: grants.SeatGrants) -> list[str]:
    """Return the hosts that ask for a seat: those with priority first."""
    hosts = sorted(known.hosts) if options.hosts is None else options.hosts
    asking = set(hosts)
    return [*(host for host in options.priority if host in asking), *hosts]


def _number_of_seats(options: SeatOptions) -> int:
    seats = options.policy.seats if options.seats is None else options.seats
    if seats is None:
        raise LivepatchError(
            "seats_unknown",
            f"the policy {options.policy.name} has no number of seats",
            "give the number as `seats`, or add it to the policy",
        )
    if seats < 0:
        raise LivepatchError("seats_unknown", f"seats is {seats}", "give `seats` as a whole number, 0 or more")
    return seats
