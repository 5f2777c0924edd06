# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Vulnerabilities over a fleet: counts, groups of hosts with their next step, and the limits of a result."""

from __future__ import annotations

import datetime
import json
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.kernelops.livepatch.plugins.module_utils._fleet.waivers import Waiver, Waivers
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.newest import NewestRecords
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.fleet_exposure import (
    COUNTED,
    NO_RECORD,
    RESULT_LIMIT,
    FleetExposure,
    evaluate_fleet,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.state_steps import StateStep
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.exposure import (
    STATUSES,
    KernelEvidence,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.index import (
    VulnerabilityIndex,
    index_packages,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.notice_files import NoticeFiles
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.notices import parse_notice
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.package_data import (
    Advice,
    Packages,
    Vulnerability,
)
from tests.samples.notices import affected, notice

LATE, EARLY, LOW, UNRATED = "CVE-2031-1002", "CVE-2031-1001", "CVE-2031-1003", "CVE-2031-1004"
FIXED = Advice("fixed", "4.4.0-200.232")
DETAILS = {
    LATE: Vulnerability("high", "2031-03-01"),
    EARLY: Vulnerability("critical", "2031-01-01"),
    LOW: Vulnerability("low", "2030-01-01"),
    UNRATED: Vulnerability(None, None),
}
PACKAGES = Packages(
    "16.04", "", "2031-06-01", DETAILS, {"linux": {"4.4.0-168.197"}}, {"linux": dict.fromkeys(DETAILS, FIXED)}
)


def index() -> VulnerabilityIndex:
    found = parse_notice(notice("0101-1", affected(), upstream=[EARLY]))
    assert found is not None
    return VulnerabilityIndex([index_packages(PACKAGES)], NoticeFiles([found], []))


def host(kernel: str = "4.4.0-168.197-generic", **changes: t.Any) -> KernelEvidence:
    plain = KernelEvidence(
        ubuntu=True,
        release="16.04",
        kernel=kernel,
        source=None,
        patch=None,
        confirmed=False,
        fixes=(),
        patchable=True,
        enabled=True,
    )
    return plain._replace(**changes)


FLEET = {
    "web-1": host(patch="101.1", confirmed=True),
    "web-2": host(),
    "web-3": host(enabled=False),
    "web-4": host("4.4.0-200.232-generic"),
    "web-5": host(ubuntu=False),
    "web-6": host(),
}


def evaluated(
    hosts: dict[str, KernelEvidence] | None = None,
    missing: set[str] | None = None,
    cves: list[str] | None = None,
    minimum: str = "high",
    waivers: Waivers | None = None,
) -> FleetExposure:
    records = NewestRecords(FLEET if hosts is None else hosts, missing or set(), [], None)
    return evaluate_fleet(records, [index()], cves, minimum, waivers)


TODAY = datetime.date(2031, 6, 1)


def waived(days: int = 30, groups: dict[str, list[str]] | None = None, **selected: str) -> Waivers:
    entry = Waiver("accepted", "a team", TODAY + datetime.timedelta(days=days), **selected)
    return Waivers([entry], TODAY, groups)


def test_open_vulnerabilities_are_listed_oldest_first() -> None:
    assert [each.cve for each in evaluated().cves] == [UNRATED, EARLY, LATE]
    assert [each.cve for each in evaluated(minimum="low").cves] == [UNRATED, LOW, EARLY, LATE]
    assert [each.cve for each in evaluated(minimum="critical").cves] == [UNRATED, EARLY]
    assert evaluated({"web-4": FLEET["web-4"]}).cves == [], "everything is fixed"


def test_every_host_has_one_status() -> None:
    found = evaluated(missing={"web-7"}, cves=[EARLY])
    assert found.cves[0].counts == {"open": 3, "unknown": 2, "live_patched": 1, "fixed": 1, "not_affected": 0}
    assert found.hosts == 7
    assert found.hosts_by_status == found.cves[0].counts


def test_a_host_counts_by_its_most_urgent_status() -> None:
    assert evaluated().hosts_by_status == {"open": 4, "unknown": 1, "live_patched": 0, "fixed": 1, "not_affected": 0}


def test_a_client_without_a_status_is_repaired_first() -> None:
    entries, _left_out = evaluated({"web-8": host(enabled=None)}, cves=[EARLY]).entries()
    assert [each["next_step"] for each in entries[0]["groups"]] == [
        "repair the client, as the report shows for the host; live patch 101 has the fix"
    ]


def test_groups_have_the_next_step() -> None:
    entries, left_out = evaluated(missing={"web-7"}, cves=[EARLY]).entries()
    assert left_out == 0
    assert (entries[0]["priority"], entries[0]["published"]) == ("critical", "2031-01-01")
    found = [(each["status"], each["hosts"], each["reason"], each["next_step"]) for each in entries[0]["groups"]]
    run = "ansible-playbook kernelops.livepatch."
    assert found == [
        (
            "open",
            ["web-2", "web-6"],
            None,
            f"apply live patch 101 or newer: {run}patch --limit web-2,web-6",
        ),
        ("open", ["web-3"], None, f"enable the client, which applies live patch 101: {run}enable --limit web-3"),
        ("unknown", ["web-5"], "kernel_without_data", "boot a kernel from the Ubuntu archive"),
        ("unknown", ["web-7"], "no_current_record", found[3][3]),
        ("live_patched", ["web-1"], None, None),
        ("fixed", ["web-4"], None, None),
    ]
    assert entries[0]["groups"][0] == {
        "status": "open",
        "fix": "patch",
        "source_package": "linux",
        "source_derived": True,
        "fixed_in": "4.4.0-200.232",
        "patch": "101",
        "evidence": "package_data",
        "reason": None,
        "message": None,
        "state": None,
        "next_step": found[0][3],
        "waived": None,
        "count": 2,
        "hosts": ["web-2", "web-6"],
    }


UPGRADE = "upgrade linux to 4.4.0-200.232 or newer and reboot: "


def steps_of_groups(hosts: dict[str, KernelEvidence], cve: str, missing: t.Iterable[str] = ()) -> list[str | None]:
    entries, _left_out = evaluated(hosts, set(missing), cves=[cve]).entries()
    return [group["next_step"] for group in entries[0]["groups"]]


def test_a_kernel_upgrade_names_package_and_version() -> None:
    command = "ansible-playbook kernelops.livepatch.upgrade --limit web-2 -e livepatch_force=true"
    assert steps_of_groups({"web-2": host()}, LATE) == [f"{UPGRADE}{command}"]


@pytest.mark.parametrize("hosts", [[f"web-{number}" for number in range(6)], ["web-1", "web[2]"]])
def test_a_command_names_all_hosts_or_none(hosts: list[str]) -> None:
    """A command with many names does not fit in a line, and some names mean a pattern."""
    command = (
        "run `ansible-playbook kernelops.livepatch.upgrade -e livepatch_force=true` with --limit for these hosts only"
    )
    assert steps_of_groups(dict.fromkeys(hosts, host()), LATE) == [f"{UPGRADE}{command}"]


@pytest.mark.parametrize(
    ("changes", "cve", "playbook"),
    [
        ({}, EARLY, "patch --limit web-2"),
        ({"enabled": False}, EARLY, "enable --limit web-2"),
        ({}, LATE, "upgrade --limit web-2 -e livepatch_force=true"),
        ({"kernel": None}, LATE, "check --become"),
    ],
)
def test_commands_have_the_policy_of_the_check(changes: dict[str, t.Any], cve: str, playbook: str) -> None:
    [step] = steps_of_groups({"web-2": host()._replace(policy="current", **changes)}, cve)
    assert step is not None
    assert step.endswith(f": ansible-playbook kernelops.livepatch.{playbook} -e livepatch_policy=current")


def test_hosts_of_two_policies_have_two_commands() -> None:
    hosts = {"web-2": host(policy="current"), "web-3": host(policy="launch"), "web-4": host(policy="launch")}
    one, other = steps_of_groups(hosts, EARLY)
    assert one is not None and other is not None
    assert one.endswith("--limit web-3,web-4")
    assert other.endswith("--limit web-2 -e livepatch_policy=current")


@pytest.mark.parametrize(("other", "option"), [("current", " -e livepatch_policy=current"), ("launch", "")])
def test_a_host_without_record_gets_the_policy_of_the_fleet(other: str, option: str) -> None:
    """Unless the hosts of the fleet have different policies."""
    hosts = {"web-2": host(policy="current"), "web-3": host(policy=other)}
    step = steps_of_groups(hosts, EARLY, ["web-7"])[-1]
    assert step is not None
    assert step.endswith(f"check the host: ansible-playbook kernelops.livepatch.check --become{option}")
    [group] = evaluated(hosts, {"web-7"}, cves=[EARLY]).without_data
    assert group["next_step"] == step


def test_a_vulnerability_that_nobody_knows_is_unknown() -> None:
    found = evaluated({"web-2": host()}, cves=["CVE-2031-9999"])
    assert found.cves[0].counts["unknown"] == 1
    assert found.entries()[0][0]["priority"] is None


def test_hosts_without_data_have_a_reason() -> None:
    found = evaluated({**FLEET, "web-8": host(release="24.04")}, {"web-7", "web-9"}, minimum="critical")
    assert [(each["reason"], each["count"], each["hosts"]) for each in found.without_data] == [
        ("no_current_record", 2, ["web-7", "web-9"]),
        ("kernel_without_data", 1, ["web-5"]),
        ("release_not_in_data", 1, ["web-8"]),
    ]
    assert all(each["message"] and each["next_step"] for each in found.without_data)
    assert "  2 without data: " in found.lines([])[2]
    assert "the host has no usable record" in found.lines([])[3]


def test_a_host_without_data_is_never_good() -> None:
    """Even if there is no vulnerability to evaluate."""
    hosts = {"web-2": host(), "web-8": host(release="24.04")}
    records = NewestRecords(hosts, {"web-7"}, [], None)
    none = evaluate_fleet(records, [], None, "high")
    assert none.hosts_by_status == {"open": 0, "unknown": 3, "live_patched": 0, "fixed": 0, "not_affected": 0}
    rated = Packages("16.04", "", None, {LOW: DETAILS[LOW]}, PACKAGES.versions, {"linux": {LOW: FIXED}})
    data = [VulnerabilityIndex([index_packages(rated)])]
    some = evaluate_fleet(records, data, None, "high")
    assert some.evaluated == 0
    assert some.hosts_by_status == {"open": 0, "unknown": 2, "live_patched": 0, "fixed": 0, "not_affected": 1}


def test_lines_summarise_the_fleet() -> None:
    exposure = evaluated({name: FLEET[name] for name in ("web-1", "web-2")}, cves=[EARLY])
    assert exposure.lines(exposure.entries()[0]) == [
        "2 hosts, 1 vulnerability: 1 open, 1 live_patched.",
        "Oldest package data: 2031-06-01.",
        f"{EARLY} (critical, 2031-01-01): 1 open, 1 live_patched",
        "  1 open: web-2",
        "    apply live patch 101 or newer: ansible-playbook kernelops.livepatch.patch --limit web-2",
        "  1 live_patched: web-1",
    ]
    ages = exposure.lines([], 3, "2031-05-01T06:00:00Z")
    assert ages[1] == "Oldest record: 2031-05-01T06:00:00Z."
    assert ages[3] == "Age of the oldest data: 3 days."


def test_lines_are_limited() -> None:
    exposure = evaluated({"web\x1b": host()}, cves=[f"CVE-2031-{number}" for number in range(2000, 2199)])
    lines = exposure.lines(exposure.entries()[0])
    assert len(lines) == 200
    assert "\x1b" not in "".join(lines)


def test_a_result_of_a_large_fleet_is_limited() -> None:
    hosts = {
        f"host-{number:06}.{'long-' * 20}example.com": host(f"4.4.0-{1 + number % 90}.1-generic")
        for number in range(20_000)
    }
    cves = [f"CVE-2031-{number}" for number in range(1001, 1301)]
    entries, left_out = evaluated(hosts, cves=cves).entries()
    assert len(json.dumps(entries)) <= RESULT_LIMIT
    assert left_out + len(entries) == 300
    assert all(sum(group["count"] for group in entry["groups"]) == 20_000 for entry in entries)
    assert all(len(group["hosts"]) <= 100 for entry in entries for group in entry["groups"])


def test_a_result_keeps_what_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    from ansible_collections.kernelops.livepatch.plugins.module_utils._report import fleet_exposure

    monkeypatch.setattr(fleet_exposure, "RESULT_LIMIT", 2000)
    entries, left_out = evaluated(minimum="low").entries()
    assert 0 < len(entries) < 4
    assert len(entries) + left_out == 4
    assert len(json.dumps(entries)) <= 2000


def test_the_document_has_every_host() -> None:
    document = json.loads("".join(evaluated(missing={"web-7"}).document()))
    assert document["hosts"] == 7
    assert [each["cve"] for each in document["cves"]] == [UNRATED, EARLY, LATE]
    assert sorted(name for group in document["groups"] for name in group["hosts"]) == [*FLEET, "web-7"]
    first = document["groups"][0]
    assert (first["hosts"], first["kernel"]) == (["web-1"], "4.4.0-168.197-generic")
    evaluations = document["evaluations"]
    assert evaluations[first["cves"][EARLY]]["status"] == "live_patched"
    assert evaluations[first["cves"][LATE]]["next_step"].startswith("upgrade linux")
    assert len({json.dumps(each) for each in evaluations}) == len(evaluations)


_HOSTS = st.dictionaries(
    st.text("abc", min_size=1, max_size=3),
    st.builds(
        host,
        st.sampled_from(["4.4.0-168.197-generic", "4.4.0-200.232-generic", "6.8.0-31.31-generic"]),
        patch=st.sampled_from([None, "100.1", "101.1"]),
        confirmed=st.booleans(),
        ubuntu=st.booleans(),
        patchable=st.booleans(),
        fixes=st.sampled_from([(), ((EARLY, True),), ((EARLY, False), (LATE, True))]),
        release=st.sampled_from(["16.04", "24.04", None]),
    ),
    max_size=12,
)


@given(_HOSTS, st.sets(st.text("xyz", min_size=1, max_size=2), max_size=3))
def test_the_sum_of_statuses_is_the_number_of_hosts(hosts: dict[str, KernelEvidence], missing: set[str]) -> None:
    found = evaluated(hosts, missing, [EARLY, LATE, LOW, "CVE-2031-9999"])
    assert found.hosts == len(hosts) + len(missing) == sum(found.hosts_by_status.values())
    entries, _left_out = found.entries()
    for each, entry in zip(found.cves, entries, strict=True):
        assert tuple(each.counts) == STATUSES
        assert sum(each.counts.values()) == found.hosts
        assert sorted(name for group in entry["groups"] for name in group["hosts"]) == sorted([*hosts, *missing])
        assert sum(group["count"] for group in entry["groups"] if group["status"] == "unknown") >= len(missing)


def test_a_waived_vulnerability_keeps_its_status() -> None:
    found = evaluated(cves=[EARLY], waivers=waived(cve=EARLY, host="web-2"))
    assert found.cves[0].counts == evaluated(cves=[EARLY]).cves[0].counts
    assert found.cves[0].waived == 1
    assert found.hosts_by_status["open"] == 3
    assert found.not_waived == {
        "open": 2,
        "unknown": 1,
        "waived": 1,
        "live_patched": 1,
        "fixed": 1,
        "not_affected": 0,
    }
    entries, _left_out = found.entries()
    groups = [(each["status"], each["hosts"], (each["waived"] or {}).get("owner")) for each in entries[0]["groups"]]
    assert ("open", ["web-2"], "a team") in groups
    assert ("open", ["web-6"], None) in groups
    lines = "\n".join(found.lines(entries))
    assert "6 hosts, 1 vulnerability: 2 open, 1 unknown, 1 waived, 1 live_patched, 1 fixed." in lines
    assert f"{EARLY} (critical, 2031-01-01): 2 open, 1 unknown, 1 waived, 1 live_patched, 1 fixed" in lines
    assert "\n  1 waived (open): web-2\n    waived until 2031-07-01 by a team: accepted\n" in lines
    assert lines.index("1 waived (open)") > lines.index("1 unknown: web-5"), "in the order of the counts"


@pytest.mark.parametrize(
    ("selected", "remaining"),
    [
        ({"cve": EARLY}, 3),
        ({"group": "g"}, 0),
        ({"host": "web-2", "rule": "open_cves"}, 3),
        ({"host": "web-2", "cve": LOW}, 3),
    ],
)
def test_a_waiver_covers_what_it_names(selected: dict[str, str], remaining: int) -> None:
    waivers = waived(groups={"g": ["web-2", "web-3", "web-6", "web-1", "web-4"]}, **selected)
    assert evaluated(cves=[EARLY, LATE], waivers=waivers).not_waived["open"] == remaining + bool(remaining)


def test_an_expired_waiver_has_no_effect() -> None:
    found = evaluated(cves=[EARLY], waivers=waived(-1, cve=EARLY))
    assert found.not_waived == {**found.hosts_by_status, "waived": 0}
    assert any("Expired waivers, whose findings count again" in line for line in found.lines([]))


def test_a_host_without_a_record_can_be_waived() -> None:
    found = evaluated({}, {"web-7"}, cves=[EARLY], waivers=waived(host="web-7"))
    assert (found.hosts_by_status["unknown"], found.not_waived["unknown"], found.not_waived["waived"]) == (1, 0, 1)


def test_a_good_status_is_never_waived() -> None:
    found = evaluated({"web-1": FLEET["web-1"]}, cves=[EARLY], waivers=waived(host="web-1"))
    assert (found.cves[0].waived, found.not_waived["live_patched"]) == (0, 1)
    assert found.entries()[0][0]["groups"][0]["waived"] is None


def test_the_complete_result_has_waivers() -> None:
    document = json.loads("".join(evaluated(cves=[EARLY], waivers=waived(cve=EARLY, host="web-2")).document()))
    of_host = {host: group["cves"][EARLY] for group in document["groups"] for host in group["hosts"]}
    assert document["evaluations"][of_host["web-2"]]["waived"]["reason"] == "accepted"
    assert document["evaluations"][of_host["web-6"]]["waived"] is None
    assert document["not_waived"]["open"] == 2


def test_a_waived_host_is_never_counted_as_good() -> None:
    """Its other vulnerabilities are fixed, and it still has one that is open."""
    waivers = waived(cve=UNRATED, host="web-4")
    found = evaluated({"web-4": host("4.4.0-200.231-generic")}, cves=[UNRATED, "CVE-2031-9"], waivers=waivers)
    assert found.not_waived == {**dict.fromkeys(COUNTED, 0), "unknown": 1}
    only = evaluated({"web-4": host("4.4.0-200.231-generic")}, cves=[UNRATED], waivers=waivers)
    assert only.not_waived == {**dict.fromkeys(COUNTED, 0), "waived": 1}


@given(
    selected=st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "cve": st.sampled_from([EARLY, LATE, LOW]),
                "host": st.sampled_from([*FLEET, "web-7"]),
                "group": st.sampled_from(["g", "none"]),
                "rule": st.just("vulnerability_open"),
            },
        ).filter(bool),
        max_size=4,
    )
)
def test_all_counts_have_all_hosts_with_any_waivers(selected: list[dict[str, str]]) -> None:
    entries = [Waiver("accepted", "a team", TODAY + datetime.timedelta(days=30), **each) for each in selected]
    waivers = Waivers(entries, TODAY, {"g": ["web-2", "web-5"]})
    found = evaluated(missing={"web-7"}, minimum="low", waivers=waivers)
    assert sum(found.not_waived.values()) == sum(found.hosts_by_status.values()) == found.hosts
    for each in found.cves:
        assert sum(each.not_waived.values()) == sum(each.counts.values()) == found.hosts
        moved = sum(each.counts[status] - each.not_waived[status] for status in ("open", "unknown"))
        assert moved == each.waived == each.not_waived["waived"]
    for counts in found.pairs.values():
        assert sum(counts.values()) % found.hosts == 0
    groups = [group for entry in found.entries()[0] for group in entry["groups"]]
    assert sum(group["count"] for group in groups if group["waived"]) == sum(each.waived for each in found.cves)


def test_a_host_without_data_can_be_waived() -> None:
    """It has no vulnerability of the priority, and is unknown as a whole."""
    hosts = {"web-5": FLEET["web-5"], "web-8": host(release="24.04")}
    records = NewestRecords(hosts, set(), [], None)
    found = evaluate_fleet(records, [], None, "high", waived(host="web-5"))
    assert (found.hosts_by_status["unknown"], found.not_waived["unknown"]) == (2, 1)
    one = evaluate_fleet(records, [], None, "high", waived(host="web-5", cve=EARLY))
    assert one.not_waived["unknown"] == 2, "a waiver of one vulnerability does not cover the host"


def test_the_step_of_the_state_comes_first() -> None:
    """A host that was tampered with, or whose patch crashed, is not upgraded."""
    states = {
        "web-2": StateStep("failed", "remove the crash lock"),
        "web-3": StateStep("stale", "open port 443"),
        "web-6": StateStep("failed", "remove the crash lock"),
        "web-7": StateStep("no_answer", "repair the connection"),
    }
    records = NewestRecords(FLEET, {"web-7", "web-8"}, [], None)
    found = evaluate_fleet(records, [index()], [EARLY, LATE], "high", None, states)
    entries, _left_out = found.entries()
    steps = [
        {host: (group["state"], group["next_step"]) for group in entry["groups"] for host in group["hosts"]}
        for entry in entries
    ]
    for each in steps:
        assert each["web-2"] == each["web-6"] == ("failed", "remove the crash lock")
        assert each["web-7"] == ("no_answer", "repair the connection")
        assert each["web-8"] == (None, NO_RECORD["remedy"])
    assert steps[0]["web-3"] == ("stale", "open port 443"), "no patch can be applied yet"
    assert "upgrade linux" in (steps[1]["web-3"][1] or ""), "an upgrade closes it"
    assert steps[0]["web-1"][1] is steps[0]["web-4"][1] is None, "nothing is to be done"
    lines = "\n".join(found.lines(entries))
    assert "\n  2 open (state failed): web-2, web-6\n    remove the crash lock\n" in lines
    assert "\n  1 unknown: web-7\n    the host has no usable record" in lines
    document = json.loads("".join(found.document()))
    shown = {
        document["evaluations"][position]["state"] for each in document["groups"] for position in each["cves"].values()
    }
    assert shown == {None, "failed", "stale", "no_answer"}


def test_hosts_without_record_are_in_order() -> None:
    steps = {f"web-{number}": StateStep("no_answer", f"repair the connection {number}") for number in range(10, 50)}
    records = NewestRecords[KernelEvidence]({}, set(steps), [], None)
    entries, _left_out = evaluate_fleet(records, [index()], [EARLY], "high", None, steps).entries()
    assert [group["next_step"] for group in entries[0]["groups"]] == [each.step for each in steps.values()]
