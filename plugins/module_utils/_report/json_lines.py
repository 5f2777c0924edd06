# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The report as JSON Lines: a record a line, and for a host that is unreachable a line of the same look."""

from __future__ import annotations

import typing as t

from .report import ATTEMPT_SCHEMA, HostLine, Report
from .spool import as_line


def render(report: Report) -> t.Iterator[str]:
    """Yield a line for every host, in the order of the report."""
    for line in report.lines:
        if line.document is None:
            yield as_line(unreachable_document(line)) + "\n"
        else:
            yield report.spool.read(line.document)


def unreachable_document(line: HostLine) -> dict[str, t.Any]:
    """Say what is known of a host that gave no record, with its state where a record has it."""
    return {
        "schema": ATTEMPT_SCHEMA,
        "host": line.host,
        "attempted_at": line.attempted_at,
        "assessment": {"state": line.state, "reasons": line.reasons, "reboot_needed": None},
        "last_record": line.last_record.as_dict() if line.last_record else None,
    }
