# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The files beside those of the formats."""

from __future__ import annotations

import dataclasses
import json

from ansible_collections.kernelops.livepatch.plugins.module_utils._report.companions import NAMES, companions
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.report import Report
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.summary.run_context import RunContext
from tests.samples.changes import EARLIER, LATER, a_changed_report, fresh, reported


def files(report: Report) -> dict[str, str]:
    return {name: "".join(file.chunks()) for name, file in companions(report, None).items()}


def test_changes_have_a_text_and_a_document() -> None:
    found = files(a_changed_report())
    assert tuple(found) == NAMES
    assert "  web1: protected -> failed: The patch could not be applied.\n" in found["changes.txt"]
    document = json.loads(found["changes.json"])
    assert document["changes"]["since"] == EARLIER
    assert document["changes"]["unprotected"]["number"] == 1
    assert (document["generated_at"], document["limit"]) == (LATER, None)


def test_a_first_report_says_so() -> None:
    found = files(reported(fresh("web1")))
    assert found["changes.txt"] == "This is the first report, so there is nothing to compare it with.\n"
    assert json.loads(found["changes.json"])["changes"] is None
    limited = dataclasses.replace(reported(fresh("web1")), context=RunContext(limit="web*"))
    assert files(limited)["changes.txt"] == (
        "There is no earlier report with the limit 'web*' to compare this one with.\n"
    )


def test_only_the_time_chunk_differs() -> None:
    one, other = (companions(reported(fresh("web1"), at=at), None) for at in (LATER, "2026-01-12T07:00:00Z"))
    for name in NAMES:
        chunks = list(zip(one[name].chunks(), other[name].chunks(), strict=True))
        differing = [index for index, (first, second) in enumerate(chunks) if first != second]
        assert differing == ([] if one[name].time_chunk is None else [one[name].time_chunk])
