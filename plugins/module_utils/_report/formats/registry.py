# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The formats that a report can have, each the work of one module."""

from __future__ import annotations

import dataclasses
import typing as t

from ..report import Report
from . import csv_table, html, json_document, json_lines, junit, markdown, prometheus, sarif, table


@dataclasses.dataclass(frozen=True)
class Format:
    """`time_chunk` is the index of the only chunk that differs between two reports of the same records, if any.

    `effort` is how long it takes, in comparison.
    """

    suffix: str
    render: t.Callable[[Report], t.Iterable[str]]
    time_chunk: int | None
    effort: int


FORMATS: dict[str, Format] = {
    "table": Format(".txt", table.render, 0, 10),
    "json": Format(".json", json_document.render, 2, 13),
    "jsonl": Format(".jsonl", json_lines.render, None, 8),
    "markdown": Format(".md", markdown.render, 2, 8),
    "html": Format(".html", html.render, 1, 35),
    "csv": Format(".csv", csv_table.render, None, 8),
    "junit": Format(".junit.xml", junit.render, None, 8),
    "sarif": Format(".sarif", sarif.render, 2, 2),
    "prometheus": Format(".prom", prometheus.render, None, 8),
}


def halves(names: t.Iterable[str]) -> tuple[list[str], list[str]]:
    """Share out formats so that both halves take about as long."""
    one: list[str] = []
    other: list[str] = []
    efforts = [0, 0]
    for name in sorted(names, key=lambda name: -FORMATS[name].effort):
        lighter = efforts.index(min(efforts))
        (one, other)[lighter].append(name)
        efforts[lighter] += FORMATS[name].effort
    return one, other
