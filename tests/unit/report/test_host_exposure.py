# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Open vulnerabilities of one host: the state ``exposed``, the next step, and deadlines."""

from __future__ import annotations

import datetime
import json
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._fleet.waivers import Waiver, Waivers
from ansible_collections.kernelops.livepatch.plugins.module_utils._record import STATES, State, validate
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.host_exposure import (
    ExposureOptions,
    HostExposure,
    HostExposures,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.rule_evaluation import (
    DEFAULT,
    RuleEvaluator,
    load_rules,
)
from tests.samples.exposures import CRITICAL, HIGH, LOW, NOW, PATCHED, a_fleet, an_index, exposures
from tests.samples.records import make_record

EXPOSED, FIXED, DISABLED = a_fleet()


def of(record: t.Any, **changes: t.Any) -> HostExposure:
    return exposures(**changes).of_record(record)[0]


def test_open_vulnerabilities_are_listed_by_urgency() -> None:
    assert [each["cve"] for each in of(EXPOSED).open] == [CRITICAL, HIGH], "the patch that runs fixes another one"
    assert [each["cve"] for each in of(DISABLED).open] == [CRITICAL, PATCHED, HIGH]
    assert [each["cve"] for each in of(EXPOSED, minimum_priority="low").open] == [CRITICAL, HIGH, LOW]
    assert [each["cve"] for each in of(EXPOSED, minimum_priority="critical").open] == [CRITICAL]
    assert of(EXPOSED).by_priority() == {"critical": 1, "high": 1}
    assert of(EXPOSED).as_text() == "1 critical, 1 high"
    assert of(EXPOSED).open[0] == {
        "cve": CRITICAL,
        "priority": "critical",
        "published": "2026-01-02",
        "days_open": 10,
        "fix": "kernel",
        "fixed_in": "4.4.0-200.232",
        "patch": None,
        "evidence": "package_data",
        "counts_from": None,
        "due": None,
        "overdue": None,
    }


def test_no_open_vulnerability_is_none_only_if_none_is_unknown() -> None:
    exposure = of(FIXED)
    assert [exposure._replace(open=(), unknown=number).as_cell() for number in (0, 3)] == ["none", "unknown"]
    assert of(EXPOSED)._replace(unknown=3).as_cell() == "1 critical, 1 high"
    assert exposure._replace(open=(), unknown=3).as_text() == "", "CSV has the numbers in columns of their own"


def test_a_protected_host_with_an_open_vulnerability_is_exposed() -> None:
    found = exposures()
    record = found.assessed(EXPOSED, of(EXPOSED))
    validate(record)
    assert record["assessment"]["state"] == "exposed"
    assert record["assessment"]["reasons"][0] == {
        "id": "vulnerability_open",
        "message": f"2 vulnerabilities of priority high or higher are open; the most urgent is {CRITICAL} (critical, "
        "published 2026-01-02)",
        "remedy": "upgrade linux to 4.4.0-200.232 or newer and reboot: ansible-playbook kernelops.livepatch.upgrade "
        "--limit web1 -e livepatch_force=true",
    }
    assert record["assessment"]["reboot_needed"] is True
    assert EXPOSED["assessment"]["state"] == "protected", "records are shared, and never changed"
    current = {**EXPOSED, "eligibility": {**EXPOSED["eligibility"], "policy": "current"}}
    remedy = found.assessed(current, of(EXPOSED))["assessment"]["reasons"][0]["remedy"]
    assert remedy.endswith(" --limit web1 -e livepatch_force=true -e livepatch_policy=current")


def test_only_vulnerabilities_of_the_priority_expose_a_host() -> None:
    strict, lax = exposures(minimum_priority="high"), exposures(minimum_priority="critical")
    assert strict.assessed(FIXED, of(FIXED))["assessment"]["state"] == "exposed"
    message = strict.assessed(FIXED, of(FIXED))["assessment"]["reasons"][0]["message"]
    assert message.startswith("1 vulnerability of priority high or higher is open")
    assert lax.assessed(FIXED, of(FIXED, minimum_priority="critical")) is FIXED


@pytest.mark.parametrize("state", [state for state in STATES if state != "protected"])
def test_any_other_state_stays(state: State) -> None:
    record = make_record("web1", state)
    assert exposures().assessed(record, of(record)) is record


def test_unknown_vulnerabilities_do_not_expose_a_host() -> None:
    record = make_record(system__release="24.04")
    exposure = of(record)
    assert (exposure.open, exposure.unknown) == ((), 3)
    assert exposures().assessed(record, exposure) is record


def test_deadlines_count_from_the_publication() -> None:
    found = of(EXPOSED, deadlines={"critical": 10, "high": 30})
    assert [(each["due"], each["overdue"]) for each in found.open] == [("2026-01-12", False), ("2025-07-01", True)]
    assert found.overdue == 1
    assert of(EXPOSED, deadlines={"critical": 9}).open[0]["overdue"] is True
    assert of(EXPOSED, deadlines={"low": 9}).overdue == 0


def test_deadlines_count_from_the_first_report() -> None:
    seen = {CRITICAL: "2026-01-10"}
    options = ExposureOptions(data=("data",), deadlines={"critical": 1, "high": 30}, deadlines_from="seen")
    found = HostExposures([an_index()], options, NOW, first_seen=seen).of_record(EXPOSED)[0]
    assert [(each["counts_from"], each["due"], each["overdue"]) for each in found.open] == [
        ("2026-01-10", "2026-01-11", True),
        ("2026-01-12", "2026-02-11", False),
    ], "a vulnerability that no report has had is seen today"


def test_deadlines_count_from_the_fix() -> None:
    """One has a fix without a date, so that it counts from its publication. The other has no fix yet."""
    found = of(EXPOSED, deadlines={"critical": 10, "high": 30}, deadlines_from="fixed")
    assert [(each["counts_from"], each["due"], each["overdue"]) for each in found.open] == [
        ("2026-01-02", "2026-01-12", False),
        (None, None, None),
    ]


def test_the_report_has_a_section_for_each_host() -> None:
    section = json.loads(f"{{{exposures().of_record(EXPOSED)[1].decode('ascii')}}}")["vulnerabilities"]
    assert (section["open"], section["unknown"], section["overdue"]) == ({"critical": 1, "high": 1}, 0, 0)
    assert [each["cve"] for each in section["open_cves"]] == [CRITICAL, HIGH]


WAIVERS = Waivers(
    [
        Waiver("no users", "web team", datetime.date(2026, 2, 1), cve=CRITICAL, host="web1"),
        Waiver("no users", "web team", datetime.date(2026, 3, 1), cve=HIGH, host="web1"),
    ],
    NOW.date(),
)


def test_a_waived_vulnerability_is_counted_apart() -> None:
    waivers = Waivers(WAIVERS.entries[:1], NOW.date())
    exposure, section = exposures(waivers).of_record(EXPOSED)
    assert [each["cve"] for each in exposure.open] == [HIGH]
    assert [(each.cve, each.waiver.owner) for each in exposure.waived] == [(CRITICAL, "web team")]
    assert exposure.as_cell() == "1 high, 1 waived"
    found = json.loads(f"{{{section.decode('ascii')}}}")["vulnerabilities"]
    assert (found["open"], found["waived"], [each["cve"] for each in found["open_cves"]]) == ({"high": 1}, 1, [HIGH])
    assert found["waived_cves"] == [
        {"cve": CRITICAL, "priority": "critical", "status": "open", "waiver": waivers.entries[0].as_dict()}
    ]
    other = exposures(waivers).of_record({**EXPOSED, "host": "web9"})[0]
    assert (len(other.open), other.waived) == (2, ()), "the waiver is for another host"


def test_an_unknown_vulnerability_can_be_waived() -> None:
    record = make_record(system__release="24.04")
    one = exposures(Waivers([Waiver("a", "b", NOW.date(), cve=HIGH)], NOW.date())).of_record(record)[0]
    assert (one.unknown, len(one.waived), one.as_cell()) == (2, 1, "unknown, 1 waived")
    every = exposures(Waivers([Waiver("a", "b", NOW.date(), host="web1")], NOW.date())).of_record(record)[0]
    assert (every.unknown, every.as_cell()) == (0, "3 waived")


def test_a_waived_host_stays_exposed() -> None:
    """A waiver accepts an open vulnerability, and does not close it."""
    found = exposures(WAIVERS)
    exposure = found.of_record(EXPOSED)[0]
    record = found.assessed(EXPOSED, exposure)
    validate(record)
    assert record["assessment"]["state"] == "exposed"
    assert record["assessment"]["reasons"][0] == {
        "id": "vulnerability_waived",
        "message": f"2 vulnerabilities of priority high or higher are open and waived; the most urgent is {CRITICAL} "
        "(critical, published 2026-01-02), waived until 2026-02-01 by web team",
        "remedy": "upgrade linux to 4.4.0-200.232 or newer and reboot: ansible-playbook kernelops.livepatch.upgrade "
        "--limit web1 -e livepatch_force=true",
    }
    assert record["assessment"]["reboot_needed"] is True


def test_a_waiver_does_not_hide_another_vulnerability() -> None:
    found = exposures(Waivers(WAIVERS.entries[:1], NOW.date()))
    reason = found.assessed(EXPOSED, found.of_record(EXPOSED)[0])["assessment"]["reasons"][0]
    assert reason["id"] == "vulnerability_open"
    assert reason["message"].startswith("1 vulnerability of priority high or higher is open; the most urgent is")
    assert reason["message"].endswith("; 1 more is waived")


DEADLINES = {"critical": 1, "high": 30}
RULES = ("vulnerability_open", "vulnerability_overdue")


def broken_and_waived(
    *waivers: Waiver, rules: object = DEFAULT, deadlines: dict[str, int] | None = None
) -> tuple[list[str], dict[str, str]]:
    """Return the rules that web1 violates, and for those that are waived the reason of the waiver."""
    found = exposures(Waivers(waivers, NOW.date()), deadlines=deadlines or DEADLINES)
    exposure = found.of_record(EXPOSED)[0]
    evaluator = RuleEvaluator(load_rules(rules, []), NOW)
    findings, waived = evaluator.with_waived_cves(EXPOSED, found, exposure)
    return [each.rule for each in findings if each.rule in RULES], {each.rule: each.waiver.reason for each in waived}


def accepted(cve: str | None, day: int, rule: str | None = None) -> Waiver:
    return Waiver(f"until {day}", "web team", datetime.date(2026, 3, day), cve=cve, rule=rule)


@pytest.mark.parametrize(
    ("waivers", "broken", "waived"),
    [
        ([], RULES, {}),
        ([accepted(CRITICAL, 1)], RULES, {}),
        ([accepted(CRITICAL, 1), accepted(HIGH, 2)], (), dict.fromkeys(RULES, "until 1")),
        ([accepted(CRITICAL, 2), accepted(HIGH, 1)], (), dict.fromkeys(RULES, "until 1")),
        ([accepted(None, 5)], (), dict.fromkeys(RULES, "until 5")),
        # The last waiver of the vulnerability counts.
        ([accepted(CRITICAL, 2), accepted(CRITICAL, 4), accepted(HIGH, 3)], (), dict.fromkeys(RULES, "until 3")),
        # A rule and a vulnerability: the other rule is still broken.
        (
            [accepted(CRITICAL, 1, RULES[1]), accepted(HIGH, 2, RULES[1])],
            RULES[:1],
            {"vulnerability_overdue": "until 1"},
        ),
        ([accepted(CRITICAL, 1), accepted(HIGH, 2, RULES[1])], RULES[:1], {"vulnerability_overdue": "until 1"}),
        # Another waiver of the rule as a whole lasts longer.
        (
            [accepted(CRITICAL, 1), accepted(HIGH, 2), accepted(None, 9, RULES[0])],
            (),
            {"vulnerability_open": "until 9", "vulnerability_overdue": "until 1"},
        ),
    ],
)
def test_waived_vulnerabilities_do_not_break_rules(
    waivers: list[Waiver], broken: tuple[str, ...], waived: dict[str, str]
) -> None:
    assert broken_and_waived(*waivers) == (list(broken), waived)


def test_the_waiver_of_what_a_rule_is_about_is_shown() -> None:
    """The other one, of a vulnerability that is not overdue, ends first."""
    waivers = [accepted(CRITICAL, 1), accepted(HIGH, 2)]
    assert broken_and_waived(*waivers, deadlines={"high": 30})[1]["vulnerability_overdue"] == "until 2"


def test_rules_of_a_site_see_no_waived_vulnerability() -> None:
    rule = {"id": "vulnerability_open", "expression": f"open_cves[?cve == '{CRITICAL}']", "message": "open"}
    assert broken_and_waived(accepted(CRITICAL, 1), rules=rule) == ([], {"vulnerability_open": "until 1"})
    assert broken_and_waived(accepted(HIGH, 1), rules=rule) == (["vulnerability_open"], {})
    many = {"id": "vulnerability_open", "expression": "waived_vulnerabilities > `0`", "message": "too many"}
    assert broken_and_waived(accepted(HIGH, 1), rules=many) == (["vulnerability_open"], {})


def test_equal_hosts_share_one_result() -> None:
    found = exposures()
    assert found.of_record(EXPOSED) is found.of_record({**EXPOSED, "host": "other"})
    waived = exposures(WAIVERS)
    assert waived.of_record({**EXPOSED, "host": "a"}) is waived.of_record({**EXPOSED, "host": "b"})
    entries = [found.of_record(each)[0].open[0] for each in (EXPOSED, DISABLED)]
    assert entries[0] is entries[1]


OPTIONS: dict[str, t.Any] = {
    "vulnerability_data": ["/data"],
    "vulnerability_deadlines": {"critical": 7, "high": "30"},
    "minimum_priority": "high",
    "cache_dir": "~/cache",
    "openvex_author": "a team",
    "vulnerability_deadlines_from": "seen",
}


def test_options_are_read() -> None:
    found = ExposureOptions.of(OPTIONS)
    assert (found.data, dict(found.deadlines)) == (("/data",), {"critical": 7, "high": 30})
    assert "~" not in str(found.cache)
    assert (found.openvex_author, found.deadlines_from) == ("a team", "seen")
    plain = ExposureOptions.of({**OPTIONS, "vulnerability_data": None, "vulnerability_deadlines": None})
    assert (plain.data, plain.deadlines) == ((), {})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vulnerability_data": None}, "needs vulnerability data"),
        ({"vulnerability_deadlines": {"urgent": 7}}, "has 'urgent', which is not a priority"),
        ({"vulnerability_deadlines": {"high": -7}}, "-7 for high"),
        ({"vulnerability_deadlines": {"high": True}}, "True for high"),
        ({"vulnerability_deadlines": {"high": "a week"}}, "'a week' for high"),
        ({"vulnerability_deadlines": {7: 7}}, "has 7, which is not a priority"),
    ],
)
def test_unusable_options_are_refused(changes: dict[str, t.Any], message: str) -> None:
    with pytest.raises(LivepatchError, match=message) as raised:
        ExposureOptions.of({**OPTIONS, **changes})
    assert raised.value.id == "options_invalid"


@given(state=st.sampled_from(STATES), cves=st.lists(st.sampled_from([CRITICAL, HIGH, PATCHED]), unique=True))
def test_a_host_is_exposed_or_nothing_is_open(state: State, cves: list[str]) -> None:
    record = make_record("web1", state, patch__fixes=[{"cve": cve, "patched": True} for cve in cves])
    exposure = of(record)
    assessed = exposures().assessed(record, exposure)["assessment"]["state"]
    assert assessed != "protected" or not exposure.open
    assert len(exposure.open) + exposure.unknown <= 3
