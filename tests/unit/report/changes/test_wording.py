# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A comparison in words: what changed, in lines that no host can break."""

from __future__ import annotations

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._report.changes.wording import (
    as_lines,
    sections,
    short,
)
from tests.samples.changes import EARLIER, a_changed_report, compared, fresh, reported
from tests.samples.reports import HOSTILE, hostile_record, recorded


def test_every_change_has_a_line() -> None:
    changes = a_changed_report().changes
    assert changes is not None
    assert list(as_lines(changes, 20)) == [
        f"Since the report of {EARLIER}: 1 of 3 eligible hosts is protected (33%); before, 2 of 3 (-1).",
        "No longer protected (1 host):",
        "  web1: protected -> failed: The patch could not be applied.",
        "Protected again or for the first time (1 host):",
        "  web2: failed -> protected",
        "New in the report, 1 disabled (1 host):",
        "  new: disabled: The client is not enabled.",
        "No longer in the report (1 host):",
        "  old: was protected",
        "Other patches (1 change):",
        "  65.1 -> 66.1: 1 host",
    ]
    assert short(changes) == (
        "1 no longer protected, 1 now protected, 1 new, 1 no longer in the report, 1 with another patch"
    )


def test_no_change_is_said() -> None:
    changes = compared(reported(fresh("web1", at=EARLIER), at=EARLIER), reported(fresh("web1")))
    assert list(as_lines(changes, 5)) == [
        f"Since the report of {EARLIER}: 1 of 1 eligible hosts is protected (100%); before, 1 of 1 (no difference).",
        "No host, kernel, patch, rule or vulnerability changed.",
    ]


def test_more_entries_are_counted() -> None:
    changes = compared(reported(at=EARLIER), reported(*(fresh(f"web{number}") for number in range(5))))
    [section] = sections(changes, 2)
    assert (section.heading, len(section.entries), section.left_out) == (
        "New in the report, 5 protected (5 hosts)",
        2,
        3,
    )
    assert list(as_lines(changes, 2))[-1] == "  and 3 more"


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_of_hosts_stay_text(text: str) -> None:
    changes = compared(reported(at=EARLIER), reported(recorded(hostile_record(text))))
    lines = list(as_lines(changes, 20))
    assert len(lines) == 3
    assert all(line.isprintable() for line in lines)
