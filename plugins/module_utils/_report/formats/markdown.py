# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The report as GitHub Flavored Markdown: urgent hosts first, protected hosts in a collapsed section."""

from __future__ import annotations

import functools
import re
import typing as t

from ..._text import visible
from ..changes.model import MOST
from ..changes.wording import headline, sections
from ..report import HostLine, Report
from ..summary.actions import UNWRITABLE
from .table import totals

_HEADINGS = ("Host", "State", "Kernel", "Patch", "Client", "Upgrade by", "Why", "Next step")
_WAIVED = ("Host", "Rule", "Finding", "Reason for the waiver", "Owner", "Expires")
_ABSENT = "-"
_REMEMBERED = 1024

# In a table a pipe ends the cell before any other rule is applied; HTML and entities begin with < and &.
# Mail addresses and mentions are recognised after backslashes are removed, but never in a code span.
_INERT = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;", "@": "`@`"}
_SPECIAL = re.compile(r"[&<>|@]")
# A backslash escapes other punctuation; "://" and "www." would otherwise become links.
_PUNCTUATION = re.compile(r"[\\`*_\[\]~!#]|:(?=//)|(?<=www)\.", re.IGNORECASE)


def render(report: Report) -> t.Iterator[str]:
    """Yield the document. The third chunk holds the time of the report."""
    wanting = [line for line in report.lines if line.state != "protected"]
    protected = [line for line in report.lines if line.state == "protected"]
    yield f"# {prose(report.context.title)}\n"
    yield "\n"
    yield f"Made {report.generated_at}.\n"
    yield "\n"
    yield from (f"{prose(sentence)}  \n" for sentence in totals(report))
    yield from _actions(report)
    yield from _changes(report)
    if wanting:
        yield "\n## Not protected\n\n"
        yield from _table(wanting)
    if protected:
        yield "\n## Protected\n\n"
        yield f"<details><summary>{len(protected)} protected</summary>\n\n"
        yield from _table(protected)
        yield "\n</details>\n"
    yield from _waived(report)
    if report.problems:
        yield "\n## Problems\n\n"
        yield from (f"- {code(problem.path)} {prose(problem.message)}\n" for problem in report.problems)


def _actions(report: Report) -> t.Iterator[str]:
    actions = report.actions
    if actions:
        yield "\n## To do\n\n"
    for action in actions:
        yield f"- {prose(action.heading())}\n"
        command = action.command()
        yield "" if action.playbook else "  Then:\n"
        yield f"\n  ```console\n  $ {command}\n  ```\n" if command else f"  {UNWRITABLE}\n"


def _changes(report: Report) -> t.Iterator[str]:
    if report.changes is None:
        return
    yield f"\n## Changes\n\n{prose(headline(report.changes))}\n"
    for section in sections(report.changes, MOST):
        yield f"\n{prose(section.heading)}:\n\n"
        yield from (f"- {prose(entry)}\n" for entry in section.entries)
        if section.left_out:
            yield f"- and {section.left_out} more\n"


def _waived(report: Report) -> t.Iterator[str]:
    rows = list(report.waived())
    if rows:
        yield "\n## Waived\n\n"
        yield f"| {' | '.join(_WAIVED)} |\n|{' --- |' * len(_WAIVED)}\n"
    for line, (rule, message, waiver) in rows:
        host = code(line.host) if line else "the fleet"
        texts = (rule, prose(message), prose(waiver.reason), prose(waiver.owner), waiver.expires.isoformat())
        yield f"| {' | '.join((host, *texts))} |\n"


# Similar hosts have equal texts.
@functools.lru_cache(_REMEMBERED)
def code(text: str | None) -> str:
    """Return external text as a code span, in which only its end and the pipe of a table have a meaning."""
    if not text:
        return _ABSENT
    inert = visible(text).replace("`", r"\x60").replace("|", r"\x7c")
    return f"`{inert}`"


@functools.lru_cache(_REMEMBERED)
def prose(text: str | None) -> str:
    """Return external text as running text in which no markup, HTML or link works."""
    if not text:
        return _ABSENT
    escaped = _PUNCTUATION.sub(r"\\\g<0>", visible(text))
    return _SPECIAL.sub(lambda special: _INERT[special[0]], escaped)


def _exposes(line: HostLine) -> str:
    if line.exposes_unknown:
        return "unknown"
    return "1 container" if line.exposes == 1 else f"{line.exposes} containers"


def _table(lines: t.Sequence[HostLine]) -> t.Iterator[str]:
    # These columns are shown only if any host has a value.
    exposing = any(line.exposes for line in lines)
    evaluated = any(line.exposure for line in lines)
    added = (*(["Containers"] if exposing else []), *(["Open CVEs"] if evaluated else []))
    headings = (*_HEADINGS[:2], *added, *_HEADINGS[2:])
    yield f"| {' | '.join(headings)} |\n"
    yield f"|{' --- |' * len(headings)}\n"
    for line in lines:
        exposes = [_exposes(line)] if exposing else []
        cves = [_open_cves(line)] if evaluated else []
        cells = (
            code(line.host),
            line.state,
            *exposes,
            *cves,
            code(line.kernel_name),
            code(line.patch_version),
            code(line.client_version),
            code(line.upgrade_required_by or line.support),
            prose("; ".join(filter(None, (line.last_seen, line.message)))),
            prose(line.next_step),
        )
        yield f"| {' | '.join(cells)} |\n"


def _open_cves(line: HostLine) -> str:
    return _ABSENT if line.exposure is None else line.exposure.as_cell()
