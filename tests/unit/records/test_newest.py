# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The newest usable record of each host."""

from __future__ import annotations

import datetime as dt

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._record import Reason, Record
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.document import (
    Document,
    FailedAttempt,
    Problem,
    Recorded,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.newest import NewestRecords, newest_records
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.spool import SplitText
from tests.samples.records import COLLECTED_AT, make_record

NOW = dt.datetime(2026, 1, 11, tzinfo=dt.timezone.utc)
LATER = "2026-01-10T07:00:00Z"
FUTURE = "2026-01-11T00:06:00Z"


def recorded(host: str = "web1", at: str = COLLECTED_AT, version: str = "65.1") -> Recorded:
    return Recorded(make_record(host, collected_at=at, patch__version=version), SplitText((), ()))


def version_of(record: Record) -> str | None:
    return record["patch"]["version"]


def newest(*documents: Document, hosts: list[str] | None = None) -> NewestRecords[str | None]:
    return newest_records(documents, hosts, NOW, version_of)


def test_the_newest_record_counts_in_any_order() -> None:
    old, new = recorded(version="65.1"), recorded(at=LATER, version="66.1")
    for order in ((old, new), (new, old)):
        found = newest(*order)
        assert (found.records, found.missing, found.oldest) == ({"web1": "66.1"}, set(), LATER)


@pytest.mark.parametrize(("at", "missing"), [(LATER, True), (COLLECTED_AT, True), ("2026-01-10T05:00:00Z", False)])
def test_a_later_attempt_makes_a_record_unusable(at: str, missing: bool) -> None:
    for order in ((recorded(), FailedAttempt("web1", at, [])), (FailedAttempt("web1", at, []), recorded())):
        found = newest(*order)
        assert (found.missing == {"web1"}) == missing
        assert (not found.records) == missing


def test_a_host_with_documents_from_the_future_is_missing() -> None:
    assert newest(recorded(at=FUTURE), recorded()).missing == {"web1"}
    assert newest(recorded(), FailedAttempt("web1", FUTURE, [])).missing == {"web1"}
    assert newest(recorded(at="2026-01-11T00:04:59Z")).missing == set()


def test_a_host_with_an_unusable_file_is_missing() -> None:
    problem = Problem("invalid_json", "/records/web1.json", "this file is truncated", "web1")
    assert newest(problem).missing == {"web1"}
    assert newest(problem).problems == [problem]
    assert newest(problem, recorded()).missing == set(), "another folder has its record"
    assert newest(Problem("folder_unreadable", "/records", "this folder cannot be read")).missing == set()


def test_requested_hosts_without_a_record_are_missing() -> None:
    found = newest(recorded(), recorded("web2"), FailedAttempt("web3", LATER, []), hosts=["web1", "web4"])
    assert (found.records, found.missing) == ({"web1": "65.1"}, {"web4"})


def test_without_documents_there_is_nothing() -> None:
    assert newest() == NewestRecords({}, set(), [], None)


def test_the_last_failed_attempt_has_the_reason() -> None:
    early, late = (
        FailedAttempt("web1", at, [Reason(id=name, message=name, remedy=name)])
        for at, name in ((COLLECTED_AT, "early"), (LATER, "late"))
    )
    for order in ((early, late), (late, early)):
        assert [each["id"] for each in newest(*order).failures["web1"]] == ["late"]
    assert newest(early, recorded(at=LATER)).failures == {}
