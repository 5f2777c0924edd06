# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Comparing two reports: every change is named once, and no change is reported for another cause."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kernelops.livepatch.plugins.module_utils._records.document import FailedAttempt
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.changes.comparison import compare
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.changes.model import (
    MOST,
    Changes,
    CveChange,
    HostChange,
    RuleChange,
    Snapshot,
    ValueChange,
    Vulnerabilities,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.changes.snapshot import snapshot_of
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.report import Report
from tests.samples.changes import EARLIER, LATER, compared, fresh, reported
from tests.samples.exposures import CRITICAL, HIGH, PATCHED, an_exposed_report
from tests.samples.reports import a_judged_report


def first(changes: Changes) -> dict[str, list[t.Any]]:
    """Return the entries of all lists that have any."""
    return {name: each.first for name, each in changes.lists().items() if each}


def test_the_same_hosts_have_no_changes() -> None:
    changes = compared(reported(fresh("web1", at=EARLIER), at=EARLIER), reported(fresh("web1")))
    assert not changes
    assert (changes.worse, changes.notes) == (False, ())


def test_every_host_is_in_one_list() -> None:
    before = {"ok": "protected", "bad": "protected", "good": "failed", "other": "disabled", "old": "stale"}
    now = {"ok": "protected", "bad": "failed", "good": "protected", "other": "failed", "new": "exposed"}
    changes = compared(
        reported(*(fresh(host, state, EARLIER) for host, state in before.items()), at=EARLIER),
        reported(*(fresh(host, state) for host, state in now.items())),
    )
    failed, confirmed = "The patch could not be applied.", "Patch 65.1 is applied and confirmed."
    assert first(changes) == {
        "unprotected": [HostChange("bad", "protected", "failed", failed)],
        "protected": [HostChange("good", "failed", "protected", confirmed)],
        "others": [HostChange("other", "disabled", "failed", failed)],
        "new": [HostChange("new", None, "exposed", "1 vulnerability of priority high or higher is open.")],
        "gone": [HostChange("old", "stale", None)],
    }
    assert changes.worse


def test_an_unanswered_host_lost_its_protection() -> None:
    attempt = FailedAttempt("web1", LATER, [{"id": "x", "message": "refused", "remedy": None}])
    now = reported(fresh("web1", at=EARLIER), attempt)
    changes = compared(reported(fresh("web1", at=EARLIER), at=EARLIER), now)
    assert first(changes) == {"unprotected": [HostChange("web1", "protected", "no_answer", "refused")]}


def test_an_old_record_proves_no_protection() -> None:
    old = "2026-01-01T00:00:00Z"
    changes = compared(reported(fresh("web1", at=EARLIER), at=EARLIER), reported(fresh("web1", at=old)))
    [change] = changes.unprotected.first
    assert (change.now, change.reason) == ("outdated", f"its last record, of {old}, is older than 24 hours")


def test_changed_kernels_and_patches_are_counted() -> None:
    newer = {"system__kernel__full": "4.4.0-170.199-generic", "patch__version": "66.1"}
    before = [fresh(f"web{number}", at=EARLIER) for number in range(4)]
    attempt = FailedAttempt("web3", LATER, [{"id": "x", "message": "refused", "remedy": None}])
    now = [fresh("web0"), fresh("web1", **newer), fresh("web2", **newer), before[3], attempt]
    changes = compared(reported(*before, at=EARLIER), reported(*now))
    assert changes.kernels.first == [ValueChange("4.4.0-168.197-generic", "4.4.0-170.199-generic", 2)]
    assert changes.patches.first == [ValueChange("65.1", "66.1", 2)], "a host without a record has no other patch"


def test_another_policy_is_no_failure() -> None:
    before = reported(fresh("web1", at=EARLIER), fresh("web2", at=EARLIER), at=EARLIER)
    now = reported(fresh("web1", "ineligible", eligibility__policy="other"), fresh("web2", "failed"))
    changes = compared(before, now)
    assert [change.host for change in changes.unprotected.first] == ["web2"]
    assert [change.host for change in changes.judged_anew.first] == ["web1"]
    assert "1 host is evaluated by policy 'other' instead of 'launch'" in changes.notes[0]


def judged(*rules: str) -> Report:
    return a_judged_report([("web1", (rule, "it is")) for rule in rules], fresh("web1"))


def test_rules_fail_and_pass() -> None:
    changes = compared(judged("not_protected", "cloned"), judged("cloned", "upgrade_soon"))
    assert changes.failing.first == [RuleChange("upgrade_soon", "warning", 0, 1, 0)]
    assert changes.passing.first == [RuleChange("not_protected", "error", 1, 0, 0)]
    assert changes.worse


def test_changed_rules_are_not_compared() -> None:
    before = judged("not_protected")
    changed, removed, *same = before.rules
    now = judged("not_protected", "cloned")
    other = dataclasses.replace(changed, expression="y")
    added = dataclasses.replace(removed, id="added")
    now = dataclasses.replace(now, rules=(other, added, *same))
    changes = compared(before, now)
    assert [change.rule for change in changes.failing.first] == ["cloned"]
    assert not changes.passing
    assert changes.notes == (
        "rules that the last report did not have: added",
        f"rules that this report does not have: {removed.id}",
        f"rules with another definition: {changed.id}",
    )


PATCHED_HOST = fresh("web1", at=EARLIER, patch__fixes=[{"cve": PATCHED, "patched": True}])


def with_open(report: Report, *cves: str, priority: str = "high") -> Snapshot:
    found = Vulnerabilities(priority, dict.fromkeys(cves, ("high", 1)))
    return dataclasses.replace(snapshot_of(report), vulnerabilities=found)


def test_vulnerabilities_are_opened_and_closed() -> None:
    report = an_exposed_report(PATCHED_HOST)
    changes = compare(with_open(report, CRITICAL, PATCHED), snapshot_of(report), report)
    assert [change.cve for change in changes.opened.first] == [HIGH]
    assert changes.closed.first == [CveChange(PATCHED, "high", 1)]
    assert changes.worse


def test_an_unknown_vulnerability_is_not_closed() -> None:
    report = an_exposed_report(PATCHED_HOST, hosts=["web1", "web4"])
    changes = compare(with_open(report, CRITICAL, HIGH, PATCHED), snapshot_of(report), report)
    assert not changes.closed
    assert [(change.cve, change.unknown) for change in changes.undecided.first] == [(PATCHED, 1)]


def test_vulnerabilities_of_other_priorities_are_not_compared() -> None:
    report = an_exposed_report()
    for before in (with_open(report, PATCHED, priority="low"), snapshot_of(reported(fresh("web1")))):
        changes = compare(before, snapshot_of(report), report)
        assert not changes.opened
        assert not changes.closed
        assert "so open vulnerabilities cannot be compared" in " ".join(changes.notes)


def test_another_version_of_the_collection_is_noted() -> None:
    report = reported(fresh("web1"))
    before = dataclasses.replace(snapshot_of(report), collection="0.9.0")
    assert "by version 0.9.0 of the collection" in compare(before, snapshot_of(report), report).notes[0]


def test_lists_are_bounded() -> None:
    names = [f"web{number}" for number in range(MOST + 5)]
    before = reported(*(fresh(name, at=EARLIER) for name in names), at=EARLIER)
    changes = compared(before, reported(fresh("x")))
    assert (changes.gone.number, len(changes.gone.first)) == (MOST + 5, MOST)
    assert len(changes.as_dict(3)["gone"]["first"]) == 3
