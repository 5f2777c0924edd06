# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Seats: the hosts that get one, and the reasons of the others."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.kernelops.livepatch.plugins.module_utils._fleet.seats import (
    KnownHost,
    SeatPlan,
    known_from_record,
    plan_seats,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._record import Reason
from tests.samples.records import make_record

LOST = Reason(id="unreachable", message="it gave no answer", remedy="start it")


def free(name: str, **facts: t.Any) -> KnownHost:
    return KnownHost(**{"name": name, "verdict": "eligible", "identity": name * 2, **facts})


def holder(name: str, **facts: t.Any) -> KnownHost:
    return free(name, holds_seat=True, **facts)


def plan(hosts: list[KnownHost], wanting: list[str] | None = None, seats: int = 3, **options: bool) -> SeatPlan:
    known = {host.name: host for host in hosts}
    return plan_seats(known, list(known) if wanting is None else wanting, seats, **options)


def why(seat_plan: SeatPlan) -> dict[str, str]:
    return {denial["host"]: denial["id"] for denial in seat_plan.denied}


def test_holders_come_first_then_the_given_order() -> None:
    found = plan([free("d"), free("b"), holder("c"), free("a")])
    assert found.granted == ("c", "d", "b")
    assert found.in_use == ("c",)
    assert found.free == 0
    assert found.denied == (
        {
            "host": "a",
            "id": "seats_used_up",
            "message": "all 3 seats are taken by c, d and b",
            "remedy": "disable a host that does not need Livepatch, or get more seats",
        },
    )


def test_unrequested_seats_stay_free() -> None:
    found = plan([free("a"), holder("b")], seats=5)
    assert found.granted == ("b", "a")
    assert found.free == 3
    assert not found.denied


def test_hosts_outside_the_run_keep_their_seats() -> None:
    found = plan([holder("a"), holder("b"), free("c"), free("d")], wanting=["c", "d"])
    assert found.granted == ("c",)
    assert why(found) == {"d": "seats_used_up"}
    assert found.in_use == ("a", "b")


def test_a_duplicate_host_gets_one_seat() -> None:
    found = plan([free("a"), free("b")], wanting=["b", "a", "b"], seats=2)
    assert found.granted == ("b", "a")


def test_grants_never_exceed_the_seats() -> None:
    found = plan([holder("a"), holder("b"), holder("c"), free("d")], seats=2)
    assert found.granted == ("a", "b")
    assert why(found) == {"c": "seats_exceeded", "d": "seats_used_up"}
    assert found.free == 0


def test_zero_seats_grant_nothing() -> None:
    found = plan([free("a")], seats=0)
    assert found.denied[0]["message"] == "the number of seats is 0"
    found = plan([holder("a"), free("b")], seats=0, wanting=["b"])
    assert found.denied[0]["message"] == "the number of seats is 0"


def test_one_seat_is_singular() -> None:
    assert plan([holder("a"), free("b")], seats=1).denied[0]["message"] == "the only seat is taken by a"


def test_more_holders_than_seats_are_counted() -> None:
    found = plan([holder("a"), holder("b"), holder("c"), free("d")], seats=2, wanting=["d"])
    assert found.denied[0]["message"] == "there are 2 seats, and 3 other hosts hold one: a, b and c"
    found = plan([holder("a"), holder("b"), free("d")], seats=1, wanting=["d"])
    assert found.denied[0]["message"] == "there is one seat, and 2 other hosts hold one: a and b"


def test_a_message_names_at_most_five_hosts() -> None:
    found = plan([holder(f"h{number}") for number in range(8)] + [free("z")], seats=8)
    assert found.denied[0]["message"] == "all 8 seats are taken by h0, h1, h2, h3, h4 and 3 more"


def test_a_host_without_a_record_gets_no_seat() -> None:
    assert why(plan([free("a")], wanting=["b"])) == {"b": "no_record"}


def test_an_unreachable_host_keeps_its_seat() -> None:
    found = plan([holder("a", failure=LOST), free("b"), free("c")], seats=2)
    assert found.granted == ("b",)
    assert why(found) == {"a": "unreachable", "c": "seats_used_up"}
    assert found.in_use == ("a",)


def test_clones_get_no_seats() -> None:
    found = plan([free("a", identity="same"), free("b", identity="same"), free("c")])
    assert found.granted == ("c",)
    assert why(found) == {"a": "cloned", "b": "cloned"}
    for denial in found.denied:
        assert denial["message"].startswith("a and b have the same machine identity")
        assert "/etc/machine-id" in (denial["remedy"] or "")


def test_clones_of_other_hosts_are_found() -> None:
    hosts = [free("a", identity="same"), free("b", identity="same")]
    assert why(plan(hosts, wanting=["b"])) == {"b": "cloned"}


def test_the_only_enabled_clone_keeps_its_seat() -> None:
    found = plan([free("a", identity="same"), holder("b", identity="same")])
    assert found.granted == ("b",)
    assert why(found) == {"a": "cloned"}


def test_enabled_clones_share_one_seat() -> None:
    found = plan([holder("a", identity="same"), holder("b", identity="same"), free("c"), free("d")], seats=2)
    assert found.granted == ("c",)
    assert why(found) == {"a": "cloned", "b": "cloned", "d": "seats_used_up"}


def test_hosts_without_identity_are_not_clones() -> None:
    found = plan([free("a", identity=None), free("b", identity=None)], seats=2)
    assert found.granted == ("a", "b")


def test_an_ineligible_host_needs_an_option() -> None:
    reasons = (
        Reason(id="release", message="the release 16.10 is not admitted", remedy="move on"),
        Reason(id="snapd", message="snapd is too old", remedy="upgrade it"),
    )
    hosts = [free("a", verdict="ineligible", refusals=reasons), free("b", verdict="unknown")]
    denied = plan(hosts).denied
    assert [denial["id"] for denial in denied] == ["ineligible", "eligibility_unknown"]
    assert denied[0]["message"] == "the release 16.10 is not admitted; snapd is too old"
    assert denied[0]["remedy"] == "move on"
    assert plan(hosts, require_eligible=False).granted == ("a", "b")


# --- facts from a record ---


def test_an_enabled_host_holds_a_seat() -> None:
    known = known_from_record(make_record("web1"))
    assert known == KnownHost("web1", holds_seat=True, identity="5f" * 32, verdict="eligible")


@pytest.mark.parametrize(
    ("enabled", "installed", "holds"),
    [(True, True, True), (False, True, False), (False, False, False), (None, True, True), (None, None, True)],
)
def test_an_unknown_client_may_hold_a_seat(enabled: bool | None, installed: bool | None, holds: bool) -> None:
    record = make_record("web1", "failed", client__enabled=enabled, client__installed=installed)
    assert known_from_record(record).holds_seat is holds


def check(identifier: str, status: str) -> dict[str, str | None]:
    message = f"{identifier} is {status}"
    return {"id": identifier, "status": status, "found": None, "required": None, "message": message, "remedy": "x"}


def judged(enabled: bool, verdict: str, *checks: dict[str, str | None]) -> KnownHost:
    return known_from_record(
        make_record(client__enabled=enabled, eligibility__verdict=verdict, eligibility__checks=list(checks))
    )


def test_only_failed_checks_are_refusals() -> None:
    known = judged(False, "ineligible", check("release", "fail"), check("snapd", "pass"), check("network", "unknown"))
    assert known.verdict == "ineligible"
    assert [reason["id"] for reason in known.refusals] == ["release"]


def test_unknown_checks_are_refusals_without_a_failure() -> None:
    known = judged(False, "unknown", check("release", "pass"), check("privileges", "unknown"))
    assert known.verdict == "unknown"
    assert [reason["id"] for reason in known.refusals] == ["privileges"]


def test_repairable_checks_do_not_prevent_a_seat() -> None:
    """The module installs or upgrades snapd and waits for seeding; the enablement itself tests the network."""
    mended = (check("snapd", "fail"), check("snapd_seeded", "unknown"), check("network", "unknown"))
    known = judged(False, "ineligible", *mended)
    assert (known.verdict, known.refusals) == ("eligible", ())
    known = judged(False, "ineligible", *mended, check("release", "unknown"))
    assert known.verdict == "unknown"
    assert [reason["id"] for reason in known.refusals] == ["release"]


def test_a_verdict_without_checks_is_accepted() -> None:
    assert judged(False, "ineligible").verdict == "ineligible"
    assert judged(False, "eligible").verdict == "eligible"


def test_a_network_failure_keeps_the_seat() -> None:
    assert judged(True, "ineligible", check("network", "fail")).verdict == "eligible"
    assert judged(False, "ineligible", check("network", "fail")).verdict == "ineligible"


def test_an_enabled_ineligible_host_is_refused() -> None:
    assert judged(True, "ineligible", check("network", "fail"), check("release", "fail")).verdict == "ineligible"


# --- properties ---


@st.composite
def fleets(draw: st.DrawFn) -> list[KnownHost]:
    hosts = st.builds(
        KnownHost,
        name=st.sampled_from("abcdefghij"),
        holds_seat=st.booleans(),
        identity=st.sampled_from(["1", "2", "3", "4", "5", "6", None]),
        verdict=st.sampled_from(["eligible", "eligible", "ineligible", "unknown"]),
        failure=st.sampled_from([None, None, LOST]),
    )
    return draw(st.lists(hosts, max_size=10, unique_by=lambda host: host.name))


@given(hosts=fleets(), seats=st.integers(0, 6), wanting=st.lists(st.sampled_from("abcdefghij")))
def test_never_more_machines_than_seats(hosts: list[KnownHost], seats: int, wanting: list[str]) -> None:
    found = plan(hosts, wanting, seats)
    known = {host.name: host for host in hosts}
    machines = {known[name].identity or name for name in (*found.granted, *found.in_use)}
    held = {known[name].identity or name for name in found.in_use}
    assert len(found.granted) <= seats
    assert len(machines) <= max(seats, len(held)), "hosts that hold a seat already are the only excess"
    assert found.free == max(0, seats - len(machines))
    denied = [denial["host"] for denial in found.denied]
    assert sorted([*found.granted, *denied]) == sorted(set(wanting)), "each host that wants a seat gets an answer"
