# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The newest usable record of each host, and the hosts that have none."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import datetime as dt
import typing as t

from .._record import Reason, Record
from .._time import parse_time, sort_key
from .document import Document, FailedAttempt, Problem

_CLOCK_TOLERANCE = dt.timedelta(minutes=5)
"""The clocks of several controllers may differ by this much. A record that is newer than that is from the future."""

Kept = t.TypeVar("Kept")
_Other = t.TypeVar("_Other")


@dataclasses.dataclass(frozen=True)
class NewestRecords(t.Generic[Kept]):
    """What was kept of the newest record of each host, the hosts without a usable one, and the unusable files.

    A host whose last attempt failed, or whose documents are from the future, has no usable record. `oldest` is the time
    of the oldest record that counts (RFC 3339, UTC). `failures` has the reasons of failed attempts, by host.
    """

    records: dict[str, Kept]
    missing: set[str]
    problems: list[Problem]
    oldest: str | None
    failures: c.Mapping[str, c.Sequence[Reason]] = dataclasses.field(default_factory=dict)

    def converted(self, convert: c.Callable[[Kept], _Other]) -> NewestRecords[_Other]:
        """Return the same with something else of each record."""
        records = {host: convert(kept) for host, kept in self.records.items()}
        return NewestRecords(records, self.missing, self.problems, self.oldest, self.failures)


def newest_records(
    documents: c.Iterable[Document], hosts: c.Collection[str] | None, now: dt.datetime, keep: c.Callable[[Record], Kept]
) -> NewestRecords[Kept]:
    """Return the newest records of these hosts, or of all hosts. `keep` reduces each to what is needed."""
    records: dict[str, tuple[str, Kept]] = {}
    attempts: dict[str, FailedAttempt] = {}
    refused: set[str] = set()
    problems: list[Problem] = []
    latest = now + _CLOCK_TOLERANCE
    for document in documents:
        if isinstance(document, Problem):
            problems.append(document)
            continue
        if isinstance(document, FailedAttempt):
            host, time = document.host, document.attempted_at
        else:
            host, time = document.record["host"], document.record["collected_at"]
        if (parse_time(time) or latest) > latest:
            refused.add(host)
        elif isinstance(document, FailedAttempt):
            known = attempts.get(host)
            if known is None or sort_key(time) > sort_key(known.attempted_at):
                attempts[host] = document
        elif host not in records or sort_key(time) > sort_key(records[host][0]):
            records[host] = time, keep(document.record)
    # Storing a record removes the note of an earlier attempt: with equal times, the note is the later one.
    failed = {
        host
        for host, attempt in attempts.items()
        if host not in records or sort_key(attempt.attempted_at) >= sort_key(records[host][0])
    }
    unusable = {problem.host for problem in problems if problem.host is not None and problem.host not in records}
    missing = refused | failed | unusable
    asked_for = None if hosts is None else set(hosts)
    if asked_for is not None:
        missing = (missing & asked_for) | (asked_for - records.keys())
    counted = {
        host: entry
        for host, entry in records.items()
        if host not in missing and (asked_for is None or host in asked_for)
    }
    oldest = min((time for time, _kept in counted.values()), key=sort_key, default=None)
    failures = {host: attempts[host].reasons for host in failed & missing}
    return NewestRecords({host: kept for host, (_time, kept) in counted.items()}, missing, problems, oldest, failures)
