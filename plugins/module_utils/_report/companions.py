# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Further files of a report: a summary for mail and chat, and the changes since the last report."""

from __future__ import annotations

import collections.abc as c
import json
import typing as t
from pathlib import Path

from .changes.model import MOST
from .changes.wording import FIRST_REPORT, as_lines
from .report import Report
from .summary import brief

SUMMARY, CHANGES_TEXT, CHANGES_JSON = "summary.txt", "changes.txt", "changes.json"
SCHEMA = "kernelops.livepatch/changes/1"

NAMES = (SUMMARY, CHANGES_TEXT, CHANGES_JSON)


class Companion(t.NamedTuple):
    """Text in chunks. `time_chunk` is the only one that differs between two reports of the same records, if any."""

    chunks: c.Callable[[], c.Iterator[str]]
    time_chunk: int | None


def companions(report: Report, page: Path | None) -> dict[str, Companion]:
    """Return the files by their names. `page` is the file with the whole report."""
    return {
        SUMMARY: Companion(lambda: _lines(brief.lines(report, page)), 0),
        CHANGES_TEXT: Companion(lambda: _lines(_changes(report)), None),
        CHANGES_JSON: Companion(lambda: _json(report), 1),
    }


def _lines(lines: c.Iterable[str]) -> c.Iterator[str]:
    return (f"{line}\n" for line in lines)


def _changes(report: Report) -> c.Iterator[str]:
    if report.changes is not None:
        yield from as_lines(report.changes, MOST)
    elif report.context.limit is None:
        yield FIRST_REPORT
    else:
        yield f"There is no earlier report with the limit {report.context.limit!r} to compare this one with."


def _json(report: Report) -> c.Iterator[str]:
    changes = report.changes.as_dict() if report.changes else None
    yield f'{{"schema": {json.dumps(SCHEMA)}, '
    yield f'"generated_at": {json.dumps(report.generated_at)}, '
    yield f'"limit": {json.dumps(report.context.limit)}, "changes": {json.dumps(changes)}}}\n'
