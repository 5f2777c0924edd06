# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The report as comma-separated values (RFC 4180), one row for each host, for spreadsheets and databases."""

from __future__ import annotations

import csv
import functools
import itertools
import re
import typing as t

from ..._fleet import groups
from ..._text import visible
from ..report import HostLine, Report

COLUMNS = (
    "host",
    "state",
    "message",
    "next_step",
    "rules",
    "waived",
    "kernel",
    "patch",
    "client",
    "support",
    "upgrade_required_by",
    "last_check",
    "collected_at",
    "attempted_at",
    "last_seen_at",
    "last_seen_state",
    "open_cves",
    "open_cves_by_priority",
    "unknown_cves",
    "overdue_cves",
    "waived_cves",
    "release",
)
_KEY = "group_"

# A spreadsheet reads a cell that begins with one of these as a formula, also in the wide forms of East Asian keyboards.
# A tab or line end, which some spreadsheets skip, is never first: `visible` has replaced it.
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")  # noqa: RUF001  (the wide forms are intended)
_TEXT = "'"
_NUMBER = re.compile(r"[0-9][0-9.,:/-]*")
_REMEMBERED = 4096


def render(report: Report) -> t.Iterator[str]:
    """Yield the rows, the names of the columns first."""
    keys = report.group_keys
    heads = [*COLUMNS, *(key if key == groups.INVENTORY else f"{_KEY}{key}" for key in keys)]
    return csv_rows(itertools.chain([heads], (_values(line, keys) for line in report.lines)))


def csv_rows(rows: t.Iterable[t.Iterable[str | None]]) -> t.Iterator[str]:
    """Yield rows of text in which a spreadsheet finds no formula. Unknown values are empty."""
    return (f"{','.join(map(_cell, row))}\r\n" for row in rows)


class _CsvRow:
    """A file for the writer of the standard library that returns each row."""

    def write(self, row: str) -> str:
        return row


def _values(line: HostLine, keys: t.Sequence[str]) -> tuple[str | None, ...]:
    last, exposure = line.last_record, line.exposure
    return (
        line.host,
        line.state,
        line.message,
        line.next_step,
        " ".join([rule for rule, _message in line.findings]),
        "; ".join([f"{each.rule}: {each.waiver.justification}" for each in line.waived]),
        line.kernel_name,
        _version(line.patch_version),
        _version(line.client_version),
        line.support,
        line.upgrade_required_by,
        line.last_check,
        line.collected_at,
        line.attempted_at,
        last.collected_at if last else None,
        last.state if last else None,
        str(len(exposure.open)) if exposure else None,
        exposure.as_text() if exposure else None,
        str(exposure.unknown) if exposure else None,
        str(exposure.overdue) if exposure else None,
        str(len(exposure.waived)) if exposure else None,
        _version(line.release),
        *(line.groups.get(key) for key in keys),
    )


def _version(version: str | None) -> str | None:
    """Return a version that stays text: spreadsheets read 107.10 as the number 107.1, and 12.1 as a date."""
    return f"{_TEXT}{version}" if version and _NUMBER.fullmatch(version) else version


# Rows of one host or of similar hosts have equal cells, which are quoted only once.
@functools.lru_cache(_REMEMBERED)
def _cell(text: str | None) -> str:
    if not text:
        return ""
    shown = visible(text)
    # Nearly every cell begins with a letter or a digit, which is the quicker check.
    harmless = shown[0].isalnum() or not shown.lstrip().startswith(_FORMULA)
    row: str = _WRITER.writerow((shown if harmless else f"{_TEXT}{shown}",))
    return row.removesuffix("\r\n")


_WRITER = csv.writer(_CsvRow())
