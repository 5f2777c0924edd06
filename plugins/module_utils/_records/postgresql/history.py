# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The history of a fleet in a database: spans of hosts, and open vulnerabilities."""

from __future__ import annotations

import collections.abc as c
import contextlib
import dataclasses
import itertools
import json
import typing as t

from ..._decisions import causes
from ..._time import from_microseconds, to_microseconds
from ..spans import CveCounts, CvePeriod, Kind, Sighting, Span, add_to_table, counts_of_row, parse_kind
from . import schema
from .address import DatabaseAddress
from .connection import READ_SECONDS, Database, session
from .keys import host_key, host_of
from .runs import forget_runs

_SPANS = "SELECT host, first_seen, last_seen, facts FROM livepatch.span JOIN livepatch.kind ON kind.id = span.kind"
_ALL_SPANS = f"{_SPANS} ORDER BY host, first_seen"
_SPANS_OF_HOST = f"{_SPANS} WHERE host = %s ORDER BY first_seen"
_LAST_SPANS = """
SELECT DISTINCT ON (host) host, first_seen, last_seen, facts
FROM livepatch.span JOIN livepatch.kind ON kind.id = span.kind ORDER BY host, first_seen DESC
"""
_COUNTS = "SELECT at, counts FROM livepatch.exposure ORDER BY at"


@dataclasses.dataclass(frozen=True)
class DatabaseHistory:
    """The history of a store. Every method raises `LivepatchError`."""

    address: DatabaseAddress
    keep: bool = True
    """False undoes all changes at the end of each method."""

    def import_all(
        self, sightings: c.Iterable[Sighting], counts: c.Iterable[CveCounts], periods: c.Iterable[CvePeriod]
    ) -> bool:
        """Add another history. Known counts and vulnerabilities stay. Return True if anything is new."""
        with self._writer() as database:
            added = add_to_table(_SpansOfDatabase(database), sightings)
            rows = [
                database.execute(
                    "INSERT INTO livepatch.exposure (at, counts) VALUES (%s, %s) ON CONFLICT (at) DO NOTHING",
                    (from_microseconds(each.at), json.dumps([each.hosts, each.lost, each.open])),
                ).rowcount
                for each in counts
            ]
            rows += [
                database.execute(
                    "INSERT INTO livepatch.cve (name, priority, opened, lost, closed) VALUES (%s, %s, %s, 0, %s)"
                    " ON CONFLICT (name) DO NOTHING",
                    (
                        each.cve,
                        each.priority,
                        from_microseconds(each.opened),
                        None if each.closed is None else from_microseconds(each.closed),
                    ),
                ).rowcount
                for each in periods
            ]
            return added or sum(rows) > 0

    def add_sightings(self, sightings: c.Iterable[Sighting], forget_before: int | None = None) -> bool:
        """Add sightings, and drop spans and runs that ended before a time. Return True if anything has changed."""
        with self._writer() as database:
            added = add_to_table(
                _SpansOfDatabase(database),
                (each for each in sightings if forget_before is None or each.at >= forget_before),
            )
            return _forget(database, forget_before) or added

    def add_counts(self, counts: CveCounts, open_cves: c.Mapping[str, str], forget_before: int | None = None) -> bool:
        """Add the vulnerabilities of one report, given with their priorities. Return True if anything is new."""
        with self._writer() as database:
            return _add_counts(database, counts, open_cves, forget_before)

    def read_spans(self) -> list[tuple[str, list[Span]]]:
        """Read the spans of each host in order."""
        with self._reader() as database:
            rows = database.execute(_ALL_SPANS)
            kinds: dict[str, Kind] = {}
            return [
                (host_of(key), [_span(row[1:], kinds) for row in of_host])
                for key, of_host in itertools.groupby(rows, key=lambda row: row[0])
            ]

    def read_counts(self) -> tuple[list[CveCounts], list[CvePeriod]]:
        """Read the counts in order of time, and the vulnerabilities."""
        with self._reader() as database:
            counts = [counts_of_row(to_microseconds(at), row) for at, row in database.execute(_COUNTS)]
            periods = [
                CvePeriod(cve, priority, to_microseconds(opened), None if closed is None else to_microseconds(closed))
                for cve, priority, opened, closed in database.execute(
                    "SELECT name, priority, opened, closed FROM livepatch.cve ORDER BY name"
                )
            ]
            return counts, periods

    def restrict_access(self) -> bool:
        """Return True: the rights of the roles limit access."""
        return True

    @contextlib.contextmanager
    def _reader(self) -> c.Iterator[Database]:
        with _damage(self.address), session(self.address, seconds=READ_SECONDS) as database:
            schema.check(database, self.address)
            yield database

    @contextlib.contextmanager
    def _writer(self) -> c.Iterator[Database]:
        with (
            _damage(self.address),
            session(self.address, seconds=READ_SECONDS) as database,
            database.transaction(force_rollback=not self.keep),
        ):
            schema.prepare(database, self.address)
            database.execute("SELECT pg_advisory_xact_lock(%s)", (schema.HISTORY_LOCK,))
            yield database


@contextlib.contextmanager
def _damage(address: DatabaseAddress) -> c.Iterator[None]:
    """Raise `LivepatchError` for rows that this collection did not store: every controller may write to the tables."""
    try:
        yield
    except (ValueError, RecursionError) as error:
        raise causes.STORE_REFUSED.error("the history has damaged rows", store=address) from error


@dataclasses.dataclass(frozen=True)
class _SpansOfDatabase:
    """The spans of a store, within the transaction that has the lock."""

    database: Database
    numbers: dict[str, int] = dataclasses.field(default_factory=dict)

    def last_spans(self) -> dict[str, Span]:
        """Return the last span of each host."""
        kinds: dict[str, Kind] = {}
        rows = self.database.execute(_LAST_SPANS)
        return {host_of(row[0]): _span(row[1:], kinds) for row in rows}

    def spans_of(self, host: str) -> list[Span]:
        """Return the spans of a host in order."""
        rows = self.database.execute(_SPANS_OF_HOST, (host_key(host),))
        return [_span(row[1:], {}) for row in rows]

    def replace(self, host: str, spans: c.Sequence[Span]) -> None:
        """Replace the spans of a host."""
        self.database.execute("DELETE FROM livepatch.span WHERE host = %s", (host_key(host),))
        self.write([(host, span) for span in spans], {})

    def write(self, new: c.Sequence[tuple[str, Span]], ends: c.Mapping[tuple[str, int], int]) -> None:
        """Store new spans, and new ends of known spans."""
        self.database.execute(
            "INSERT INTO livepatch.span (host, first_seen, last_seen, kind)"
            " SELECT * FROM unnest(%s::text[], %s::timestamptz[], %s::timestamptz[], %s::integer[])",
            (
                [host_key(host) for host, _span in new],
                [from_microseconds(span.begin) for _host, span in new],
                [from_microseconds(span.end) for _host, span in new],
                [self._number(span.kind) for _host, span in new],
            ),
        )
        self.database.execute(
            "UPDATE livepatch.span SET last_seen = given.last_seen"
            " FROM unnest(%s::text[], %s::timestamptz[], %s::timestamptz[]) AS given (host, first_seen, last_seen)"
            " WHERE span.host = given.host AND span.first_seen = given.first_seen",
            (
                [host_key(host) for host, _begin in ends],
                [from_microseconds(begin) for _host, begin in ends],
                [from_microseconds(end) for end in ends.values()],
            ),
        )

    def _number(self, kind: Kind) -> int:
        facts = json.dumps(kind)
        if not self.numbers:
            self.numbers.update(self.database.execute("SELECT facts, id FROM livepatch.kind").fetchall())
        if facts not in self.numbers:
            query = "INSERT INTO livepatch.kind (facts) VALUES (%s) RETURNING id"
            [self.numbers[facts]] = self.database.execute(query, (facts,)).fetchone()
        return self.numbers[facts]


def _add_counts(
    database: Database, counts: CveCounts, open_cves: c.Mapping[str, str], forget_before: int | None
) -> bool:
    at, row = from_microseconds(counts.at), json.dumps([counts.hosts, counts.lost, counts.open])
    [newest] = database.execute("SELECT max(at) FROM livepatch.exposure").fetchone()
    known = database.execute("SELECT counts::text FROM livepatch.exposure WHERE at = %s", (at,)).fetchone()
    if known is not None and known[0] == row:
        return False
    database.execute(
        "INSERT INTO livepatch.exposure (at, counts) VALUES (%s, %s) ON CONFLICT (at) DO UPDATE SET"
        " counts = excluded.counts",
        (at, row),
    )
    if newest is None or at >= newest:
        database.execute(
            "INSERT INTO livepatch.cve (name, priority, opened, lost)"
            " SELECT name, priority, %s, %s FROM unnest(%s::text[], %s::text[]) AS given (name, priority)"
            " ON CONFLICT (name) DO UPDATE SET priority = excluded.priority, lost = excluded.lost, closed = NULL",
            (at, counts.lost, list(open_cves), list(open_cves.values())),
        )
        database.execute(
            "UPDATE livepatch.cve SET closed = %s WHERE closed IS NULL AND lost >= %s AND NOT name = ANY(%s)",
            (at, counts.lost, list(open_cves)),
        )
    if forget_before is not None:
        before = from_microseconds(forget_before)
        database.execute("DELETE FROM livepatch.exposure WHERE at < %s", (before,))
        database.execute("DELETE FROM livepatch.cve WHERE closed < %s", (before,))
    return True


def _forget(database: Database, before: int | None) -> bool:
    if before is None:
        return False
    moment = from_microseconds(before)
    dropped = int(database.execute("DELETE FROM livepatch.span WHERE last_seen < %s", (moment,)).rowcount)
    if dropped:
        database.execute("DELETE FROM livepatch.kind WHERE id NOT IN (SELECT kind FROM livepatch.span)")
    return forget_runs(database, moment) + dropped > 0


def _span(row: tuple[t.Any, ...], kinds: dict[str, Kind]) -> Span:
    """Return the span of a row: first seen, last seen, facts."""
    first, last, facts = row
    kind = kinds.get(str(facts)) or kinds.setdefault(str(facts), parse_kind(facts))
    return Span(to_microseconds(first), to_microseconds(last), kind)
