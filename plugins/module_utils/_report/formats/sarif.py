# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The report as SARIF 2.1.0 (OASIS standard), for code scanning pages: a result for each finding of a rule.

GitHub accepts at most 25,000 results and shows the 5,000 most urgent ones. Findings are ordered by severity, and those
beyond `MOST_RESULTS` are left out, with a notification.

A finding that a waiver covers is a result with an accepted suppression. A host is a logical location. The physical
one, which code scanning pages ask for, is the file of its record.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import re
import typing as t
from urllib.parse import quote

from ..._fleet.rules import Finding, Rule, Severity
from ..._fleet.waivers import Waiver
from ..._records.spool import as_line
from ..._text import visible
from ..._version import COLLECTION_VERSION
from ..report import HostLine, Report

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_TOOL = "kernelops.livepatch"
_INFORMATION = "https://github.com/kernelops/livepatch"
_LEVELS: dict[Severity, str] = {"error": "error", "warning": "warning", "info": "note"}
_RECORDS = "RECORDS"
_BASES = {_RECORDS: {"description": {"text": "The folder of records that the report was made from."}}}
_FLEET = "the fleet"
_REMEMBERED = 1024
_SEMANTIC_VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?")

MOST_RESULTS = 25_000
"""Results of a run that GitHub accepts. It refuses a file with more."""

_SHOWN_RESULTS = 5_000


def render(report: Report) -> t.Iterator[str]:
    """Yield the document with one result on each line. The third chunk holds the time of the report."""
    driver = {**_tool(), "rules": [_rule(rule) for rule in report.rules]}
    yield f'{{"$schema": {as_line(_SCHEMA)}, "version": "2.1.0", "runs": [{{\n'
    yield f'"tool": {as_line({"driver": driver})},\n"invocations": [{{"executionSuccessful": true, "endTimeUtc": '
    yield as_line(report.generated_at)
    notifications = [_notification(f"{problem.path}: {problem.message}") for problem in report.problems]
    notifications += map(_notification, _limits(report))
    yield f', "toolExecutionNotifications": {as_line(notifications)}}}],\n'
    yield f'"originalUriBaseIds": {as_line(_BASES)},\n"columnKind": "unicodeCodePoints",\n"results": ['
    places = {rule.id: place for place, rule in enumerate(report.rules)}
    before = "\n"
    for line, finding, waiver in itertools.islice(_ordered(report), MOST_RESULTS):
        yield before + _result(report, places[finding[0]], line, finding, waiver)
        before = ",\n"
    yield "\n]}]}\n"


def _tool() -> dict[str, str]:
    name = {"name": _TOOL, "version": COLLECTION_VERSION, "informationUri": _INFORMATION}
    return {
        **name,
        **({"semanticVersion": COLLECTION_VERSION} if _SEMANTIC_VERSION.fullmatch(COLLECTION_VERSION) else {}),
    }


def _ordered(report: Report) -> t.Iterator[tuple[HostLine | None, Finding, Waiver | None]]:
    """Yield the findings, the most severe first, and at the end those that waivers cover."""
    severities = {rule.id: rule.severity for rule in report.rules}
    for severity in _LEVELS:
        yield from ((line, each, None) for line, each in report.findings() if severities[each[0]] == severity)
    yield from ((line, Finding(each.rule, each.message), each.waiver) for line, each in report.waived())


def _limits(report: Report) -> t.Iterator[str]:
    """Yield sentences about results that are left out, or that a code scanning page leaves out."""
    number = sum(report.findings_by_rule().values()) + sum(report.waived_by_rule().values())
    if number > MOST_RESULTS:
        yield f"{number - MOST_RESULTS} of {number} findings are left out: a run may have {MOST_RESULTS} results"
    if number > _SHOWN_RESULTS:
        yield f"GitHub shows {_SHOWN_RESULTS} of the {min(number, MOST_RESULTS)} results, the most severe ones"


def _rule(rule: Rule) -> dict[str, t.Any]:
    return {
        "id": rule.id,
        "shortDescription": {"text": rule.description},
        "fullDescription": {"text": f"{rule.description.rstrip('.')}. The rule is of severity {rule.severity}."},
        "help": {"text": rule.remedy or rule.description},
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
        "properties": {"tags": ["security"]},
    }


def _notification(text: str) -> dict[str, t.Any]:
    return {"level": "warning", "message": {"text": visible(text)}}


def _result(report: Report, place: int, line: HostLine | None, finding: Finding, waiver: Waiver | None) -> str:
    # Assembled from JSON texts, which takes a third of the time of encoding the whole document.
    rule, message = finding
    host = line.host if line else ""
    # Identifies the finding across reports. The message is not part of it because it can contain a number of days.
    same = hashlib.sha256(f"{rule}\0{host}".encode(errors="surrogatepass")).hexdigest()
    said = _message(message, line.message if line else None, line.next_step if line else None)
    return (
        f'{{"ruleId": "{rule}", "ruleIndex": {place}, "level": "{_LEVELS[report.rules[place].severity]}", '
        f'"message": {{"text": {said}}}, "locations": [{_location(host)}], '
        # GitHub compares the second one. It would compute it from the line of a file that it does not have.
        f'"partialFingerprints": {{"ruleAndHost/v1": "{same}", "primaryLocationLineHash": "{same[:16]}:1"}}'
        f"{_suppression(waiver)}}}"
    )


def _suppression(waiver: Waiver | None) -> str:
    if waiver is None:
        return ""
    accepted = {"kind": "external", "status": "accepted", "justification": visible(waiver.justification)}
    return f', "suppressions": {as_line([accepted])}'


# Similar hosts have equal messages.
@functools.lru_cache(_REMEMBERED)
def _message(message: str, why: str | None, next_step: str | None) -> str:
    step = f"Next step: {next_step}" if next_step else None
    sentences = (f"{part.rstrip('.')}." for part in (message, why, step) if part)
    return as_line(visible(" ".join(sentences)))


@functools.lru_cache(_REMEMBERED)
def _location(host: str) -> str:
    name = visible(host)
    uri = as_line(f"{quote(name, safe='')}.json" if host else "./")
    shown = as_line(name or _FLEET)
    return (
        f'{{"physicalLocation": {{"artifactLocation": {{"uri": {uri}, "uriBaseId": "{_RECORDS}"}}, '
        f'"region": {{"startLine": 1}}}}, '
        f'"logicalLocations": [{{"name": {shown}, "fullyQualifiedName": {shown}, "kind": "resource"}}]}}'
    )
