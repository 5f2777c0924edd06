# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The open vulnerabilities of a fleet in the form in which the report page shows them.

Hosts with equal evidence are one kind, and each evaluation occurs once, so that the size does not follow the number of
hosts times vulnerabilities. Hosts are counted as waived where a waiver covers an open or unknown vulnerability. At most
`MOST_CVES` vulnerabilities are included, the most urgent ones.
"""

from __future__ import annotations

import collections
import collections.abc as c
import typing as t

from .fleet_exposure import SHOWN_PRIORITIES, UNRATED, CveExposure, FleetExposure

MOST_CVES = 500
_FIRST_DAY = "0000"  # a vulnerability without a date comes first


def exposure_page(exposure: FleetExposure, positions: c.Mapping[str, int]) -> dict[str, t.Any]:
    """Return the data of the page. `positions` has the place of each host in the report."""
    shown = sorted(exposure.cves, key=_urgency)[:MOST_CVES]
    matrix, evaluations = exposure.matrix(shown)
    return {
        "minimum_priority": exposure.minimum_priority,
        "evaluated": exposure.evaluated,
        "oldest_data": exposure.oldest_data,
        "left_out": len(exposure.cves) - len(shown),
        "hosts_by_status": exposure.not_waived,
        "kinds": [sorted(positions[host] for host in kind.hosts) for kind in exposure.kinds],
        "evaluations": evaluations,
        "cves": [_row(each, [row[number] for row in matrix]) for number, each in enumerate(shown)],
    }


def _urgency(each: CveExposure) -> tuple[int, str, str]:
    priority = SHOWN_PRIORITIES.index(each.details.priority or UNRATED)
    return priority, each.details.published or _FIRST_DAY, each.cve


def _row(each: CveExposure, evaluations: c.Iterable[int]) -> dict[str, t.Any]:
    groups: dict[int, list[int]] = collections.defaultdict(list)
    for kind, evaluation in enumerate(evaluations):
        groups[evaluation].append(kind)
    return {
        "cve": each.cve,
        "priority": each.details.priority,
        "published": each.details.published,
        "counts": each.not_waived,
        "groups": [[evaluation, kinds] for evaluation, kinds in groups.items()],
    }
