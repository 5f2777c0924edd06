# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The report as one JSON document with one record on each line."""

from __future__ import annotations

import functools
import json
import typing as t

from ..._fleet.rules import Finding
from ..._fleet.waivers import WaivedFinding, Waiver
from ..._records.spool import as_line
from ..._time import format_time, from_microseconds
from ..history import Exposure
from ..report import HostLine, Report, document_without_record

_REMEMBERED = 1024
SCHEMA = "kernelops.livepatch/report/1"


def render(report: Report) -> t.Iterator[str]:
    """Yield the document. The third chunk holds the time of the report."""
    yield "{\n"
    yield f'  "schema": {json.dumps(SCHEMA)},\n'
    yield f'  "generated_at": {json.dumps(report.generated_at)},\n'
    yield f'  "summary": {json.dumps(report.summary())},\n'
    yield from _list("problems", (as_line(problem.as_dict()) for problem in report.problems), ",")
    yield from _list("findings", (_finding(report, *found) for found in report.findings()), ",")
    yield from _list("waivers", (_waiver(report, *found) for found in report.findings_by_waiver()), ",")
    yield from _list("waived", (_waived(report, *found) for found in report.waived()), ",")
    yield f'  "vulnerabilities": {as_line(_vulnerabilities(report))},\n'
    yield f'  "history": {json.dumps(report.history.as_dict() if report.history else None)},\n'
    exposures = report.history.exposures if report.history else ()
    yield from _list("exposures", map(_exposure, exposures), ",")
    recorded = (line.document for line in report.lines if line.document is not None)
    without_record = (line for line in report.lines if line.document is None)
    yield from _list("records", map(report.spool.document, recorded), ",")
    yield from _list("unreachable", (as_line(document_without_record(line)) for line in without_record), "")
    yield "}\n"


def _vulnerabilities(report: Report) -> dict[str, t.Any] | None:
    """Return the open vulnerabilities with the hosts that have them, within the limits of `FleetExposure.entries`."""
    if report.exposure is None:
        return None
    cves, left_out = report.exposure.entries()
    return {
        **report.exposure.summary(),
        "without_data": report.exposure.without_data,
        "cves": cves,
        "left_out": left_out,
    }


def _finding(report: Report, line: HostLine | None, finding: Finding) -> str:
    rule, message = finding
    of_rule = f'"rule": {as_line(rule)}, "severity": {as_line(report.rule(rule).severity)}'
    return f'{{{of_rule}, "host": {as_line(line.host if line else None)}, "message": {as_line(message)}}}'


def _waiver(report: Report, waiver: Waiver, findings: int) -> str:
    status = waiver.status(report.waivers.today) if report.waivers else None
    return as_line({**waiver.as_dict(), "status": status, "findings": findings})


def _waived(report: Report, line: HostLine | None, waived: WaivedFinding) -> str:
    found = _finding(report, line, Finding(waived.rule, waived.message))
    return f'{found[:-1]}, "waiver": {as_line(waived.waiver.as_dict())}}}'


def _exposure(exposure: Exposure) -> str:
    published = format_time(from_microseconds(exposure.published))
    closed_at = None if exposure.closed_at is None else format_time(from_microseconds(exposure.closed_at))
    times = f'"published": "{published}", "closed_at": {json.dumps(closed_at)}'
    return f'{{"host": {as_line(exposure.host)}, {times}, "cves": {_cves(exposure.cves)}}}'


# Similar hosts have equal lists.
@functools.lru_cache(_REMEMBERED)
def _cves(cves: tuple[str, ...]) -> str:
    return as_line(cves)


def _list(name: str, lines: t.Iterable[str], separator: str) -> t.Iterator[str]:
    yield f"  {json.dumps(name)}: ["
    before = "\n"
    for line in lines:
        yield f"{before}    {line}"
        before = ",\n"
    yield f"\n  ]{separator}\n" if before == ",\n" else f"]{separator}\n"
