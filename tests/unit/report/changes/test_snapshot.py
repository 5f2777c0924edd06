# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""What is kept of a report: it is read back unchanged, and nothing else is."""

from __future__ import annotations

import json

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._report.changes.snapshot import (
    SnapshotError,
    from_text,
    snapshot_of,
    to_text,
)
from tests.samples.changes import EARLIER, fresh, reported
from tests.samples.exposures import CRITICAL, HIGH, PATCHED, an_exposed_report
from tests.samples.reports import HOSTILE, a_report_with_every_state, a_waived_report, hostile_record, recorded


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_hosts_are_read_back(text: str) -> None:
    snapshot = snapshot_of(reported(recorded(hostile_record(text))))
    assert len(snapshot.hosts) == 1
    assert from_text("".join(to_text(snapshot))) == snapshot


def test_rules_and_vulnerabilities_are_read_back() -> None:
    for report in (a_report_with_every_state(), a_waived_report(), an_exposed_report()):
        snapshot = snapshot_of(report)
        assert from_text("".join(to_text(snapshot))) == snapshot
    assert snapshot.vulnerabilities is not None
    assert set(snapshot.vulnerabilities.open) == {CRITICAL, HIGH, PATCHED}


def test_the_same_records_are_recognised() -> None:
    first = snapshot_of(reported(fresh("web1")))
    assert first.is_same(snapshot_of(reported(fresh("web1"), at="2026-01-12T07:00:00Z")))
    assert not first.is_same(snapshot_of(reported(fresh("web1", at=EARLIER))))
    assert not first.is_same(snapshot_of(reported(fresh("web1", "failed"))))


def test_hosts_share_equal_values() -> None:
    text = "".join(to_text(snapshot_of(reported(*(fresh(f"web{number}") for number in range(50))))))
    assert len(json.loads(text)["conditions"]) == 1


def test_other_texts_are_refused() -> None:
    valid = json.loads("".join(to_text(snapshot_of(a_waived_report()))))
    broken = [
        {**valid, "schema": "kernelops.livepatch/states/9"},
        {**valid, "hosts": {"web1": 99}},
        {**valid, "hosts": {"web1": -1}},
        {**valid, "hosts": [1]},
        {**valid, "rules": {"x": [1, 2, 3]}},
        {**valid, "protection": [1]},
        {**valid, "conditions": [[1, None, None, None]]},
        {**valid, "vulnerabilities": {"open": {"CVE-1": 3}, "minimum_priority": "high"}},
        [],
        None,
    ]
    for text in (*map(json.dumps, broken), "", "{", json.dumps(valid)[:-20], "[" * 100_000):
        with pytest.raises(SnapshotError):
            from_text(text)
