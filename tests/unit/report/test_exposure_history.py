# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The history in each format that contains it, and a report without a history."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from ansible_collections.kernelops.livepatch.plugins.module_utils._records.history_store import FileHistory
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.exposure_history import (
    first_seen,
    read_history,
    store_sightings,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.formats.registry import FORMATS
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.history import CveHistory, build_history
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.report import Report
from tests.samples.exposures import CRITICAL, NOW, a_fleet, an_exposed_report
from tests.samples.records import make_record
from tests.samples.reports import a_history, a_report, recorded

PLAIN = a_report(recorded(make_record("web1")), recorded(make_record("web2")))
TOLD = dataclasses.replace(PLAIN, history=a_history())
SENTENCES = (
    "Time to patch: 1 days on average, 2 for 95 of 100, since 2026-01-01T00:00:00Z.",
    "Open: 4 vulnerabilities of 2 hosts, counted host by host.",
)


def rendered(name: str, report: Report = TOLD) -> str:
    return "".join(FORMATS[name].render(report))


def test_the_first_report_of_a_vulnerability_is_known(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    assert first_seen(FileHistory(path)) == {}, "the first report has no history"
    store_sightings(an_exposed_report(), FileHistory(path), None, NOW)
    assert first_seen(FileHistory(path))[CRITICAL] == "2026-01-10", "the date of the newest record"


def test_texts_show_durations_and_open_exposures() -> None:
    for name in ("table", "markdown", "html"):
        assert all(sentence in rendered(name) for sentence in SENTENCES)
        assert "Time to patch" not in rendered(name, PLAIN).split("<script", maxsplit=1)[0]


def test_open_exposures_use_singular_and_plural() -> None:
    one = dataclasses.replace(TOLD, history=dataclasses.replace(a_history(), exposures=a_history().exposures[-1:]))
    [exposure] = one.history.exposures if one.history else []
    single = exposure._replace(cves=exposure.cves[:1])
    report = dataclasses.replace(TOLD, history=dataclasses.replace(a_history(), exposures=[single]))
    assert "Open: 1 vulnerability of 1 host, counted host by host." in rendered("table", report)
    assert "Time to patch" not in rendered("table", report)


def test_the_document_contains_history_and_exposures() -> None:
    document = json.loads(rendered("json"))
    assert document["history"]["begins_at"] == "2026-01-01T00:00:00Z"
    assert document["history"]["time_to_patch"] == {"exposures": 2, "mean_days": 1.0, "p95_days": 2.0}
    assert document["history"]["days"][0] == {"date": "2026-01-01", "states": {"stale": 1, "protected": 1}}
    assert [cve["cve"] for cve in document["history"]["cves"]] == ["CVE-2026-2002", "CVE-2026-2001", "CVE-2026-1001"]
    assert document["exposures"][:2] == [
        {
            "host": "web1",
            "cves": ["CVE-2026-1001"],
            "published": "2026-01-11T00:00:00Z",
            "closed_at": "2026-01-11T00:00:00Z",
        },
        {
            "host": "web1",
            "cves": ["CVE-2026-2001", "CVE-2026-2002"],
            "published": "2026-01-21T00:00:00Z",
            "closed_at": None,
        },
    ]
    plain = json.loads(rendered("json", PLAIN))
    assert (plain["history"], plain["exposures"]) == (None, [])


def test_metrics_show_the_time_to_patch() -> None:
    found = {family.name: family.samples for family in text_string_to_metric_families(rendered("prometheus"))}
    assert [sample.value for sample in found["livepatch_open_exposures"]] == [4]
    assert [sample.value for sample in found["livepatch_time_to_patch_mean_seconds"]] == [24 * 3600]
    assert [sample.value for sample in found["livepatch_time_to_patch_p95_seconds"]] == [48 * 3600]
    without_notices = dataclasses.replace(PLAIN, history=build_history([], 0))
    assert rendered("prometheus", without_notices) == rendered("prometheus", PLAIN)


def test_the_page_contains_the_history() -> None:
    def history_in(page: str) -> object:
        found = re.search(r'<script type="application/json" id="report-data">(.*?)</script>', page, re.DOTALL)
        assert found is not None
        return json.loads(found[1])["history"]

    assert history_in(rendered("html")) == json.loads(rendered("json"))["history"]
    assert history_in(rendered("html", PLAIN)) is None


def test_reports_store_their_open_vulnerabilities(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    assert store_sightings(an_exposed_report(), FileHistory(path), None, NOW)
    assert not store_sightings(an_exposed_report(), FileHistory(path), None, NOW), "the same records change nothing"
    history = read_history(FileHistory(path), None, NOW)
    assert history.vulnerabilities is not None
    assert history.vulnerabilities.as_dict() == {
        "days": [{"date": "2026-01-10", "open": {"critical": 1, "high": 2}}],
        "time_to_close": {
            "critical": {"open": 1, "closed": 0, "mean_days": None},
            "high": {"open": 2, "closed": 0, "mean_days": None},
        },
    }
    assert history.as_dict()["vulnerabilities"] == history.vulnerabilities.as_dict()


def test_a_report_on_a_part_of_the_fleet_stores_no_counts(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    part = an_exposed_report(*map(recorded, a_fleet()), hosts=["web1"])
    assert part.left_out == 2
    store_sightings(part, FileHistory(path), None, NOW)
    assert read_history(FileHistory(path), None, NOW).vulnerabilities is None


def test_metrics_show_the_time_to_close() -> None:
    figures = {"high": {"open": 0, "closed": 2, "mean_days": 1.5}, "low": {"open": 1, "closed": 0, "mean_days": None}}
    history = dataclasses.replace(a_history(), vulnerabilities=CveHistory([], figures))
    text = rendered("prometheus", dataclasses.replace(PLAIN, history=history))
    assert 'livepatch_time_to_close_mean_seconds{priority="high"} 129600\n' in text
    assert 'mean_seconds{priority="low"}' not in text
