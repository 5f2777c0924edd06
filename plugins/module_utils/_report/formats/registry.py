# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The formats of a report, each rendered by one module."""

from __future__ import annotations

import dataclasses
import typing as t

from ..report import Report
from ..scanners import scanner_csv
from . import csv_table, html, json_document, json_lines, junit, markdown, prometheus, sarif, table


@dataclasses.dataclass(frozen=True)
class Format:
    """`render` yields the text of the report in chunks.

    `time_chunk` is the index of the only chunk that differs between two reports of the same records, None if there is
    none.
    """

    suffix: str
    render: t.Callable[[Report], t.Iterable[str]]
    time_chunk: int | None


OPENVEX: t.Final = "openvex"
"""Name of the format that is a folder of documents, and of its folder."""

FORMATS: dict[str, Format] = {
    "table": Format(".txt", table.render, 0),
    "json": Format(".json", json_document.render, 2),
    "jsonl": Format(".jsonl", json_lines.render, None),
    "markdown": Format(".md", markdown.render, 2),
    "html": Format(".html", html.render, 1),
    "csv": Format(".csv", csv_table.render, None),
    "junit": Format(".junit.xml", junit.render, None),
    "sarif": Format(".sarif", sarif.render, 2),
    "prometheus": Format(".prom", prometheus.render, None),
}
"""Formats of every report."""

SCANNER_TABLE = {"scanner_csv": Format(".scanner.csv", scanner_csv.render_report, None)}

FORMATS_OF_SCANNERS = (OPENVEX, *SCANNER_TABLE)
"""Formats that need vulnerability data."""

FILES = {**FORMATS, **SCANNER_TABLE}
"""Formats that are one file."""

NAMES = (*FORMATS, *FORMATS_OF_SCANNERS)
"""Names of all formats."""
