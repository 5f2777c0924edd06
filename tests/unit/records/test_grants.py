# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The holders of seats according to the folders; interruptions never make the number too small."""

from __future__ import annotations

import datetime as dt
import fcntl
import functools
import itertools
import os
import threading
import typing as t
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.kernelops.livepatch.plugins.module_utils._fleet.seats import plan_seats
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.folder_store import note_attempt, store
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.grants import (
    SeatGrantsError,
    lock_grants,
    read_seat_grants,
)
from tests.samples.records import make_record

EARLY, NOON, LATE = "2026-01-10T06:00:00Z", "2026-01-10T12:00:00.5Z", "2026-01-10T18:00:00Z"
REASON: t.Any = {"id": "connection_failed", "message": "no route to it", "remedy": None}


def keep(folder: Path, host: str, *, enabled: bool, at: str = EARLY, **places: t.Any) -> None:
    state = "protected" if enabled else "disabled"
    identity = places.pop("identity", f"{host:0>64}")
    places |= {"system__machine_id_sha256": identity, "client__enabled": enabled, "collected_at": at}
    store(folder, make_record(host, t.cast("t.Any", state), **places))


def holders(*folders: Path) -> list[str]:
    return sorted(name for name, host in read_seat_grants(folders).hosts.items() if host.holds_seat)


def failure(folder: Path, host: str) -> t.Any:
    return read_seat_grants([folder]).hosts[host].failure


def test_the_newest_record_of_a_host_is_used(tmp_path: Path) -> None:
    berlin, lisbon = tmp_path / "berlin", tmp_path / "lisbon"
    keep(berlin, "a", enabled=True, at=EARLY)
    keep(lisbon, "a", enabled=False, at=LATE)
    keep(berlin, "b", enabled=False, at=EARLY)
    keep(lisbon, "b", enabled=True, at=LATE)
    assert holders(berlin, lisbon) == holders(lisbon, berlin) == ["b"]


FUTURE, NOW = "2099-01-01T00:00:00Z", dt.datetime(2026, 1, 11, tzinfo=dt.timezone.utc)


def test_a_record_from_the_future_frees_no_seat(tmp_path: Path) -> None:
    """The clock of one controller was ahead: what it stored says nothing about the order."""
    berlin, lisbon = tmp_path / "berlin", tmp_path / "lisbon"
    for host, enabled in (("a", True), ("b", False)):
        keep(berlin, host, enabled=not enabled, at=FUTURE)
        keep(lisbon, host, enabled=enabled, at=LATE)
    keep(berlin, "c", enabled=False, at=FUTURE)
    note_attempt(berlin, "d", FUTURE, [REASON])
    known = read_seat_grants([berlin, lisbon], NOW)
    assert sorted(host.name for host in known.hosts.values() if host.holds_seat) == ["a", "b", "c", "d"]
    assert known.hosts["c"].failure is not None
    assert known.hosts["c"].failure["id"] == "record_from_future"
    assert {problem.host for problem in known.problems} == {"a", "b", "c", "d"}


def test_a_grant_from_the_future_ends_with_the_next_record(tmp_path: Path) -> None:
    with lock_grants(tmp_path) as ledger:
        read_seat_grants([tmp_path], NOW).grant(ledger, ["a"], FUTURE)
        read_seat_grants([tmp_path], NOW).grant(ledger, [], LATE)
    assert holders(tmp_path) == ["a"]
    keep(tmp_path, "a", enabled=False, at="2026-01-11T00:00:01Z")
    assert holders(tmp_path) == []


def test_an_unreachable_host_keeps_its_seat(tmp_path: Path) -> None:
    keep(tmp_path, "a", enabled=True)
    keep(tmp_path, "b", enabled=False)
    for host in ("a", "b", "never-seen"):
        note_attempt(tmp_path, host, LATE, [REASON])
    assert holders(tmp_path) == ["a"]
    for host in ("a", "b", "never-seen"):
        assert failure(tmp_path, host)["id"] == "unreachable"
        assert "no route to it" in failure(tmp_path, host)["message"]
        assert failure(tmp_path, host)["remedy"]


def test_an_answer_in_another_folder_is_used(tmp_path: Path) -> None:
    note_attempt(tmp_path / "a", "a", EARLY, [])
    keep(tmp_path / "b", "a", enabled=False, at=LATE)
    assert read_seat_grants([tmp_path / "a", tmp_path / "b"]).hosts["a"].failure is None


def test_an_unusable_record_may_hide_a_seat(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{", encoding="utf-8")
    assert holders(tmp_path) == ["a"]
    assert failure(tmp_path, "a")["id"] == "record_unusable"
    assert str(tmp_path / "a.json") in failure(tmp_path, "a")["remedy"]
    assert [problem.id for problem in read_seat_grants([tmp_path]).problems] == ["invalid_json"]


def test_an_unreadable_folder_may_hide_seats(tmp_path: Path) -> None:
    with pytest.raises(SeatGrantsError, match="the number of seats in use is unknown"):
        read_seat_grants([tmp_path / "missing"])
    with pytest.raises(SeatGrantsError, match="cannot be opened") as caught, lock_grants(tmp_path / "missing"):
        pass
    assert "run the check playbook first" in str(caught.value.remedy)


# --- grants ---


def test_a_grant_is_valid_until_a_newer_record(tmp_path: Path) -> None:
    keep(tmp_path, "a", enabled=False, at=EARLY)
    read_seat_grants([tmp_path]).grant(tmp_path, ["a", "b"], NOON)
    assert holders(tmp_path) == ["a", "b"]
    assert failure(tmp_path, "a") is None
    assert "has no record since then" in failure(tmp_path, "b")["message"]
    keep(tmp_path, "a", enabled=False, at=LATE)
    assert holders(tmp_path) == ["b"]


def test_an_equally_old_record_keeps_the_grant(tmp_path: Path) -> None:
    """Records have whole seconds: a record from 12:00:00 may be older than a grant from 12:00:00.5."""
    keep(tmp_path, "a", enabled=False, at="2026-01-10T12:00:00Z")
    read_seat_grants([tmp_path]).grant(tmp_path, ["a"], NOON)
    assert holders(tmp_path) == ["a"]


def test_settled_grants_are_removed(tmp_path: Path) -> None:
    book = read_seat_grants([tmp_path])
    book.grant(tmp_path, [], NOON)
    assert list(tmp_path.iterdir()) == [], "nothing was granted, so there is nothing to note"
    book.grant(tmp_path, ["a"], NOON)
    keep(tmp_path, "a", enabled=True, at=LATE)
    again = read_seat_grants([tmp_path])
    assert again.grants == {}
    again.grant(tmp_path, [], LATE)
    assert '"a"' not in (tmp_path / "seats.granted").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"schema": "else"}', '{"schema": "kernelops.livepatch/grants/1"}', "\xff", "[" * 100_000],
)
def test_unreadable_grants_stop_the_plan(tmp_path: Path, text: str) -> None:
    (tmp_path / "seats.granted").write_text(text, encoding="latin-1")
    with pytest.raises(SeatGrantsError, match="the granted seats in") as caught:
        read_seat_grants([tmp_path])
    assert "remove this file" in str(caught.value.remedy)


def test_grants_that_cannot_be_stored_are_not_made(tmp_path: Path) -> None:
    book = read_seat_grants([tmp_path])
    no_folder = tmp_path / "file"
    no_folder.touch()
    with pytest.raises(SeatGrantsError, match="nothing was granted"):
        book.grant(no_folder, ["a"], NOON)


def test_special_host_names_are_read_back(tmp_path: Path) -> None:
    names = ['we"b', "a\nb", "{{ c }}", "漢字"]
    read_seat_grants([tmp_path]).grant(tmp_path, names, NOON)
    assert holders(tmp_path) == sorted(names)


def test_a_second_plan_waits_for_the_first(tmp_path: Path) -> None:
    order = []

    def second() -> None:
        with lock_grants(tmp_path):
            order.append("second")

    thread = threading.Thread(target=second)
    with lock_grants(tmp_path):
        thread.start()
        thread.join(timeout=0.2)
        order.append("first")
    thread.join(timeout=30)
    assert order == ["first", "second"]


def test_a_lock_is_awaited_for_a_limited_time(tmp_path: Path) -> None:
    held = pytest.raises(SeatGrantsError, match="has held the lock")
    with lock_grants(tmp_path), held as caught, lock_grants(tmp_path, seconds=0):
        pass
    assert str(tmp_path / "seats.lock") in str(caught.value.remedy)


def test_a_lock_on_the_folder_does_not_matter(tmp_path: Path) -> None:
    """Every user who can read the folder can lock it."""
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        with lock_grants(tmp_path, seconds=0):
            pass
    finally:
        os.close(folder)


@pytest.mark.parametrize("name", ["seats.granted", "seats.lock"])
def test_a_pipe_in_the_folder_is_never_opened(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(SeatGrantsError), lock_grants(tmp_path, seconds=0):
        read_seat_grants([tmp_path])


# --- interrupted runs ---


class Run(t.NamedTuple):
    """A run of the playbook on some hosts in some order, killed after a number of steps."""

    hosts: tuple[str, ...]
    steps: int
    gone: frozenset[str]


NAMES = "abcdef"
RUNS = st.builds(
    Run,
    hosts=st.lists(st.sampled_from(NAMES), min_size=1, unique=True).map(tuple),
    steps=st.integers(0, 20),
    gone=st.frozensets(st.sampled_from(NAMES), max_size=2),
)


@settings(deadline=None, max_examples=150)
@given(seats=st.integers(1, 3), runs=st.lists(RUNS, min_size=1, max_size=6))
def test_killed_runs_never_exceed_the_seats(
    seats: int, runs: list[Run], tmp_path_factory: pytest.TempPathFactory
) -> None:
    enabled: set[str] = set()
    clock = (f"2026-01-10T06:{minute:02}:{second:02}Z" for minute in range(60) for second in range(60))
    now = functools.partial(next, clock)
    folder = tmp_path_factory.mktemp("records")
    for run in runs:
        for _step in itertools.islice(_steps(folder, run, enabled, seats, now), run.steps):
            assert len(enabled) <= seats
    whole = Run(tuple(NAMES), 100, frozenset())
    for _step in _steps(folder, whole, enabled, seats, now):
        assert len(enabled) <= seats
    assert len(enabled) == seats, "no seat is lost either"


def _steps(folder: Path, run: Run, enabled: set[str], seats: int, clock: t.Callable[[], str]) -> t.Iterator[None]:
    """Run the playbook step by step; an unreachable host does not answer."""

    def look() -> t.Iterator[None]:
        for host in run.hosts:
            if host in run.gone:
                note_attempt(folder, host, clock(), [REASON])
            else:
                keep(folder, host, enabled=host in enabled, at=clock())
            yield

    yield from look()
    book = read_seat_grants([folder])
    plan = plan_seats(book.hosts, run.hosts, seats)
    book.grant(folder, [host for host in plan.granted if host not in plan.in_use or host in book.grants], clock())
    yield
    for host in plan.granted:
        assert host not in run.gone
        enabled.add(host)
        yield
    yield from look()
