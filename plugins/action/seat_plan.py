# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Which hosts may use the seats of a token."""

from __future__ import annotations

import datetime
import typing as t
from pathlib import Path

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.seats import plan_seats
from ansible_collections.kernelops.livepatch.plugins.module_utils._records import grants
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.formats import seat_table
from ansible_collections.kernelops.livepatch.plugins.module_utils._time import format_time
from ansible_collections.kernelops.livepatch.plugins.plugin_utils import _table_output
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._legacy import ActionError, LegacyAction
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._probe import load_policy


class ActionModule(LegacyAction):
    ARGUMENT_SPEC: t.ClassVar[dict[str, dict[str, t.Any]]] = {
        "record_dir": {"type": "list", "elements": "path", "required": True},
        "hosts": {"type": "list", "elements": "str"},
        "priority": {"type": "list", "elements": "str", "default": []},
        "seats": {"type": "int"},
        "policy": {"type": "raw", "default": "launch"},
        "require_eligible": {"type": "bool", "default": True},
        "show": {"type": "bool", "default": True},
    }

    def execute(self, options: dict[str, t.Any]) -> dict[str, t.Any]:
        seats = _number_of_seats(options)
        record_dirs = [Path(folder).absolute() for folder in options["record_dir"]]
        try:
            return self._plan(record_dirs, options, seats)
        except grants.SeatGrantsError as error:
            raise ActionError(str(error), error_id="records_unusable") from error

    def _plan(self, record_dirs: list[Path], options: dict[str, t.Any], seats: int) -> dict[str, t.Any]:
        with grants.locked(record_dirs[0]):
            book = grants.read_seat_grants(record_dirs)
            wanting = _in_order(options, book)
            plan = plan_seats(book.hosts, wanting, seats, require_eligible=options["require_eligible"])
            if not self.check_mode:
                now = datetime.datetime.now(datetime.timezone.utc)
                new = [host for host in plan.granted if host not in plan.in_use or host in book.grants]
                book.grant(record_dirs[0], new, format_time(now, exact=True))
        result = {
            "seats": plan.seats,
            "granted": list(plan.granted),
            "denied": list(plan.denied),
            "in_use": list(plan.in_use),
            "free": plan.free,
            "problems": [problem.as_dict() for problem in book.problems],
        }
        if options["show"]:
            _table_output.show(self._display, lambda **layout: seat_table.render(result, **layout))
        return result


def _in_order(options: dict[str, t.Any], book: grants.SeatGrants) -> list[str]:
    hosts = sorted(book.hosts) if options["hosts"] is None else options["hosts"]
    asked_for = set(hosts)
    return [*(host for host in options["priority"] if host in asked_for), *hosts]


def _number_of_seats(options: dict[str, t.Any]) -> int:
    seats = options["seats"]
    if seats is None:
        policy = load_policy(options["policy"])
        seats = policy.seats
        if seats is None:
            raise ActionError(
                f"The policy {policy.name} does not say how many seats a token has. Give the number as `seats`, or "
                "write it into the policy.",
                error_id="seats_unknown",
            )
    if seats < 0:
        raise ActionError(f"seats is {seats}: expected a whole number, 0 or more.", error_id="seats_unknown")
    return int(seats)
