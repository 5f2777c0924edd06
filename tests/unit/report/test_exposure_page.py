# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Open vulnerabilities for the report page: every host is counted, and the size is limited."""

from __future__ import annotations

import re
import typing as t

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.kernelops.livepatch.plugins.module_utils._report import exposure_page as page
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.report import Report
from tests.samples.exposures import CRITICAL, HIGH, PATCHED, a_fleet, an_exposed_report
from tests.samples.records import make_record
from tests.samples.reports import recorded


def data_of(report: Report) -> dict[str, t.Any]:
    assert report.exposure is not None
    return page.exposure_page(report.exposure, {line.host: place for place, line in enumerate(report.lines)})


def hosts_of(report: Report, cve: str, status: str) -> list[str]:
    data = data_of(report)
    row = next(each for each in data["cves"] if each["cve"] == cve)
    kinds = [
        kind for number, members in row["groups"] if data["evaluations"][number]["status"] == status for kind in members
    ]
    return sorted(report.lines[position].host for kind in kinds for position in data["kinds"][kind])


def test_the_most_urgent_vulnerability_comes_first() -> None:
    data = data_of(an_exposed_report())
    assert [each["cve"] for each in data["cves"]] == [CRITICAL, PATCHED, HIGH]
    assert [each["priority"] for each in data["cves"]] == ["critical", "high", "high"]
    assert (data["minimum_priority"], data["evaluated"], data["oldest_data"]) == ("high", 3, "2026-01-10")


def test_groups_have_the_hosts_of_each_status() -> None:
    report = an_exposed_report()
    assert hosts_of(report, CRITICAL, "open") == ["web1", "web3"]
    assert hosts_of(report, CRITICAL, "fixed") == ["web2"]
    assert hosts_of(report, PATCHED, "live_patched") == ["web1"]
    assert hosts_of(report, HIGH, "unknown") == ["web4"], "a host without a record"


def test_a_step_has_a_place_for_hosts() -> None:
    """The page puts names there. Steps without a command for some hosts have no such place."""
    steps = {each["next_step"]: each["step_for"] for each in data_of(an_exposed_report())["evaluations"]}
    commands = {step for step in steps.values() if step is not None}
    playbooks = {name for step in commands for name in re.findall(r"livepatch\.(\w+) --limit \{hosts\}", step)}
    assert (playbooks, len(commands)) == ({"patch", "upgrade"}, 2)
    assert [step for step, place in steps.items() if place is None and "--limit" in str(step)] == []


def test_the_number_of_vulnerabilities_is_limited(monkeypatch: t.Any) -> None:
    monkeypatch.setattr(page, "MOST_CVES", 1)
    data = data_of(an_exposed_report())
    assert ([each["cve"] for each in data["cves"]], data["left_out"]) == ([CRITICAL], 2)


@given(st.lists(st.sampled_from([0, 1, 2]), max_size=12), st.integers(0, 3))
def test_every_host_is_in_one_group(kinds: list[int], lost: int) -> None:
    records = [{**a_fleet()[kind], "host": f"web-{number}"} for number, kind in enumerate(kinds)]
    documents = [*map(recorded, records), recorded(make_record("open"))]  # type: ignore[arg-type]  # spread of a record
    names = [*(f"web-{number}" for number in range(len(kinds))), "open", *(f"lost-{number}" for number in range(lost))]
    report = an_exposed_report(*documents, hosts=names)
    data = data_of(report)
    assert sum(data["hosts_by_status"].values()) == len(names)
    assert data["hosts_by_status"]["unknown"] >= lost
    assert sorted(position for members in data["kinds"] for position in members) == list(range(len(names)))
    for row in data["cves"]:
        assert sum(row["counts"].values()) == len(names)
        members = [kind for _evaluation, kinds_of in row["groups"] for kind in kinds_of]
        assert sorted(members) == list(range(len(data["kinds"])))
