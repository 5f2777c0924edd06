# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The report as JSON Lines: one record on each line, and a line of the same form for a host that gave no answer."""

from __future__ import annotations

import typing as t

from ..._records.spool import as_line
from ..report import Report, document_without_record


def render(report: Report) -> t.Iterator[str]:
    """Yield a line for every host, in the order of the report."""
    for line in report.lines:
        if line.document is None:
            yield as_line(document_without_record(line)) + "\n"
        else:
            yield report.spool.document(line.document) + "\n"
