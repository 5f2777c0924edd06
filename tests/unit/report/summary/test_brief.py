# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The report for mail and chat: at most 20 lines."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._report.summary import brief
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.summary.run_context import RunContext
from tests.samples.changes import EARLIER, LATER, a_changed_report, fresh, reported
from tests.samples.reports import HOSTILE, a_report_with_every_state, hostile_record, recorded

CHANGES = "1 no longer protected, 1 now protected, 1 new, 1 no longer in the report, 1 with another patch"


def test_the_summary_has_the_numbers_and_the_steps() -> None:
    assert list(brief.lines(a_changed_report(), Path("/srv/report/fleet.html"))) == [
        f"Livepatch report of {LATER}",
        "1 of 3 eligible hosts is protected (33%). Before: 2 of 3 (-1).",
        "Hosts: 1 protected, 1 failed, 1 disabled.",
        f"Since {EARLIER}: {CHANGES}.",
        "To do:",
        "- 1 host (failed): Read the log of the client. [web1]",
        "- 1 host: enable the client [new]",
        "Report: file:///srv/report/fleet.html",
    ]


def test_a_first_report_says_nothing_of_changes() -> None:
    assert list(brief.lines(reported(fresh("web1")), None)) == [
        f"Livepatch report of {LATER}",
        "1 of 1 eligible hosts is protected (100%).",
        "Hosts: 1 protected.",
    ]


def test_the_longest_summary_has_twenty_lines() -> None:
    report = dataclasses.replace(a_report_with_every_state(), context=RunContext("Fleet", limit="web*"))
    changed = dataclasses.replace(report, changes=a_changed_report().changes)
    lines = list(brief.lines(changed, Path("/srv/fleet.html")))
    assert len(lines) <= 20
    assert any(line.startswith("Failed rules: not_protected (1), seats_exceeded (1)") for line in lines)
    assert any(line.startswith("- and ") for line in lines)


def test_the_subject_has_the_numbers() -> None:
    assert brief.subject(reported(fresh("web1"))) == "Livepatch report: 1 of 1 protected"
    assert brief.subject(a_changed_report()).startswith("Livepatch report: 1 of 3 protected; 1 no longer protected, ")


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_of_hosts_stay_text(text: str) -> None:
    report = dataclasses.replace(reported(recorded(hostile_record(text))), context=RunContext(text, limit=text))
    assert all(line.isprintable() for line in (brief.subject(report), *brief.lines(report, None)))
