# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Plan which hosts may use the seats of a token (module `seat_plan`)."""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t
from pathlib import Path

from .._decisions.policy import Policy
from .._errors import LivepatchError
from .._fleet.host_list import write_hosts
from .._fleet.seats import plan_seats
from .._io import file_error
from .._records import grants
from .._records.postgresql.address import StorePlace
from .._report.formats import seat_table
from .._report.summary.result_limits import ENTRIES, NAMES, limit_lists
from .._time import format_time
from .commands import Task, read_clock, show_table
from .store.delivery import send_waiting

_LIMITS = {"granted": NAMES, "denied": NAMES, "in_use": NAMES, "problems": ENTRIES}


@dataclasses.dataclass(frozen=True)
class SeatOptions:
    """Options of the module. `hosts` None means every host that has a record. The policy has the seats by default.

    `granted_file` is the file for the granted hosts where the result has no room for all of them.
    """

    record_dirs: tuple[StorePlace, ...]
    hosts: list[str] | None
    priority: list[str]
    seats: int | None
    policy: Policy
    require_eligible: bool
    show: bool
    check_mode: bool
    granted_file: Path


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
    limited = limit_lists({**result, "granted_file": None}, _LIMITS)
    return (
        limited if "granted" not in limited["not_listed"] else _with_file(limited, plan.granted, options.granted_file)
    )


def _with_file(result: dict[str, t.Any], granted: t.Iterable[str], path: Path) -> dict[str, t.Any]:
    """Write all granted hosts to a file, in which plays find their hosts."""
    try:
        write_hosts(path, granted)
    except OSError as error:
        raise file_error(error, str(path), "check that the folder is writable and that its disk has room") from error
    return {**result, "granted_file": str(path)}


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
