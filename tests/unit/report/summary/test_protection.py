# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Protected hosts of eligible ones: only recent records count."""

from __future__ import annotations

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._records.document import FailedAttempt
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.summary.protection import (
    Protection,
    protection_of,
)
from tests.samples.changes import LATER, fresh, reported


def test_ineligible_hosts_do_not_count() -> None:
    report = reported(fresh("web1"), fresh("web2", "failed"), fresh("box1", "ineligible"))
    assert protection_of(report) == Protection(1, 0, 2)


def test_a_host_without_an_answer_counts_as_eligible() -> None:
    report = reported(fresh("web1"), FailedAttempt("web2", LATER, []))
    assert protection_of(report) == Protection(1, 0, 2)


@pytest.mark.parametrize(("at", "protected"), [("2026-01-11T06:00:00Z", 1), ("2026-01-11T05:59:59Z", 0)])
def test_a_record_proves_protection_for_a_day(at: str, protected: int) -> None:
    assert protection_of(reported(fresh("web1", at=at))) == Protection(protected, 1 - protected, 1)


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (Protection(1999, 0, 2000), "1999 of 2000 eligible hosts are protected (99%)."),
        (Protection(1, 0, 1), "1 of 1 eligible hosts is protected (100%)."),
        (Protection(0, 0, 0), "0 of 0 eligible hosts are protected."),
        (
            Protection(0, 5, 8),
            "0 of 8 eligible hosts are protected (0%). 5 more were protected in a record that is older than 24 hours.",
        ),
    ],
)
def test_the_sentence_never_rounds_up(found: Protection, sentence: str) -> None:
    assert found.sentence() == sentence
