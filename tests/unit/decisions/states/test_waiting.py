# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A host waits for its patch for at most the limit of the policy, whatever its client does in the meantime."""

from __future__ import annotations

import copy
import datetime
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.record_builder import make_record
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.facts import HostFacts
from ansible_collections.kernelops.livepatch.plugins.module_utils._record import Assessment, Collector, Record
from tests.samples.facts import MODULE, NOW, a_client, a_host, a_patch, shipped

LAUNCH = shipped("launch")
LIMIT = LAUNCH.applying_limit
MINUTE = datetime.timedelta(minutes=1)
HOUR = 60 * MINUTE
DAY = 24 * HOUR
UNAPPLIED = a_client(patch_state="unapplied", patch_version=None)
IN_TRANSITION = a_patch(transition=True)


def record_of(facts: HostFacts, at: datetime.datetime = NOW, earlier: Record | None = None) -> Record:
    collector = Collector(collection="2.0.0", ansible_core="2.19.0")
    return make_record("web-01", facts, LAUNCH, collector=collector, collected_at=at, earlier=earlier)


def assess(facts: HostFacts) -> Assessment:
    return record_of(facts)["assessment"]


def waiting_at(at: datetime.datetime, checked: datetime.timedelta = MINUTE, **changes: t.Any) -> HostFacts:
    """Return a host that waits for its patch at a time, and whose client has checked shortly before."""
    client = changes.pop("client", {})
    status = {"patch_state": "unapplied", "patch_version": None, "last_check": at - checked, **client}
    return a_host(**{"now": at, "patches": (), "client": a_client(**status), **changes})


# --- one answer ---


@pytest.mark.parametrize(("late", "state"), [(0 * MINUTE, "applying"), (MINUTE, "failed")])
@pytest.mark.parametrize("patch_state", ["unapplied", "applying"])
def test_a_patch_is_applied_within_the_limit(late: datetime.timedelta, state: str, patch_state: str) -> None:
    facts = a_host(patches=(), client=a_client(patch_state=patch_state, last_check=NOW - LIMIT - late))
    assert assess(facts)["state"] == state


def test_without_a_clock_of_the_host_its_last_check_is_no_beginning() -> None:
    record = record_of(waiting_at(NOW, checked=2 * MINUTE, now=None))
    assert record["patch"]["waiting_since"] == record["collected_at"]


@pytest.mark.parametrize(("late", "state"), [(0 * MINUTE, "applying"), (MINUTE, "failed")])
def test_a_transition_ends_within_the_limit(late: datetime.timedelta, state: str) -> None:
    facts = a_host(patches=(a_patch(transition=True),), client=a_client(last_check=NOW - LIMIT - late))
    assert assess(facts)["state"] == state


@pytest.mark.parametrize(("uptime", "state"), [(LIMIT, "applying"), (LIMIT + MINUTE, "failed"), (None, "failed")])
def test_a_check_follows_boot_within_the_limit(uptime: datetime.timedelta | None, state: str) -> None:
    assert assess(a_host(uptime=uptime, client=a_client(check_state="needs-check")))["state"] == state


def test_waiting_too_long_names_what_is_waited_for() -> None:
    facts = a_host(patches=(), client=a_client(patch_state="unapplied", last_check=NOW - 3 * LIMIT))
    reason = assess(facts)["reasons"][0]
    assert reason["id"] == "applying_too_long"
    assert "60 minutes" in reason["message"]
    assert "unapplied" in reason["message"]


def test_after_a_boot_the_time_starts_again() -> None:
    facts = a_host(uptime=MINUTE, patches=(), client=a_client(patch_state="unapplied", last_check=NOW - 3 * LIMIT))
    assert assess(facts)["state"] == "applying"


def test_a_check_in_the_future_gives_no_more_time() -> None:
    facts = a_host(patches=(), client=a_client(patch_state="unapplied", last_check=NOW + 3 * LIMIT))
    assert assess(facts)["state"] == "failed"


# --- an earlier record ---


def test_the_limit_counts_from_the_first_record() -> None:
    first = record_of(waiting_at(NOW))
    assert first["assessment"]["state"] == "applying"
    assert first["patch"]["waiting_since"] == "2026-03-01T03:59:00Z"
    at_limit = record_of(waiting_at(NOW + LIMIT - MINUTE), NOW + LIMIT - MINUTE, first)
    assert at_limit["assessment"]["state"] == "applying"
    late = record_of(waiting_at(NOW + LIMIT), NOW + LIMIT, at_limit)
    assert (late["assessment"]["state"], late["assessment"]["reasons"][0]["id"]) == ("failed", "applying_too_long")
    assert late["patch"]["waiting_since"] == first["patch"]["waiting_since"]
    later = record_of(waiting_at(NOW + DAY), NOW + DAY, late)
    assert later["assessment"]["state"] == "failed"


def test_a_newer_patch_does_not_end_the_wait() -> None:
    first = record_of(waiting_at(NOW, client={"patch_version": "114.1"}))
    facts = waiting_at(NOW + 2 * HOUR, client={"patch_version": "115.1"})
    assert record_of(facts, NOW + 2 * HOUR, first)["assessment"]["state"] == "failed"


def test_a_patch_that_was_loaded_ends_the_wait() -> None:
    later = NOW + 3 * DAY
    before = record_of(waiting_at(NOW))
    facts = waiting_at(later, patches=(a_patch(),))
    assert record_of(facts, later, before)["assessment"]["state"] == "applying"
    older = a_patch(module=f"{MODULE[:-3]}112")
    during = record_of(waiting_at(NOW, patches=(older, IN_TRANSITION)))
    facts = waiting_at(later, patches=(a_patch(module=f"{MODULE[:-3]}114", transition=True), a_patch()))
    assert record_of(facts, later, during)["assessment"]["state"] == "applying"


def test_a_transition_of_the_same_patch_is_the_same_wait() -> None:
    first = record_of(waiting_at(NOW))
    later = NOW + LIMIT
    facts = waiting_at(later, patches=(IN_TRANSITION,), client={"patch_state": "applying", "patch_version": "113.1"})
    assert record_of(facts, later, first)["assessment"]["state"] == "failed"


def test_a_reboot_ends_the_wait() -> None:
    later = NOW + 2 * HOUR
    first = record_of(waiting_at(NOW))
    rebooted = record_of(waiting_at(later, uptime=30 * MINUTE), later, first)
    assert rebooted["assessment"]["state"] == "applying"
    assert rebooted["patch"]["waiting_since"] == "2026-03-01T05:30:00Z"
    again = record_of(waiting_at(later + HOUR, uptime=90 * MINUTE), later + HOUR, rebooted)
    assert again["assessment"]["state"] == "failed"


def test_records_without_the_time_count() -> None:
    first: t.Any = copy.deepcopy(record_of(waiting_at(NOW)))
    del first["patch"]["waiting_since"]
    assert record_of(waiting_at(NOW + HOUR), NOW + HOUR, first)["assessment"]["state"] == "applying"
    assert record_of(waiting_at(NOW + 2 * HOUR), NOW + 2 * HOUR, first)["assessment"]["state"] == "failed"


@pytest.mark.parametrize("since", ["2026-03-02T00:00:00Z", "yesterday", None])
def test_an_unusable_time_does_not_count(since: str | None) -> None:
    first: t.Any = copy.deepcopy(record_of(a_host()))
    first["patch"]["waiting_since"] = since
    assert record_of(waiting_at(NOW), NOW, first)["assessment"]["state"] == "applying"


def test_a_host_that_does_not_wait_has_no_time() -> None:
    first = record_of(waiting_at(NOW - 3 * HOUR), NOW - 3 * HOUR)
    done = record_of(a_host(), NOW, first)
    assert (done["assessment"]["state"], done["patch"]["waiting_since"]) == ("protected", None)


@pytest.mark.parametrize("uptime", [40 * DAY, None])
def test_a_wrong_clock_does_not_move_the_start(uptime: datetime.timedelta | None) -> None:
    first = record_of(waiting_at(NOW - 50 * MINUTE, uptime=uptime), NOW)
    assert first["patch"]["waiting_since"] == "2026-03-01T04:00:00Z"


def test_no_wait_begins_in_the_future() -> None:
    assert record_of(waiting_at(NOW, -MINUTE))["patch"]["waiting_since"] == "2026-03-01T04:00:00Z"


def test_the_wait_of_a_stale_host_starts_again() -> None:
    """The client has not asked for days, so that it did not see a patch."""
    first = record_of(waiting_at(NOW, 3 * DAY))
    assert first["assessment"]["state"] == "stale"
    later = NOW + 30 * MINUTE
    assert record_of(waiting_at(later), later, first)["assessment"]["state"] == "applying"


def test_a_client_without_a_check_waits_since_boot() -> None:
    facts = waiting_at(NOW, 3 * DAY, uptime=30 * MINUTE, client={"check_state": "needs-check"})
    assert record_of(facts)["patch"]["waiting_since"] == "2026-03-01T03:30:00Z"


WAITS = (
    {"client": {"patch_state": "unapplied"}},
    {"client": {"patch_state": "applying", "patch_version": "113.1"}},
    {"client": {"patch_state": "applied", "patch_version": "113.1"}, "patches": (IN_TRANSITION,)},
    {"client": {"patch_state": "unapplied", "check_state": "needs-check"}},
)


@given(st.data())
def test_applying_ends_at_the_limit(data: st.DataObject) -> None:
    """The client checks successfully all the time, and each answer is another form of waiting."""
    uptime = data.draw(st.sampled_from([None, MINUTE, 59 * MINUTE, 40 * DAY]))
    passed, earlier, first = datetime.timedelta(0), None, None
    for pause in data.draw(st.lists(st.integers(1, 300), min_size=1, max_size=12)):
        passed += pause * MINUTE
        form = data.draw(st.sampled_from(WAITS))
        now = NOW + passed
        age = data.draw(st.integers(0, 60)) * MINUTE
        facts = waiting_at(now, age, **{**form, "uptime": None if uptime is None else uptime + passed})
        earlier = record_of(facts, now, earlier)
        first = first or now
        state = earlier["assessment"]["state"]
        assert state in ("applying", "failed")
        if now - first > LIMIT:
            assert state == "failed"
