# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The report as CSV: it is read back unchanged, and contains no formulas."""

from __future__ import annotations

import csv
import io
import typing as t

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._fleet.waivers import Waiver, Waivers
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.document import FailedAttempt
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.formats import csv_table
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.report import Report
from ansible_collections.kernelops.livepatch.plugins.module_utils._text import visible
from tests.samples.exposures import CRITICAL, NOW, an_exposed_report
from tests.samples.records import make_record
from tests.samples.reports import HOSTILE, a_judged_report, a_report, a_waived_report, hostile_record, recorded


def _rows(report: Report) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO("".join(csv_table.render(report)), newline=""), strict=True))


def test_a_host_is_a_row() -> None:
    attempt = FailedAttempt(
        "web2", "2026-01-11T00:00:00Z", [{"id": "x", "message": "refused", "remedy": "start, sshd"}]
    )
    findings: list[t.Any] = [
        ("web1", ("not_protected", "m")),
        ("web1", ("cloned", "m")),
        (None, ("seats_exceeded", "m")),
    ]
    report = a_judged_report(
        findings, recorded(make_record("web1", "disabled")), recorded(make_record("web2")), attempt
    )
    gone, disabled = _rows(report)
    assert disabled == {
        "host": "web1",
        "state": "disabled",
        "message": "The client is not enabled.",
        "next_step": "Enable the client.",
        "rules": "not_protected cloned",
        "waived": "",
        "kernel": "4.4.0-168.197-generic",
        "patch": "'65.1",
        "client": "'10.8.3",
        "support": "supported",
        "upgrade_required_by": "2026-06-01",
        "last_check": "2026-01-10T05:31:02Z",
        "collected_at": "2026-01-10T06:00:00Z",
        "attempted_at": "",
        "last_seen_at": "",
        "last_seen_state": "",
        "open_cves": "",
        "open_cves_by_priority": "",
        "unknown_cves": "",
        "overdue_cves": "",
        "waived_cves": "",
        "release": "'16.04",
    }
    assert {name: value for name, value in gone.items() if value} == {
        "host": "web2",
        "state": "no_answer",
        "message": "refused",
        "next_step": "start, sshd",
        "attempted_at": "2026-01-11T00:00:00Z",
        "last_seen_at": "2026-01-10T06:00:00Z",
        "last_seen_state": "protected",
    }


def test_lines_end_with_carriage_return_and_newline() -> None:
    chunks = list(csv_table.render(a_report(recorded(make_record('a,"b"')))))
    assert len(chunks) == 2
    assert all(chunk.endswith("\r\n") and chunk.count("\n") == 1 for chunk in chunks)
    assert chunks[1].startswith('"a,""b""",protected,')


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_of_hosts_are_read_back(text: str) -> None:
    report = a_report(recorded(hostile_record(text)))
    [row] = _rows(report)
    assert row["host"] == visible(f"evil{text}")
    assert all(row[name] in (visible(text), f"'{visible(text)}") for name in ("kernel", "client", "message"))
    written = "".join(csv_table.render(report))
    assert all(line.isprintable() for line in written.split("\r\n"))


@pytest.mark.parametrize("start", ["=", "+", "-", "@", " =", "\t=", "\r=", "＝", "＋", "－", "＠"])  # noqa: RUF001  (meant)
def test_no_value_is_a_formula(start: str) -> None:
    text = f'{start}HYPERLINK("https://evil.example","x")'
    record = hostile_record(text)
    record["host"] = text
    [row] = _rows(a_report(recorded(record)))
    for name in ("host", "kernel", "patch", "client", "support", "upgrade_required_by", "message", "next_step"):
        assert row[name].lstrip()[0] in "'\\", name
        assert row[name].removeprefix("'") == visible(text)


def test_waived_rules_have_their_own_column() -> None:
    rows = {row["host"]: row for row in csv.DictReader(io.StringIO("".join(csv_table.render(a_waived_report()))))}
    justification = "Waived until 2026-03-01 by build team: rebuilt every night"
    assert (rows["build1"]["rules"], rows["build1"]["waived"]) == ("", f"not_protected: {justification}")
    assert (rows["web2"]["rules"], rows["web2"]["waived"]) == ("not_protected", "")


def test_open_vulnerabilities_are_counted() -> None:
    rows = {row["host"]: row for row in _rows(an_exposed_report(deadlines={"high": 30}))}
    names = ("open_cves", "open_cves_by_priority", "unknown_cves", "overdue_cves")
    assert [rows["web1"][name] for name in names] == ["2", "1 critical, 1 high", "0", "1"]
    assert [rows["web4"][name] for name in names] == ["", "", "", ""], "without a record, nothing is known"


def test_waived_vulnerabilities_are_counted_apart() -> None:
    waivers = Waivers([Waiver("no users", "web team", NOW.date(), cve=CRITICAL)], NOW.date())
    rows = {row["host"]: row for row in _rows(an_exposed_report(waivers=waivers))}
    names = ("open_cves", "open_cves_by_priority", "unknown_cves", "waived_cves")
    assert [rows["web1"][name] for name in names] == ["1", "1 high", "0", "1"]
