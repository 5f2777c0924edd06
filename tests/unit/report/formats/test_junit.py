# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The report as JUnit XML, checked with the parser of another project."""

from __future__ import annotations

import typing as t
from pathlib import Path

import junitparser
import pytest
import xmlschema

from ansible_collections.kernelops.livepatch.plugins.module_utils._records.document import FailedAttempt
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.formats import junit
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.report import Report
from ansible_collections.kernelops.livepatch.plugins.module_utils._text import visible
from tests.samples.exposures import a_waived_exposure
from tests.samples.records import make_record
from tests.samples.reports import HOSTILE, RULES, a_judged_report, a_report, a_waived_report, hostile_record, recorded

SUITE = '<testsuite name="x" tests="1" failures="0" errors="0">'
SCHEMA = xmlschema.XMLSchema(str(Path(__file__).with_name("junit.xsd")))

FINDINGS: list[t.Any] = [
    ("web2", ("not_protected", "it is disabled")),
    ("web3", ("not_protected", "it is unreachable")),
    ("web1", ("cloned", "same as web2")),
    ("web2", ("cloned", "same as web1")),
]
DOCUMENTS: list[t.Any] = [
    recorded(make_record("web1")),
    recorded(make_record("web2", "disabled")),
    FailedAttempt("web3", "2026-01-11T00:00:00Z", []),
]


def _parsed(report: Report) -> junitparser.JUnitXml:
    written = "".join(junit.render(report)).encode()
    SCHEMA.validate(written.decode())
    return junitparser.JUnitXml.fromstring(written)


@pytest.mark.parametrize(
    "wrong",
    [
        '<testsuites name="x" tests="1" failures="0" errors="0"><testcase name="a" classname="b"/></testsuites>',
        '<testsuites name="x" tests="-1" failures="0" errors="0"/>',
        '<testsuites tests="0" failures="0" errors="0"><testsuite tests="0" failures="0" errors="0"/></testsuites>',
        f"{SUITE}<testcase name='a' classname='b'><failure/></testcase></testsuite>",
        f"{SUITE}<testcase name='a' classname='b'><skipped/><skipped/></testcase></testsuite>",
        f"{SUITE}<testcase name='a'/></testsuite>",
        '<testsuites tests="0" failures="0" errors="0" skipped="0"/>',
    ],
)
def test_the_schema_refuses_invalid_documents(wrong: str) -> None:
    assert SCHEMA.is_valid(f"{SUITE}<testcase name='a' classname='b'><skipped/></testcase></testsuite>")
    assert not SCHEMA.is_valid(wrong)


def _outcomes(report: Report) -> dict[str, dict[str, str]]:
    """Return the result of each case, by suite and name."""
    outcomes: dict[str, dict[str, str]] = {}
    for suite in _parsed(report):
        cases = list(suite)
        assert all(case.classname == f"livepatch.{suite.name}" for case in cases)
        kinds = {case.name: (type(case.result[0]).__name__.lower() if case.result else "passed") for case in cases}
        counted = list(kinds.values())
        figures = (suite.tests, suite.failures, suite.skipped, suite.errors)
        assert figures == (len(cases), counted.count("failure"), counted.count("skipped"), 0)
        outcomes[suite.name] = kinds
    return outcomes


def test_rules_are_suites_and_hosts_are_cases() -> None:
    assert _outcomes(a_judged_report(FINDINGS, *DOCUMENTS)) == {
        "not_protected": {"web3": "failure", "web2": "failure", "web1": "passed"},
        "upgrade_soon": {"web3": "skipped", "web2": "passed", "web1": "passed"},
        "cloned": {"web2": "failure", "web1": "failure"},
        "seats_exceeded": {"the fleet": "passed"},
    }


def test_the_totals_match_the_cases() -> None:
    document = _parsed(a_judged_report(FINDINGS, *DOCUMENTS))
    assert (document.tests, document.failures, document.skipped, document.errors) == (9, 4, 1, 0)


def test_a_failure_has_reason_and_remedy() -> None:
    report = a_judged_report([*FINDINGS, (None, ("seats_exceeded", "4 of 3 <seats>"))], *DOCUMENTS)
    failures = {
        (suite.name, case.name): case.result[0]
        for suite in _parsed(report)
        for case in suite
        if case.result and isinstance(case.result[0], junitparser.Failure)
    }
    disabled = failures["not_protected", "web2"]
    assert (disabled.type, disabled.message) == ("error", "it is disabled")
    assert disabled.text == (
        "state: disabled\nwhy: The client is not enabled.\nnext step: Enable the client.\nof the rule: look at it"
    )
    assert failures["cloned", "web1"].type == "info"
    assert failures["seats_exceeded", "the fleet"].message == "4 of 3 <seats>"


def test_without_rules_there_is_no_suite() -> None:
    assert _outcomes(a_report(*DOCUMENTS)) == {}


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_of_hosts_stay_text(text: str) -> None:
    record = hostile_record(text)
    report = a_judged_report([(record["host"], ("not_protected", text))], recorded(record))
    assert _outcomes(report)["not_protected"] == {visible(record["host"]): "failure"}
    [failure] = next(iter(next(iter(_parsed(report))))).result
    assert failure.message == visible(text)
    assert visible(text) in failure.text
    assert all(line.isprintable() for line in "".join(junit.render(report)).split("\n"))


def test_every_rule_is_a_suite() -> None:
    assert list(_outcomes(a_judged_report([], *DOCUMENTS))) == [rule.id for rule in RULES]


def test_a_waived_finding_is_skipped_with_the_reason() -> None:
    report = a_waived_report()
    assert _outcomes(report) == {
        "not_protected": {"build3": "skipped", "build1": "skipped", "web2": "failure", "web1": "passed"},
        "upgrade_soon": {"build3": "skipped", "build1": "passed", "web2": "passed", "web1": "passed"},
        "cloned": {"the fleet": "passed"},
        "seats_exceeded": {"the fleet": "skipped"},
    }
    messages = [case.result[0].message for suite in _parsed(report) for case in suite if case.result]
    assert "it is disabled. Waived until 2026-03-01 by build team: rebuilt every night" in messages


def test_waived_vulnerabilities_of_exposed_hosts_are_skipped() -> None:
    found = _outcomes(a_waived_exposure())["vulnerability_open"]
    assert found == {"web1": "skipped", "web2": "failure", "web3": "failure", "web4": "skipped"}


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_of_waivers_stay_text(text: str) -> None:
    assert _outcomes(a_waived_report(text))["not_protected"]["build1"] == "skipped"
