# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The content of a report: the newest data of every host, with no host missing."""

from __future__ import annotations

import itertools
import json
import typing as t
from collections.abc import Sequence

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._record import STATES, Reason, State
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.document import (
    Document,
    FailedAttempt,
    Problem,
    Recorded,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.spans import Kind
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.formats.markdown import (
    render as render_markdown,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.formats.table import totals
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.report import HostLine, Report
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.rule_evaluation import (
    RuleEvaluator,
    load_rules,
)
from tests.samples.exposures import HIGH, NOW, a_fleet, an_exposed_report
from tests.samples.records import make_record
from tests.samples.reports import a_report, recorded

SECOND_DAY = 1_767_312_000_000_000  # 2026-01-02, in microseconds
DAY = 24 * 3600 * 1_000_000
OLD, NEW, NEWEST = "2026-01-10T06:00:00Z", "2026-01-10T06:00:00.25Z", "2026-01-10T06:00:01Z"
REFUSED: list[Reason] = [{"id": "connection_failed", "message": "connection refused", "remedy": "start sshd"}]


def _only_line(documents: Sequence[Document], hosts: list[str] | None = None) -> HostLine:
    [line] = a_report(*documents, hosts=hosts).lines
    return line


@pytest.mark.parametrize("order", list(itertools.permutations([0, 1, 2])))
def test_the_newest_record_of_a_host_is_used(order: tuple[int, ...]) -> None:
    documents = [
        recorded(make_record(state="disabled", collected_at=OLD)),
        recorded(make_record(state="failed", collected_at=NEW)),
        recorded(make_record(state="protected", collected_at=NEWEST)),
    ]
    assert _only_line([documents[index] for index in order]).state == "protected"


@pytest.mark.parametrize("order", [1, -1])
def test_a_later_failed_attempt_means_no_answer(order: int) -> None:
    documents = [recorded(make_record(state="stale", collected_at=OLD)), FailedAttempt("web1", NEW, REFUSED)]
    line = _only_line(documents[::order])
    assert (line.state, line.attempted_at, line.collected_at) == ("no_answer", NEW, None)
    assert (line.message, line.next_step) == ("connection refused", "start sshd")
    assert line.last_seen == f"last seen {OLD}, stale"


def test_a_record_after_a_failed_attempt_is_used() -> None:
    line = _only_line([FailedAttempt("web1", OLD, REFUSED), recorded(make_record(collected_at=NEW))])
    assert (line.state, line.last_seen) == ("protected", None)


def test_an_attempt_in_the_same_second_is_later() -> None:
    """Storing the record would have removed an older note."""
    assert (
        _only_line([FailedAttempt("web1", NEW, REFUSED), recorded(make_record(collected_at=NEW))]).state == "no_answer"
    )


def test_the_newest_attempt_is_shown() -> None:
    attempts = [FailedAttempt("web1", time, REFUSED) for time in (OLD, NEWEST, NEW)]
    assert _only_line(attempts).attempted_at == NEWEST


def test_an_expected_host_without_record_has_no_answer() -> None:
    report = a_report(recorded(make_record("web1")), hosts=["web1", "web2", "web2"])
    assert [(line.host, line.state) for line in report.lines] == [("web2", "no_answer"), ("web1", "protected")]
    assert report.lines[0].reasons[0]["id"] == "no_record"


def test_an_attempt_without_reasons_has_a_remedy() -> None:
    assert _only_line([FailedAttempt("web1", OLD, [])]).next_step


def test_a_host_with_an_unusable_record_is_listed() -> None:
    report = a_report(Problem("invalid_json", "/r/web1.json", "cut off", host="web1"))
    [line] = report.lines
    assert (line.state, line.reasons[0]["id"]) == ("no_answer", "record_unusable")
    assert "cut off" in line.reasons[0]["message"]
    assert [problem.path for problem in report.problems] == ["/r/web1.json"]


def test_a_usable_record_replaces_an_unusable_one() -> None:
    problem = Problem("invalid_json", "/r/web1.json", "cut off", host="web1")
    assert _only_line([problem, recorded(make_record())]).state == "protected"


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("newer", ["record", "attempt"])
def test_a_document_from_the_future_never_counts(newer: str, order: int) -> None:
    """`GENERATED_AT` is the time of the report; clocks may differ by five minutes."""
    at = "2026-01-12T00:05:01Z"
    future: Document = (
        recorded(make_record(state="protected", collected_at=at))
        if newer == "record"
        else FailedAttempt("web1", at, REFUSED)
    )
    documents = [recorded(make_record(state="protected", collected_at=OLD)), future, FailedAttempt("web1", NEW, [])]
    report = a_report(*documents[::order])
    [line] = report.lines
    assert (line.state, line.reasons[0]["id"], line.last_record) == ("no_answer", "record_from_future", None)
    assert at in line.reasons[0]["message"]
    name = "web1.json" if newer == "record" else "web1.unreachable.json"
    assert [(problem.id, problem.host, problem.path) for problem in report.problems] == [
        ("record_from_future", "web1", name)
    ]
    assert name in (line.next_step or "")
    assert report.summary()["newest_record"] is None
    assert list(report.sightings()) == []


def test_clocks_may_differ_by_five_minutes() -> None:
    line = _only_line([recorded(make_record(collected_at="2026-01-12T00:05:00.999Z"))])
    assert (line.state, line.reasons[0]["id"]) == ("protected", make_record()["assessment"]["reasons"][0]["id"])


def test_unrequested_hosts_are_counted_but_not_listed() -> None:
    others: list[Document] = [
        recorded(make_record("db1")),
        FailedAttempt("db2", OLD, []),
        FailedAttempt("db1", OLD, []),
    ]
    report = a_report(recorded(make_record("web1")), *others, hosts=["web1"])
    assert [line.host for line in report.lines] == ["web1"]
    assert report.left_out == report.summary()["left_out"] == 2


def test_lines_are_sorted_by_urgency_and_name() -> None:
    hosts: list[tuple[str, State]] = [
        ("web10", "disabled"),
        ("web9", "disabled"),
        ("a", "protected"),
        ("b", "unknown"),
        ("c", "tampered"),
        ("web" + "9" * 5000, "disabled"),
    ]
    report = a_report(*(recorded(make_record(host, state)) for host, state in hosts))
    assert [line.host for line in report.lines] == ["c", "web9", "web10", "web" + "9" * 5000, "b", "a"]


def _fleet() -> Report:
    return a_report(
        recorded(make_record("web1", collected_at=OLD)),
        recorded(make_record("web2", collected_at=NEWEST, patch__version="66.1")),
        recorded(make_record("web3", collected_at=NEW, system__kernel__full=None)),
        recorded(make_record("web4", "disabled", system__kernel__full=None, system__kernel__release=None)),
        recorded(make_record("web5", patch__version=None, collected_at="2020-01-01T00:00:00Z")),
        FailedAttempt("web5", NEWEST, REFUSED),
    )


def test_the_summary_counts_every_host_once() -> None:
    summary: dict[str, t.Any] = _fleet().summary()
    assert summary["hosts"] == sum(summary["states"].values()) == 5
    assert list(summary["states"]) == list(STATES)
    assert {state: count for state, count in summary["states"].items() if count} == {
        "no_answer": 1,
        "disabled": 1,
        "protected": 3,
    }
    assert summary["kernels"] == [
        {"kernel": "4.4.0-168.197-generic", "hosts": 2},
        {"kernel": "4.4.0-168-generic", "hosts": 1},
        {"kernel": None, "hosts": 1},
    ]
    assert summary["patch_versions"] == [{"version": "65.1", "hosts": 3}, {"version": "66.1", "hosts": 1}]
    assert (summary["oldest_record"], summary["newest_record"]) == (OLD, NEWEST)


def test_an_empty_summary_has_the_same_keys() -> None:
    empty = a_report().summary()
    assert list(empty) == list(_fleet().summary())
    assert (empty["hosts"], empty["oldest_record"], empty["kernels"]) == (0, None, [])


def test_host_names_are_grouped_by_state() -> None:
    by_state = _fleet().hosts_by_state()
    assert list(by_state) == list(STATES)
    assert by_state["protected"] == ["web1", "web2", "web3"]
    assert by_state["no_answer"] == ["web5"]
    assert by_state["failed"] == []


def test_figures_contain_no_active_characters() -> None:
    evil = recorded(make_record(system__kernel__full="\x1b[2J\u202e", patch__version="\udc80"))
    summary = a_report(evil).summary()
    assert summary["kernels"] == [{"kernel": r"\x1b[2J\u202e", "hosts": 1}]
    assert summary["patch_versions"] == [{"version": r"\udc80", "hosts": 1}]


def test_sightings_have_the_times_of_their_records() -> None:
    record = make_record(
        "web1",
        "upgrade_required",
        collected_at="2026-01-02T00:00:00.5Z",
        patch__fixes=[{"cve": "CVE-2", "patched": False}, {"cve": "CVE-1", "patched": False}],
    )
    report = a_report(
        recorded(record),
        FailedAttempt("web2", "2026-01-03T00:00:00Z", []),
        recorded(make_record("web3", collected_at="2026-02-31T00:00:00Z")),
        hosts=["web1", "web2", "web3", "never-seen"],
    )
    kernel = "4.4.0-168.197-generic"
    assert sorted(report.sightings()) == [
        ("web1", SECOND_DAY + 500_000, Kind("upgrade_required", kernel, "16.04", "65.1", ("CVE-1", "CVE-2"))),
        ("web2", SECOND_DAY + DAY, Kind("no_answer")),
    ]


def _refused(host: str, state: State, *policies: str) -> Recorded:
    """Return a record of a host that these other policies cover."""
    record = make_record(host, state)
    record["eligibility"]["checks"] += [
        {
            "id": "other_policy",
            "status": "warn",
            "found": "launch",
            "required": policy,
            "message": "another policy covers this system",
            "remedy": None,
        }
        for policy in policies
    ]
    return recorded(record)


def test_ineligible_hosts_that_another_policy_covers_are_counted() -> None:
    report = a_report(
        _refused("web1", "ineligible", "current"),
        _refused("web2", "ineligible", "current"),
        _refused("web3", "ineligible"),
        _refused("web4", "tampered", "current"),
    )
    assert report.summary()["covered_by_other_policies"] == {"current": 2}
    sentence = "2 ineligible hosts are covered by policy 'current': set livepatch_policy=current."
    assert sentence in list(totals(report))
    assert sentence.replace("_", "\\_") in "".join(render_markdown(report))
    one = a_report(_refused("web1", "ineligible", "current"))
    assert "1 ineligible host is covered by policy 'current': set livepatch_policy=current." in list(totals(one))
    assert "covered by" not in " ".join(totals(a_report(_refused("web3", "ineligible"))))


# --- vulnerabilities


def test_a_report_shows_exposed_hosts() -> None:
    report = an_exposed_report()
    assert [(line.host, line.state) for line in report.lines] == [
        ("web4", "no_answer"),
        ("web3", "disabled"),
        ("web1", "exposed"),
        ("web2", "exposed"),
    ]
    exposed = report.lines[2]
    assert exposed.message is not None
    assert exposed.message.startswith("2 vulnerabilities of priority high or higher are open")
    assert exposed.document is not None
    stored = json.loads(report.spool.document(exposed.document))
    assert stored["assessment"]["state"] == "exposed"
    assert stored["vulnerabilities"]["open"] == {"critical": 1, "high": 1}
    assert list(stored)[-1] == "vulnerabilities"


def test_counts_of_vulnerabilities_have_all_hosts() -> None:
    report = an_exposed_report()
    summary = report.summary()["vulnerabilities"]
    assert summary["hosts_by_status"] == {"open": 3, "unknown": 1, "live_patched": 0, "fixed": 0, "not_affected": 0}
    assert summary["open_cves"] == {"critical": 1, "high": 2}
    assert summary["pairs"] == {
        "critical": {"open": 2, "unknown": 1, "waived": 0, "live_patched": 0, "fixed": 1, "not_affected": 0},
        "high": {"open": 4, "unknown": 2, "waived": 0, "live_patched": 1, "fixed": 1, "not_affected": 0},
    }
    assert summary["oldest_data"] == "2026-01-10"
    for counts in summary["pairs"].values():
        assert sum(counts.values()) % len(report.lines) == 0


def test_a_report_without_data_has_no_vulnerabilities() -> None:
    report = a_report(recorded(make_record()))
    assert report.summary()["vulnerabilities"] is None
    assert report.lines[0].exposure is None


def test_an_older_record_of_a_lost_host_proves_nothing() -> None:
    attempt = FailedAttempt("web1", "2026-01-11T00:00:00Z", [])
    report = an_exposed_report(recorded(a_fleet()[0]), attempt)
    assert (report.lines[0].state, report.lines[0].exposure) == ("no_answer", None)
    assert report.summary()["vulnerabilities"]["hosts_by_status"]["unknown"] == 1


def test_rules_see_open_vulnerabilities() -> None:
    rules = load_rules(
        [
            "default",
            {"id": "named", "expression": f"open_cves[?cve == '{HIGH}']", "message": "open"},
            {"id": "other", "expression": "open_cves[?cve == 'CVE-2025-9999']", "message": "open"},
        ],
        [],
    )
    report = an_exposed_report(rules=RuleEvaluator(rules, NOW), deadlines={"high": 30})
    broken = report.hosts_by_rule()
    assert broken["named"] == ["web3", "web1", "web2"]
    assert broken["other"] == []
    assert broken["vulnerability_open"] == ["web3", "web1", "web2"]
    assert broken["vulnerability_overdue"] == ["web3", "web1", "web2"]
    assert "web1" not in broken["patch_tampered"]
    messages = {finding.message for _line, finding in report.findings() if finding.rule == "vulnerability_overdue"}
    assert messages == {
        "open vulnerabilities past their deadline: 1",
        "open vulnerabilities past their deadline: 2",
    }
