# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The report as JUnit XML, as Jenkins and GitLab read it: a suite for each rule, in it a case for each host.

A case fails where the host breaks the rule. Where a host gave no answer, a rule that it does not break is skipped, for
nothing is known that would pass it. A violation that a waiver covers is skipped too. A rule for the fleet has a case
for each host that breaks it, or one for the fleet.
"""

from __future__ import annotations

import functools
import html
import typing as t

from ..._fleet.rules import Rule
from ..._fleet.waivers import WaivedFinding
from ..._text import visible
from ..report import HostLine, Report

_NAME = "livepatch"
_REMEMBERED = 1024
_FLEET = "the fleet"
_SKIPPED = '<skipped message="without an answer of the host, this is not known"/>'


class _Suite(t.NamedTuple):
    rule: Rule
    tests: int
    failures: int
    skipped: int


def render(report: Report) -> t.Iterator[str]:
    """Yield the document. Its texts contain no character that XML 1.0 forbids."""
    suites = _suites(report)
    # The schema of Jenkins has no `skipped` here.
    all_of_them = _numbers(sum(suite.tests for suite in suites), sum(suite.failures for suite in suites))
    # Computed once because every suite names every host.
    names = [_attribute(line.host) for line in report.lines]
    yield '<?xml version="1.0" encoding="UTF-8"?>\n'
    yield f'<testsuites name="{_NAME}" {all_of_them}>\n'
    for suite in suites:
        numbers = _numbers(suite.tests, suite.failures)
        yield f'  <testsuite name="{suite.rule.id}" {numbers} skipped="{suite.skipped}">\n'
        yield from _fleet_cases(report, suite.rule) if suite.rule.of_fleet else _host_cases(report, suite.rule, names)
        yield "  </testsuite>\n"
    yield "</testsuites>\n"


def _suites(report: Report) -> list[_Suite]:
    broken = report.findings_by_rule()
    gone = dict.fromkeys(broken, 0)
    without_record = 0
    waived = report.waived_by_rule()
    for line in report.lines:
        if line.document is None:
            without_record += 1
            for rule in (*(finding[0] for finding in line.findings), *(each.rule for each in line.waived)):
                gone[rule] += 1
    return [
        _Suite(rule, max(1, broken[rule.id] + waived[rule.id]), broken[rule.id], waived[rule.id])
        if rule.of_fleet
        else _Suite(rule, len(report.lines), broken[rule.id], waived[rule.id] + without_record - gone[rule.id])
        for rule in report.rules
    ]


def _numbers(tests: int, failures: int) -> str:
    return f'tests="{tests}" failures="{failures}" errors="0"'


def _host_cases(report: Report, rule: Rule, names: list[str]) -> t.Iterator[str]:
    opening = f'    <testcase classname="{_NAME}.{rule.id}" name='
    for line, name in zip(report.lines, names, strict=True):
        # Most hosts break no rule: without a generator for each of them, this takes half the time.
        message = next((said for broken, said in line.findings if broken == rule.id), None) if line.findings else None
        if message is not None:
            yield f"{opening}{name}>\n      {_failure(rule, message, line)}\n    </testcase>\n"
        elif line.waived and (waived := next((each for each in line.waived if each.rule == rule.id), None)):
            yield f"{opening}{name}>{_waived(waived)}</testcase>\n"
        elif line.document is None:
            yield f"{opening}{name}>{_SKIPPED}</testcase>\n"
        else:
            yield f"{opening}{name}/>\n"


def _fleet_cases(report: Report, rule: Rule) -> t.Iterator[str]:
    opening = f'    <testcase classname="{_NAME}.{rule.id}" name='
    found = [(line, message) for line, (broken, message) in report.findings() if broken == rule.id]
    for line, message in found:
        name = _attribute(line.host if line else _FLEET)
        yield f"{opening}{name}>\n      {_failure(rule, message, line)}\n    </testcase>\n"
    waived = [(line, each) for line, each in report.waived() if each.rule == rule.id]
    for line, each in waived:
        yield f"{opening}{_attribute(line.host if line else _FLEET)}>{_waived(each)}</testcase>\n"
    if not found and not waived:
        yield f"{opening}{_attribute(_FLEET)}/>\n"


def _waived(finding: WaivedFinding) -> str:
    return f"<skipped message={_attribute(f'{finding.message}. {finding.waiver.justification}')}/>"


def _failure(rule: Rule, message: str, line: HostLine | None) -> str:
    why = (line.state, line.message, line.next_step) if line else (None, None, None)
    return f'<failure type="{rule.severity}" message={_attribute(message)}>{_details(*why, rule.remedy)}</failure>'


# Similar hosts have equal texts.
@functools.lru_cache(_REMEMBERED)
def _details(state: str | None, why: str | None, next_step: str | None, remedy: str | None) -> str:
    details = (("state", state), ("why", why), ("next step", next_step), ("of the rule", remedy))
    return "\n".join(f"{name}: {html.escape(visible(value), quote=False)}" for name, value in details if value)


@functools.lru_cache(_REMEMBERED)
def _attribute(text: str) -> str:
    return f'"{html.escape(visible(text))}"'
