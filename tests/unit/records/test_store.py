# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""What every store does: a folder, and a database."""

from __future__ import annotations

import datetime as dt
import typing as t

from ansible_collections.kernelops.livepatch.plugins.module_utils._records import grants, store
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.document import FailedAttempt, Recorded
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.drain_lock import DrainLock, Holder
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.postgresql.address import StorePlace
from tests.samples.records import make_record

EARLY, NOON, LATE = "2026-01-10T06:00:00Z", "2026-01-10T12:00:00Z", "2026-01-10T18:00:00Z"
REASON: t.Any = {"id": "connection_failed", "message": "no route to it", "remedy": None}
NOW = dt.datetime(2026, 3, 1, 4, 0, tzinfo=dt.timezone.utc)
MINUTE = dt.timedelta(minutes=1)


def documents(place: StorePlace) -> list[tuple[str, str]]:
    """Return the host and the time of each document."""
    found = []
    for document in store.load([place]):
        if isinstance(document, Recorded):
            found.append((document.record["host"], document.record["collected_at"]))
        else:
            assert isinstance(document, FailedAttempt)
            found.append((document.host, document.attempted_at))
    return found


def test_a_record_is_read_as_it_was_stored(place: StorePlace) -> None:
    record = make_record("web1", "failed")
    store.open_store(place).put(record)
    [document] = store.load([place])
    assert isinstance(document, Recorded)
    assert document.record == record
    assert store.open_store(place).last_record("web1") == record
    assert store.open_store(place).last_record("web2") is None


def test_a_host_has_one_record(place: StorePlace) -> None:
    for time in (EARLY, LATE, LATE):
        store.open_store(place).put(make_record("web1", collected_at=time))
    assert documents(place) == [("web1", LATE)]


def test_an_attempt_stays_next_to_the_record(place: StorePlace) -> None:
    opened = store.open_store(place)
    opened.put(make_record("web1", collected_at=EARLY))
    opened.note_attempt("web1", NOON, [REASON])
    assert documents(place) == [("web1", EARLY), ("web1", NOON)]
    [attempt] = [each for each in store.load([place]) if isinstance(each, FailedAttempt)]
    assert (attempt.cause, attempt.reasons) == ("unreachable", [REASON])


def test_a_record_removes_an_earlier_attempt(place: StorePlace) -> None:
    opened = store.open_store(place)
    opened.note_attempt("web1", EARLY, [REASON])
    opened.put(make_record("web1", collected_at=NOON))
    assert documents(place) == [("web1", NOON)]


def test_hosts_may_have_any_name(place: StorePlace) -> None:
    names = ["web1", "WEB1", "a/b", "../b", ".c", "d\udcff", '"e', "f\0g", "é", "h" * 300, "i'; DROP TABLE x; --", "%s"]
    for name in names:
        store.open_store(place).put(make_record(name))
        store.open_store(place).note_attempt(name, LATE, [REASON])
    assert sorted(set(documents(place))) == sorted((name, at) for name in names for at in (EARLY, LATE))


def test_parts_of_a_store_are_read_once_each(place: StorePlace) -> None:
    for number in range(7):
        store.open_store(place).put(make_record(f"web{number}"))
    store.open_store(place).note_attempt("web3", LATE, [REASON])
    found = store.find([place])
    parts = [list(store.read(found[begin : begin + 3])) for begin in range(0, len(found), 3)]
    assert sum(map(len, parts)) == 8


def test_a_missing_store_is_a_problem(place: StorePlace) -> None:
    [problem] = store.load([place])
    assert problem.id in ("folder_unreadable", "database_unreachable")
    assert problem.host is None


def test_a_grant_counts_until_a_newer_record(place: StorePlace) -> None:
    def pending() -> dict[str, str]:
        return grants.read_seat_grants([place]).grants

    for name in ("a", "b"):
        store.open_store(place).put(make_record(name, "disabled", client__enabled=False, collected_at=EARLY))
    with grants.lock_grants(place) as ledger:
        grants.read_seat_grants([place]).grant(ledger, ["a", "b"], "2026-01-10T12:00:00.500000Z")
    assert pending() == dict.fromkeys(("a", "b"), "2026-01-10T12:00:00.500000Z")
    store.open_store(place).put(make_record("a", collected_at=LATE))
    assert list(pending()) == ["b"]
    with grants.lock_grants(place) as ledger:
        grants.read_seat_grants([place]).grant(ledger, [], LATE)
    assert list(pending()) == ["b"]


def lock(place: StorePlace, host: str, run: str, group: str = "orders") -> DrainLock:
    return DrainLock(place, group, host, run, f"anna@{run}")


def test_a_group_has_one_holder(place: StorePlace) -> None:
    first, other = lock(place, "db-01", "r1"), lock(place, "db-02", "r2")
    assert first.take(NOW, NOW + MINUTE) is None
    assert other.take(NOW, NOW + MINUTE) == Holder("db-01", "r1", "anna@r1", NOW, NOW + MINUTE)
    assert not other.renew(NOW + MINUTE)
    other.release()
    assert first.renew(NOW + 2 * MINUTE)
    first.release()
    assert other.take(NOW, NOW + MINUTE) is None


def test_groups_with_odd_names_differ(place: StorePlace) -> None:
    groups = ["orders", "orders.eu", "'; --", "é" * 100, "a\0b", "a" * 300]
    locks = [lock(place, "db-01", "r1", group) for group in groups]
    assert [each.take(NOW, NOW + MINUTE) for each in locks] == [None] * len(groups)
    assert len({each.removal for each in locks}) == len(groups)


def test_the_next_run_on_the_host_takes_a_lost_lock(place: StorePlace) -> None:
    first, again = lock(place, "db-01", "r1"), lock(place, "db-01", "r2")
    first.take(NOW, NOW + MINUTE)
    assert again.take(NOW + MINUTE, NOW + 2 * MINUTE) is None
    assert not first.renew(NOW + 3 * MINUTE)
    holder = lock(place, "db-02", "r3").take(NOW + MINUTE, NOW + 2 * MINUTE)
    assert holder is not None
    assert (holder.run, holder.since) == ("r2", NOW)
