# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Records in a database: idempotent, and in the columns for queries."""

from __future__ import annotations

import datetime as dt
import resource
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._record import Reason, limit_record
from ansible_collections.kernelops.livepatch.plugins.module_utils._records import store
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.document import Recorded, attempt_of
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.postgresql import records
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.postgresql.address import DatabaseAddress
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.postgresql.runs import Run
from ansible_collections.kernelops.livepatch.plugins.module_utils._time import format_time
from tests.samples.postgresql import PostgresServer
from tests.samples.records import make_record

EARLY, NOON, LATE = "2026-01-10T06:00:00Z", "2026-01-10T12:00:00Z", "2026-01-10T18:00:00Z"


def test_a_document_is_stored_once(database: DatabaseAddress) -> None:
    record, attempt = make_record("web1", collected_at=NOON), attempt_of("web2", NOON, [])
    assert records.put(database, [record], [attempt], None) == (1, 1)
    assert records.put(database, [record], [attempt], None) == (0, 0)


def test_an_older_document_changes_nothing(database: DatabaseAddress) -> None:
    records.put(database, [make_record("web1", collected_at=LATE)], [attempt_of("web2", LATE, [])], None)
    old = [attempt_of("web1", NOON, []), attempt_of("web2", NOON, [])]
    assert records.put(database, [make_record("web1", collected_at=EARLY)], old, None) == (0, 0)


FUTURE, SOON = "2099-01-01T00:00:00Z", format_time(dt.datetime.now(dt.timezone.utc) + dt.timedelta(minutes=2))


def test_a_document_from_the_future_is_replaced(database: DatabaseAddress) -> None:
    """The clock of another controller was ahead once."""
    records.put(database, [make_record("web1", collected_at=FUTURE)], [attempt_of("web2", FUTURE, [])], None)
    assert records.put(database, [], [attempt_of("web1", NOON, []), attempt_of("web2", EARLY, [])], None) == (0, 2)
    assert records.put(database, [make_record("web1", collected_at=LATE)], [], None) == (1, 0)
    [document] = [each for each in store.load([database]) if isinstance(each, Recorded)]
    assert document.record["collected_at"] == LATE
    # A clock that differs a little is no reason to lose a newer document.
    records.put(database, [make_record("web1", collected_at=SOON)], [], None)
    assert records.put(database, [make_record("web1", collected_at=NOON)], [], None) == (0, 0)


def test_an_attempt_from_the_future_does_not_hide_a_record(database: DatabaseAddress) -> None:
    records.put(database, [], [attempt_of("web1", FUTURE, [])], None)
    records.put(database, [make_record("web1", collected_at=NOON)], [], None)
    assert [type(each) for each in store.load([database])] == [Recorded]


def test_a_record_from_the_future_is_no_answer(server: PostgresServer, database: DatabaseAddress) -> None:
    records.put(database, [make_record("web1", collected_at=FUTURE), make_record("web2")], [], None)
    query = "SELECT host, state, last_state FROM livepatch.host ORDER BY host"
    expected = [("web1", "no_answer", "protected"), ("web2", "protected", "protected")]
    assert server.sql(query, database.url) == expected


def test_a_large_document_is_never_read(server: PostgresServer, database: DatabaseAddress) -> None:
    """A slice of a job can write any JSON, which PostgreSQL stores compressed."""
    records.put(database, [make_record("web1"), make_record("web2")], [], None)
    large = "UPDATE livepatch.record SET document = ('\"' || repeat('x', 100000000) || '\"')::json WHERE host = 'web1'"
    server.sql(large, database.url)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    problem, document = store.load([database])
    assert (problem.id, problem.host) == ("malformed_record", "web1")
    assert document.record["host"] == "web2"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


QUERIES = (
    "SELECT record #>> '{assessment,reasons,0,remedy}' FROM livepatch.host WHERE host = 'web1'",
    "SELECT document ->> 'host' FROM livepatch.attempt",
)


@pytest.mark.parametrize("limited", [True, False])
def test_no_text_of_a_host_ends_a_query(server: PostgresServer, database: DatabaseAddress, limited: bool) -> None:
    """PostgreSQL reads no JSON with NUL or half of a surrogate pair, and a dashboard queries all hosts at once.

    Release 1.0 stored texts without limits.
    """
    record = make_record("web1")
    record["assessment"]["reasons"][0]["remedy"] = "a\0b\ud800 \U0001f427"
    record["client"]["tier"] = "\0"
    attempt = attempt_of("web2", NOON, [Reason(id="x", message="\0", remedy="\udcff")])
    records.put(database, [limit_record(record)[0] if limited else record], [attempt], None)
    found = [server.sql(query, database.url) for query in QUERIES]
    assert found == [[("a\ufffdb\ufffd \U0001f427",)], [("web2",)]]


def test_a_record_sent_again_keeps_a_later_attempt(database: DatabaseAddress) -> None:
    record = make_record("web1", collected_at=NOON)
    records.put(database, [record], [], None)
    records.put(database, [], [attempt_of("web1", NOON, [])], None)
    records.put(database, [record], [], None)
    assert len(list(store.load([database]))) == 2


def test_columns_have_the_facts_of_a_record(server: PostgresServer, database: DatabaseAddress) -> None:
    run = Run("r1", dt.datetime(2026, 1, 10, tzinfo=dt.timezone.utc), "anna@controller", "web*")
    for name in ("web1", "web2"):
        records.put(database, [make_record(name, collected_at=NOON)], [], run)
    records.put(database, [], [attempt_of("web2", LATE, [])], run)
    [(_id, _started, by, limit)] = server.sql("SELECT * FROM livepatch.run", database.url)
    assert (by, limit) == ("anna@controller", "web*")
    query = "SELECT host, state, last_state, kernel, patch_version, record ->> 'host' FROM livepatch.host ORDER BY host"
    kernel, version = "4.4.0-168.197-generic", "65.1"
    assert server.sql(query, database.url) == [
        ("web1", "protected", "protected", kernel, version, "web1"),
        ("web2", "no_answer", "protected", kernel, version, "web2"),
    ]


def test_a_damaged_document_is_a_problem_of_its_host(server: PostgresServer, database: DatabaseAddress) -> None:
    records.put(database, [make_record("web1"), make_record("web2")], [], None)
    server.sql("UPDATE livepatch.record SET document = '[]' WHERE host = 'web1'", database.url)
    problem, document = store.load([database])
    assert (problem.id, problem.host) == ("malformed_record", "web1")
    assert document.record["host"] == "web2"


def test_writers_of_the_same_hosts_do_not_wait_in_a_circle(database: DatabaseAddress) -> None:
    names = [f"web{number}" for number in range(100)]
    barrier = threading.Barrier(4)

    def write(number: int) -> None:
        found = [make_record(name, collected_at=f"2026-01-10T06:00:0{number}Z") for name in names]
        barrier.wait()
        records.put(database, found if number % 2 else reversed(found), [], None)

    records.put(database, [], [], None)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    times = {document.record["collected_at"] for document in store.load([database])}
    assert times == {"2026-01-10T06:00:03Z"}


def test_an_error_never_has_the_password(server: PostgresServer) -> None:
    address = DatabaseAddress(f"postgresql://nobody-s3cret:s3cret@/postgres?host={server.folder}")
    with pytest.raises(LivepatchError) as caught:
        records.find(address)
    assert caught.value.id == "database_unreachable"
    assert "s3cret" not in str(caught.value.as_result())
