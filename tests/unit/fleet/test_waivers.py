# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Waivers: which findings they cover, until when, and how wrong files are reported."""

from __future__ import annotations

import datetime
import typing as t
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.kernelops.livepatch.plugins.module_utils._fleet.waivers import (
    LONGEST_DAYS,
    WaivedFinding,
    Waiver,
    WaiverError,
    Waivers,
    load_waivers,
)

TODAY = datetime.date(2026, 11, 26)
RULES = ("not_protected", "no_answer")
ENTRY = """- rule: not_protected
  group: build
  reason: rebuilt every night
  owner: build team
  expires: 2026-12-31
"""


def load(folder: Path, content: str, **options: t.Any) -> Waivers:
    path = folder / "waivers.yml"
    path.write_text(content, encoding="utf-8")
    return load_waivers(path, TODAY, **{"rules": RULES, **options})


def waiver(days: int = 30, **selected: str) -> Waiver:
    return Waiver("a reason", "an owner", TODAY + datetime.timedelta(days=days), **selected)


def test_an_entry_covers_what_it_names(tmp_path: Path) -> None:
    found = load(tmp_path, ENTRY, groups={"build": ["b1", "b2"], "web": ["w1"]})
    covering = found.find("b1", rule="not_protected")
    assert covering is not None
    assert covering.scope == "rule not_protected, group build"
    assert covering.justification == "Waived until 2026-12-31 by build team: rebuilt every night"
    assert found.find("w1", rule="not_protected") is None
    assert found.find("b1", rule="no_answer") is None
    assert found.find(None, rule="not_protected") is None, "the fleet is not in a group"
    assert found.unknown_groups == []


@pytest.mark.parametrize(
    ("selected", "finding", "covers"),
    [
        ({"host": "a"}, {"rule": "r"}, True),
        ({"host": "a"}, {"cve": "CVE-2026-1000"}, True),
        ({"host": "b"}, {"rule": "r"}, False),
        ({"cve": "CVE-2026-1000"}, {"cve": "CVE-2026-1000"}, True),
        ({"cve": "CVE-2026-1000"}, {"cve": "CVE-2026-1001"}, False),
        ({"cve": "CVE-2026-1000"}, {"rule": "CVE-2026-1000"}, True),
        ({"cve": "CVE-2026-1000"}, {"rule": "CVE-2026-1001", "cve": "CVE-2026-1000"}, True),
        ({"cve": "CVE-2026-1000"}, {"rule": "r"}, False),
        ({"cve": "CVE-2026-1000", "rule": "r"}, {"rule": "r", "cve": "CVE-2026-1000"}, True),
        ({"cve": "CVE-2026-1000", "rule": "r"}, {"cve": "CVE-2026-1000"}, False),
        ({"rule": "r", "host": "a"}, {"rule": "r"}, True),
        ({"group": "g"}, {"rule": "r"}, True),
        ({"group": "g", "host": "b"}, {"rule": "r"}, False),
        ({"group": "other"}, {"rule": "r"}, False),
        ({"group": "other", "host": "a"}, {"rule": "r"}, False),
        ({"group": "g", "host": "a"}, {"rule": "r"}, True),
    ],
)
def test_all_selectors_must_match(selected: dict[str, str], finding: dict[str, str], covers: bool) -> None:
    waivers = Waivers([waiver(**selected)], TODAY, {"g": ["a"], "other": ["b"]})
    assert (waivers.find("a", **finding) is not None) is covers


def test_the_last_day_still_counts() -> None:
    last, past = waiver(0, host="a"), waiver(-1, host="b")
    waivers = Waivers([last, past], TODAY)
    assert waivers.find("a", rule="r") is last
    assert waivers.find("b", rule="r") is None
    assert waivers.with_status("expired") == [past]


@pytest.mark.parametrize(("days", "status"), [(-1, "expired"), (0, "expiring"), (14, "expiring"), (15, "active")])
def test_a_waiver_warns_before_it_expires(days: int, status: str) -> None:
    assert waiver(days).status(TODAY) == status


def test_the_longest_waiver_counts() -> None:
    short, long = waiver(5, host="a"), waiver(50, rule="r")
    assert Waivers([short, long], TODAY).find("a", rule="r") is long


def test_unknown_groups_are_named(tmp_path: Path) -> None:
    assert load(tmp_path, ENTRY, groups={"web": ["w1"]}).unknown_groups == ["build"]
    assert load(tmp_path, ENTRY).unknown_groups == ["build"]


def test_waivers_to_renew_are_named() -> None:
    entries = [
        waiver(3, rule="r"),
        waiver(-1, cve="CVE-2026-1000", group="g"),
        waiver(2, host="a"),
        waiver(99, host="b"),
    ]
    assert list(Waivers(entries, TODAY, {"g": ["a"]}).warnings()) == [
        "Waivers that expire within 14 days: host a (2026-11-28, an owner); rule r (2026-11-29, an owner).",
        "Expired waivers, whose findings count again: cve CVE-2026-1000, group g (2026-11-25, an owner).",
    ]
    assert list(Waivers([waiver(99, host="a")], TODAY).warnings()) == []


@pytest.mark.parametrize(("number", "more"), [(5, ""), (6, " and 1 more"), (7, " and 2 more")])
def test_a_warning_names_five(number: int, more: str) -> None:
    found = list(Waivers([waiver(1, group=f"g{each}") for each in range(number)], TODAY).warnings())
    named = "; ".join(f"group g{each} (2026-11-27, an owner)" for each in range(5))
    assert found == [
        f"Waivers that expire within 14 days: {named}{more}.",
        f"Waivers name groups that the inventory does not have, and cover no host there: g0, g1, g2, g3, g4{more}.",
    ]


def test_the_limits_can_be_used(tmp_path: Path) -> None:
    longest = (TODAY + datetime.timedelta(days=LONGEST_DAYS)).isoformat()
    entry = ENTRY.replace("2026-12-31", longest).replace("rebuilt every night", "x" * 500)
    (found,) = load(tmp_path, entry).entries
    assert (found.expires.isoformat(), len(found.reason)) == (longest, 500)
    with pytest.raises(WaiverError, match="is more than 731 days ahead"):
        load(tmp_path, entry.replace(longest, (TODAY + datetime.timedelta(days=LONGEST_DAYS + 1)).isoformat()))


def test_a_cve_can_be_in_lower_case(tmp_path: Path) -> None:
    (found,) = load(tmp_path, ENTRY.replace("rule: not_protected", "cve: cve-2024-1086")).entries
    assert found.cve == "CVE-2024-1086"


def test_rules_are_checked_where_they_are_known(tmp_path: Path) -> None:
    (found,) = load(tmp_path, ENTRY.replace("not_protected", "of_another_file"), rules=None).entries
    assert found.rule == "of_another_file"


def test_a_file_in_another_encoding_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "waivers.yml").write_bytes(ENTRY.encode("utf-16"))
    with pytest.raises(WaiverError, match="is not UTF-8"):
        load_waivers(tmp_path / "waivers.yml", TODAY)


@pytest.mark.parametrize(
    ("selected", "rule", "follows"),
    [
        ({"cve": "CVE-2026-1000"}, "exposed", True),
        ({"cve": "CVE-2026-1000"}, "CVE-2026-1000", False),
        ({"cve": "CVE-2026-1000", "rule": "exposed"}, "exposed", False),
        ({"host": "a"}, "exposed", False),
    ],
)
def test_a_waiver_for_a_cve_covers_more_than_its_rule(selected: dict[str, str], rule: str, follows: bool) -> None:
    assert WaivedFinding(rule, "a message", waiver(**selected)).follows is follows


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (ENTRY.replace("owner", "ovner"), "waivers.yml:4: [0].ovner: unknown key; did you mean owner?"),
        (ENTRY.replace("  owner: build team\n", ""), "waivers.yml:1: [0]: owner is missing"),
        (ENTRY.replace("rebuilt every night", "''"), "waivers.yml:3: [0].reason: expected text, found ''"),
        (ENTRY.replace("  expires: 2026-12-31\n", ""), "waivers.yml:1: [0]: expires is missing"),
        (ENTRY.replace("2026-12-31", "31.12.2026"), "waivers.yml:5: [0].expires: expected a date such as 2026-12-31"),
        (ENTRY.replace("2026-12-31", "2026-02-30"), "waivers.yml:5: [0].expires: expected a date such as 2026-12-31"),
        (ENTRY.replace("2026-12-31", "2206-12-31"), "waivers.yml:5: [0].expires: 2206-12-31 is more than 731 days"),
        (ENTRY.replace("group: build", "group:"), "waivers.yml:2: [0].group: the key has no value"),
        (ENTRY.replace("group: build", "cve: null"), "waivers.yml:2: [0].cve: the key has no value"),
        (
            ENTRY.replace("not_protected", "not_protcted"),
            "waivers.yml:1: [0].rule: there is no rule 'not_protcted'; did",
        ),
        (ENTRY.replace("rule: not_protected", "cve: 2024-1086"), "waivers.yml:1: [0].cve: expected a CVE"),
        ("- reason: a\n  owner: b\n  expires: 2026-12-31\n", "waivers.yml:1: [0]: one of host, group, cve, rule is"),
        (ENTRY + ENTRY.replace("build team", "[a]"), "waivers.yml:9: [1].owner: expected text"),
        (ENTRY.replace("a reason", "x"), None),
        (ENTRY.replace("rebuilt every night", "x" * 501), "waivers.yml:3: [0].reason: the text has 501 characters"),
        ("waivers: []\n", "waivers.yml:1: expected a list of waivers, found dict"),
        ("- just text\n", "waivers.yml:1: [0]: expected a mapping with reason, owner, expires"),
        ("- [\n", "not valid YAML"),
        (ENTRY + "  owner: another\n", "waivers.yml:6: the key 'owner' occurs twice"),
        ("- 1\n" * 2001, "there are 2001 waivers, and 2000 are possible"),
        ("- 1\n" * 2000, "waivers.yml:1: [0]: expected a mapping"),
        ("#" * (1 << 20) + "\n", "the file cannot be read"),
    ],
)
def test_a_wrong_file_is_named_with_line_and_key(tmp_path: Path, content: str, message: str | None) -> None:
    if message is None:
        assert load(tmp_path, content).entries
        return
    with pytest.raises(WaiverError) as caught:
        load(tmp_path, content)
    assert message in caught.value.reason
    assert caught.value.id == "waivers_unusable"


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(WaiverError, match=r"the file cannot be read: No such file or directory$"):
        load_waivers(tmp_path / "none.yml", TODAY)


@pytest.mark.parametrize("content", ["", "[]\n", "# nothing yet\n"])
def test_an_empty_file_waives_nothing(tmp_path: Path, content: str) -> None:
    assert load(tmp_path, content).find("a", rule="r") is None


@given(st.dates(), st.integers(-2000, LONGEST_DAYS))
def test_no_expired_waiver_covers_a_finding(today: datetime.date, days: int) -> None:
    try:
        expires = today + datetime.timedelta(days=days)
    except OverflowError:
        return
    found = Waivers([Waiver("a", "b", expires, host="a")], today).find("a", rule="r")
    assert (found is not None) is (days >= 0)


def test_hosts_with_the_same_waivers_share_them() -> None:
    """Vulnerabilities are evaluated once for such hosts."""
    entries = [waiver(30, group="g"), waiver(40, cve="CVE-2026-1000"), waiver(20, host="c")]
    waivers = Waivers(entries, TODAY, {"g": ["a", "b"]})
    assert waivers.of_host("a") is waivers.of_host("b")
    assert waivers.of_host("d") is waivers.of_host("e")
    assert [waivers.of_host(host) for host in "acd"] == [
        (entries[1], entries[0]),
        (entries[1], entries[2]),
        (entries[1],),
    ]
