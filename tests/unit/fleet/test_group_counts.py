# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Numbers of hosts by group: protected ones, of those that are eligible."""

from __future__ import annotations

import dataclasses

from ansible_collections.kernelops.livepatch.plugins.module_utils._fleet.group_counts import MOST_GROUPS, GroupCount
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.document import FailedAttempt
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.formats import csv_table, prometheus, table
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.report import HostLine, Report
from tests.samples.records import make_record
from tests.samples.reports import GENERATED_AT, a_grouped_report, a_report, grouped, recorded


def test_protected_hosts_are_counted_of_eligible_ones() -> None:
    report = a_grouped_report()
    assert report.groups == {
        "group": [GroupCount("production", 3, 3, 2), GroupCount("staging", 2, 1, 0), GroupCount("none", 1, 1, 1)],
        "region": [GroupCount("eu", 2, 2, 2), GroupCount("us", 2, 2, 0), GroupCount("none", 2, 1, 1)],
    }
    assert report.eligible == 5
    assert report.summary()["groups"]["region"][0] == {"group": "eu", "hosts": 2, "eligible": 2, "protected": 2}


def test_without_group_by_no_groups_are_shown() -> None:
    assert dataclasses.replace(a_grouped_report(), group_keys=()).groups == {}


def test_a_host_without_answer_keeps_its_groups() -> None:
    record = grouped(make_record("web1"), {"region": "eu"})
    later = FailedAttempt("web1", "2026-01-11T00:00:00Z", [])
    assert a_report(recorded(record), later).lines[0].groups == {"region": "eu"}
    moved = dataclasses.replace(later, groups={"region": "us"})
    assert a_report(recorded(record), moved).lines[0].groups == {"region": "us"}


def test_many_groups_are_counted_together() -> None:
    lines = [
        HostLine(f"web{number}", "protected", GENERATED_AT, groups={"rack": str(number)})
        for number in range(MOST_GROUPS + 5)
    ]
    counts = dataclasses.replace(a_report(), lines=lines, group_keys=("rack",)).groups["rack"]
    assert len(counts) == MOST_GROUPS + 1
    assert counts[-1] == GroupCount("others", 5, 5, 5)


def _lines(report: Report) -> list[str]:
    return "".join(table.render(report)).splitlines()


def test_groups_are_in_the_table() -> None:
    assert "3 of 5 eligible hosts are protected (60%)." in _lines(a_grouped_report())
    assert "Protected by group: production 2 of 3, staging 0 of 1, none 1 of 1." in _lines(a_grouped_report())


def test_groups_are_metrics_and_columns() -> None:
    metrics = "".join(prometheus.render(a_grouped_report()))
    assert 'livepatch_group_protected_hosts{group_by="group",group="production"} 2\n' in metrics
    assert 'livepatch_group_eligible_hosts{group_by="region",group="none"} 1\n' in metrics
    rows = "".join(csv_table.render(a_grouped_report())).splitlines()
    assert rows[0].endswith(",release,group,group_region")
    assert next(row for row in rows if row.startswith("web1,")).endswith(",'16.04,production,eu")
