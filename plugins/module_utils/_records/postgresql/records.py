# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Records and failed attempts in a database: the last of each host.

Storing is idempotent: an older document never replaces a newer one, and one that is stored twice changes nothing.
A document from the future, of a controller whose clock was wrong, is replaced by any other and hides none.
"""

from __future__ import annotations

import collections.abc as c
import functools
import typing as t

from ..._record import Record, with_storable_texts
from ..._time import parse_time
from ..document import Attempt, Document, Recorded
from ..reader import DOCUMENT_LIMIT, RecordReader
from ..spool import document_text
from . import schema
from .address import DatabaseAddress
from .connection import READ_SECONDS, Database, session, within
from .keys import host_key, host_of
from .runs import Run, add_run

_AT_ONCE = 500
"""Documents of one statement."""
_SEPARATOR = chr(30)
"""Between the documents of a statement. An array of texts needs escapes, which take more time than all else."""
_FIND_SECONDS = 60.0

_STORE_RECORDS = """
WITH new AS (
    INSERT INTO livepatch.record AS known
        (host, collected_at, state, kernel, release, patch_version, run, document)
    SELECT * FROM unnest(%s::text[], %s::timestamptz[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[],
        string_to_array(%s, chr(30))::json[])
    ON CONFLICT (host) DO UPDATE SET collected_at = excluded.collected_at, state = excluded.state,
        kernel = excluded.kernel, release = excluded.release, patch_version = excluded.patch_version,
        run = excluded.run, document = excluded.document
    WHERE excluded.collected_at > known.collected_at
        OR known.collected_at > now() + interval '5 minutes' AND excluded.collected_at <= now() + interval '5 minutes'
        OR excluded.collected_at = known.collected_at AND excluded.document::text <> known.document::text
    RETURNING host, collected_at
), outdated AS (
    DELETE FROM livepatch.attempt USING new
    WHERE attempt.host = new.host
        AND (attempt.attempted_at <= new.collected_at OR attempt.attempted_at > now() + interval '5 minutes')
)
SELECT count(*) FROM new
"""
_STORE_ATTEMPTS = """
WITH new AS (
    INSERT INTO livepatch.attempt AS known (host, attempted_at, cause, run, document)
    SELECT * FROM unnest(%s::text[], %s::timestamptz[], %s::text[], %s::text[],
            string_to_array(%s, chr(30))::json[])
        AS given (host, attempted_at, cause, run, document)
    WHERE NOT EXISTS (
        SELECT FROM livepatch.record WHERE record.host = given.host AND record.collected_at > given.attempted_at
            AND record.collected_at <= now() + interval '5 minutes'
    )
    ON CONFLICT (host) DO UPDATE SET attempted_at = excluded.attempted_at, cause = excluded.cause,
        run = excluded.run, document = excluded.document
    WHERE excluded.attempted_at > known.attempted_at
        OR known.attempted_at > now() + interval '5 minutes' AND excluded.attempted_at <= now() + interval '5 minutes'
    RETURNING host
)
SELECT count(*) FROM new
"""
_READ = """
SELECT host, convert_to(left(document::text, %(most)s), 'UTF8') FROM (
    SELECT host, document, 1 AS part FROM livepatch.record WHERE host BETWEEN %(first)s AND %(last)s
    UNION ALL
    SELECT host, document, 2 AS part FROM livepatch.attempt WHERE host BETWEEN %(first)s AND %(last)s
) AS documents ORDER BY host, part
"""


class StoredHost(t.NamedTuple):
    """A host that has documents in a database, by its key."""

    address: DatabaseAddress
    key: str


def put(
    address: DatabaseAddress,
    records: c.Iterable[Record],
    attempts: c.Iterable[Attempt],
    run: Run | None,
    *,
    keep: bool = True,
) -> tuple[int, int]:
    """Store documents in one transaction. Return the numbers of records and attempts that are new.

    The schema is created if it is missing and the role may. Without `keep`, everything is undone.
    Raises `LivepatchError`.
    """
    with session(address) as database, database.transaction(force_rollback=not keep):
        schema.prepare(database, address)
        add_run(database, run)
        number = None if run is None else run.id
        stored = sum(_put_records(database, part, number) for part in _parts(records, "collected_at"))
        noted = sum(_put_attempts(database, part, number) for part in _parts(attempts, "attempted_at"))
    return stored, noted


def find(address: DatabaseAddress) -> list[StoredHost]:
    """Return the hosts with documents, in order. Raises `LivepatchError`."""

    def query() -> list[StoredHost]:
        with session(address, seconds=_FIND_SECONDS) as database:
            schema.check(database, address)
            rows = database.execute(
                "SELECT host FROM livepatch.record UNION SELECT host FROM livepatch.attempt ORDER BY host"
            )
            return [StoredHost(address, key) for (key,) in rows]

    return within(address, _FIND_SECONDS, query)


def read(address: DatabaseAddress, first: str, last: str, reader: RecordReader) -> c.Iterator[Document]:
    """Read the documents of the hosts from one key to another, in order. Raises `LivepatchError`."""
    with (
        session(address, seconds=READ_SECONDS) as database,
        database.transaction(),
        database.cursor(name="documents", binary=True) as cursor,
    ):
        cursor.itersize = _AT_ONCE
        for key, content in cursor.execute(_READ, {"first": first, "last": last, "most": DOCUMENT_LIMIT + 1}):
            yield reader.document(content, f"{address} ({key})", functools.partial(host_of, key))


def last_record(address: DatabaseAddress, host: str) -> Record | None:
    """Return the record of a host; None without one that can be used. Raises `LivepatchError`."""
    key = host_key(host)
    documents = list(read(address, key, key, RecordReader()))
    return next((each.record for each in documents if isinstance(each, Recorded)), None)


def _parts(documents: c.Iterable[t.Any], time: str) -> c.Iterator[list[t.Any]]:
    """Return the newest document of each host in parts, in the order of hosts: two writers never wait in a circle."""
    newest: dict[str, t.Any] = {}
    for document in documents:
        known = newest.get(document["host"])
        if known is None or _time(document[time]) >= _time(known[time]):
            newest[document["host"]] = document
    ordered = sorted(newest.values(), key=lambda document: host_key(document["host"]))
    for begin in range(0, len(ordered), _AT_ONCE):
        yield ordered[begin : begin + _AT_ONCE]


def _put_records(database: Database, records: list[Record], run: str | None) -> int:
    rows = [
        (
            host_key(record["host"]),
            _time(record["collected_at"]),
            record["assessment"]["state"],
            _text(record["system"]["kernel"]["full"] or record["system"]["kernel"]["release"]),
            _text(record["system"]["release"]),
            _text(record["patch"]["version"]),
            run,
        )
        for record in records
    ]
    return _store(database, _STORE_RECORDS, rows, records)


def _put_attempts(database: Database, attempts: list[Attempt], run: str | None) -> int:
    rows = [(host_key(each["host"]), _time(each["attempted_at"]), each["cause"], run) for each in attempts]
    return _store(database, _STORE_ATTEMPTS, rows, attempts)


def _store(
    database: Database, statement: str, rows: list[tuple[t.Any, ...]], documents: c.Iterable[c.Mapping[str, object]]
) -> int:
    # JSON in ASCII has no control character but line ends.
    text = _SEPARATOR.join(map(_json, documents))
    columns = [list(column) for column in zip(*rows, strict=True)]
    [count] = database.execute(statement, [*columns, text]).fetchone()
    return int(count)


def _time(text: str) -> t.Any:
    return parse_time(text)


def _json(document: c.Mapping[str, object]) -> str:
    """Return a document as JSON that queries can read: release 1.0 stored texts of hosts as they were."""
    text = document_text(document)
    if "\\u0000" in text or "\\ud" in text:
        text = document_text(
            {key: value if key == "host" else with_storable_texts(value) for key, value in document.items()}
        )
    return text


def _text(value: str | None) -> str | None:
    """Return a text from a host as one that a database can store."""
    if value is None:
        return None
    return value.replace("\0", "").encode("utf-8", "backslashreplace").decode("utf-8")
