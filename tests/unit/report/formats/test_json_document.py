# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The report as data: one JSON document, or a line of JSON for every host."""

from __future__ import annotations

import collections
import json
import typing as t

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._records.document import FailedAttempt, Problem
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.formats import json_document, json_lines
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.formats.registry import FORMATS
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.report import Report
from tests.samples.exposures import CRITICAL, HIGH, PATCHED, an_exposed_report
from tests.samples.records import make_record
from tests.samples.reports import GENERATED_AT, HOSTILE, a_report, a_waived_report, hostile_record, recorded

DISABLED, PROTECTED = make_record("web2", "disabled"), make_record("web1")
FLEET = a_report(
    recorded(PROTECTED),
    recorded(DISABLED),
    recorded(make_record("web3", "stale")),
    FailedAttempt("web3", "2026-01-11T00:00:00Z", [{"id": "x", "message": "refused", "remedy": None}]),
    Problem("invalid_json", "/r/web4.json", "cut off", host="web4"),
)
UNREACHABLE = [
    {
        "schema": "kernelops.livepatch/attempt/1",
        "host": "web3",
        "attempted_at": "2026-01-11T00:00:00Z",
        "cause": "unreachable",
        "assessment": {
            "state": "no_answer",
            "reasons": [{"id": "x", "message": "refused", "remedy": None}],
            "reboot_needed": None,
        },
        "last_record": {"collected_at": "2026-01-10T06:00:00Z", "state": "stale"},
    },
    {
        "schema": "kernelops.livepatch/attempt/1",
        "host": "web4",
        "attempted_at": None,
        "cause": None,
        "assessment": {
            "state": "no_answer",
            "reasons": [
                {
                    "id": "record_unusable",
                    "message": "the record of the host cannot be used: cut off",
                    "remedy": "run the check playbook on the host, or remove /r/web4.json if the host no longer exists",
                }
            ],
            "reboot_needed": None,
        },
        "last_record": None,
    },
]


def _document(report: Report) -> dict[str, t.Any]:
    document: dict[str, t.Any] = json.loads("".join(json_document.render(report)))
    return document


def _lines(report: Report) -> list[dict[str, t.Any]]:
    return [json.loads(line) for line in "".join(json_lines.render(report)).splitlines()]


def test_the_document_contains_the_whole_report() -> None:
    assert _document(FLEET) == {
        "schema": "kernelops.livepatch/report/1",
        "generated_at": GENERATED_AT,
        "summary": FLEET.summary(),
        "problems": [{"id": "invalid_json", "path": "/r/web4.json", "message": "cut off", "host": "web4"}],
        "findings": [],
        "waivers": [],
        "waived": [],
        "vulnerabilities": None,
        "history": None,
        "exposures": [],
        "records": [DISABLED, PROTECTED],
        "unreachable": UNREACHABLE,
    }


def test_an_empty_document_has_the_same_keys() -> None:
    document = _document(a_report())
    assert list(document) == list(_document(FLEET))
    assert (document["records"], document["unreachable"], document["problems"]) == ([], [], [])


def test_every_host_is_a_line_with_its_state() -> None:
    assert _lines(FLEET) == [*UNREACHABLE, DISABLED, PROTECTED]
    states = collections.Counter(line["assessment"]["state"] for line in _lines(FLEET))
    assert states == {state: hosts for state, hosts in FLEET.states().items() if hosts}


def test_unknown_keys_are_kept() -> None:
    record: t.Any = {**make_record(), "added_later": {"a": 1.5}}
    assert _document(a_report(recorded(record)))["records"] == [record]


@pytest.mark.parametrize("render", [json_document.render, json_lines.render])
@pytest.mark.parametrize("text", HOSTILE)
def test_texts_of_hosts_are_harmless(text: str, render: t.Any) -> None:
    record = hostile_record(text)
    attempt = FailedAttempt(f"gone{text}", GENERATED_AT, [{"id": "x", "message": text, "remedy": text}])
    report = a_report(recorded(record), attempt, Problem("invalid_json", text, text))
    written = "".join(render(report))
    assert written.isascii()
    assert all(line.isprintable() for line in written.split("\n"))
    records = _document(report)["records"] if render is json_document.render else _lines(report)[1:]
    assert records == [record]


@pytest.mark.parametrize("name", FORMATS)
def test_only_the_chunk_with_the_time_differs(name: str) -> None:
    later = Report("2027-12-31T23:59:59Z", FLEET.lines, FLEET.problems, FLEET.left_out, FLEET.spool)
    pairs = list(zip(FORMATS[name].render(FLEET), FORMATS[name].render(later), strict=True))
    different = [index for index, (one, other) in enumerate(pairs) if one != other]
    assert different == ([] if FORMATS[name].time_chunk is None else [FORMATS[name].time_chunk])
    assert all(len(one) == len(other) for one, other in pairs)


def test_waived_findings_are_apart() -> None:
    document = json.loads("".join(json_document.render(a_waived_report())))
    assert [(each["rule"], each["host"]) for each in document["findings"]] == [("not_protected", "web2")]
    waived = [(each["rule"], each["host"], each["waiver"]["owner"]) for each in document["waived"]]
    assert waived == [
        ("seats_exceeded", None, "purchasing"),
        ("not_protected", "build3", "build team"),
        ("not_protected", "build1", "build team"),
    ]
    assert [(each["status"], each["findings"]) for each in document["waivers"]] == [
        ("active", 2),
        ("expiring", 1),
        ("expired", 0),
    ]
    assert document["summary"]["waived"] == 3
    assert document["summary"]["waivers"] == {"active": 1, "expiring": 1, "expired": 1}
    assert document["summary"]["rules"]["not_protected"] == 1


def test_the_document_has_open_vulnerabilities() -> None:
    found = _document(an_exposed_report())["vulnerabilities"]
    assert [each["cve"] for each in found["cves"]] == [PATCHED, HIGH, CRITICAL], "the oldest first"
    assert found["cves"][2]["counts"] == {"open": 2, "unknown": 1, "live_patched": 0, "fixed": 1, "not_affected": 0}
    assert found["hosts_by_status"]["unknown"] == 1
    assert found["left_out"] == 0
    assert [each["reason"] for each in found["without_data"]] == ["no_current_record"]
