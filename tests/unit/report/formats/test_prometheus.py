# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The report as metrics, parsed by the client library of Prometheus."""

from __future__ import annotations

import typing as t

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ansible_collections.kernelops.livepatch.plugins.module_utils._record import STATES
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.document import FailedAttempt, Problem
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.formats import prometheus
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.report import Report
from tests.samples.exposures import an_exposed_report
from tests.samples.records import make_record
from tests.samples.reports import HOSTILE, a_judged_report, a_report, a_waived_report, hostile_record, recorded

FINDINGS: list[t.Any] = [("web2", ("not_protected", "m")), (None, ("seats_exceeded", "m"))]
REPORT = a_judged_report(
    FINDINGS,
    recorded(make_record("web1")),
    recorded(make_record("web2", "disabled", patch__version=None, patch__upgrade_required_by=None)),
    recorded(make_record("web3", client__last_check="never")),
    FailedAttempt("web3", "2026-01-11T00:00:00Z", []),
    FailedAttempt("web4", "2026-01-11T00:00:00Z", []),
    Problem("invalid_json", "/r/web5.json", "cut off"),
)


def _samples(report: Report) -> dict[str, dict[tuple[str, ...], float]]:
    """Return every sample by metric and label values. Duplicate metrics and samples are refused."""
    samples: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families("".join(prometheus.render(report))):
        assert family.name not in samples
        assert (family.type, bool(family.documentation)) == ("gauge", True)
        values = {tuple(sample.labels.values()): sample.value for sample in family.samples}
        assert len(values) == len(family.samples)
        assert {sample.name for sample in family.samples} <= {family.name}
        samples[family.name] = values
    return samples


def test_every_metric_is_present() -> None:
    assert _samples(REPORT) == {
        "livepatch_hosts": {
            **{(state,): 0.0 for state in STATES},
            ("protected",): 1.0,
            ("disabled",): 1.0,
            ("no_answer",): 2.0,
        },
        "livepatch_rule_findings": {
            ("not_protected", "error"): 1.0,
            ("upgrade_soon", "warning"): 0.0,
            ("cloned", "info"): 0.0,
            ("seats_exceeded", "error"): 1.0,
        },
        "livepatch_problems": {(): 1.0},
        "livepatch_host_state": {
            ("web1", "protected"): 1.0,
            ("web2", "disabled"): 1.0,
            ("web3", "no_answer"): 1.0,
            ("web4", "no_answer"): 1.0,
        },
        "livepatch_patch_version": {("web1", "65.1"): 1.0},
        "livepatch_record_timestamp_seconds": {
            ("web1",): 1768024800.0,
            ("web2",): 1768024800.0,
            ("web3",): 1768024800.0,
        },
        "livepatch_last_check_timestamp_seconds": {("web1",): 1768023062.0, ("web2",): 1768023062.0},
        "livepatch_upgrade_required_by_timestamp_seconds": {("web1",): 1780272000.0},
    }


def test_the_file_ends_with_a_newline() -> None:
    assert "".join(prometheus.render(a_report())).endswith("\n")


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_of_hosts_are_bounded_labels(text: str) -> None:
    record = hostile_record(text)
    report = a_report(recorded(record), recorded(make_record("web1")))
    samples = _samples(report)
    assert sorted(samples["livepatch_host_state"].values()) == [1.0, 1.0]
    [version] = [version for host, version in samples["livepatch_patch_version"] if host != "web1"]
    assert len(version) <= 220
    written = "".join(prometheus.render(report))
    assert all(line.isprintable() and len(line) < 1000 for line in written.split("\n"))
    assert not [key for key in samples["livepatch_last_check_timestamp_seconds"] if key != ("web1",)]


def test_each_host_has_its_own_series() -> None:
    names = ["a\x1b", "a\\x1b", "b" * 300 + "1", "b" * 300 + "2", 'c"', "c\\", 'c\\"']
    samples = _samples(a_report(*(recorded(make_record(name)) for name in names)))
    assert len(samples["livepatch_host_state"]) == len(names)
    assert ('c"', "protected") in samples["livepatch_host_state"]


def test_waivers_are_counted() -> None:
    text = "".join(prometheus.render(a_waived_report()))
    assert 'livepatch_rule_findings{rule="not_protected",severity="error"} 1\n' in text
    assert 'livepatch_waived_findings{rule="not_protected",severity="error"} 2\n' in text
    assert 'livepatch_waivers{status="expired"} 1\n' in text
    assert "livepatch_waivers" not in "".join(prometheus.render(a_report())), "the report was made without waivers"


def test_vulnerabilities_are_counted_by_priority_and_status() -> None:
    text = "".join(prometheus.render(an_exposed_report(deadlines={"high": 30})))
    assert 'livepatch_open_cves{priority="critical"} 1\n' in text
    assert 'livepatch_vulnerabilities{priority="high",status="live_patched"} 1\n' in text
    assert 'livepatch_exposure_hosts{status="unknown"} 1\n' in text
    assert 'livepatch_host_open_cves{host="web1"} 2\n' in text
    assert 'livepatch_host_overdue_cves{host="web1"} 1\n' in text
    assert 'livepatch_host_open_cves{host="web4"}' not in text, "without a record, nothing is known"
    assert "livepatch_vulnerability_data_timestamp_seconds 1768003200\n" in text
    assert "CVE-" not in text, "a label with the number of a vulnerability would have no bound"
