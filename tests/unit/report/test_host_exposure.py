# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Open vulnerabilities of one host: the state ``exposed``, the next step, and deadlines."""

from __future__ import annotations

import json
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._record import STATES, State, validate
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.host_exposure import (
    ExposureOptions,
    HostExposure,
)
from tests.samples.exposures import CRITICAL, HIGH, LOW, PATCHED, a_fleet, exposures
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


def test_the_report_has_a_section_for_each_host() -> None:
    section = json.loads(f"{{{exposures().of_record(EXPOSED)[1].decode('ascii')}}}")["vulnerabilities"]
    assert (section["open"], section["unknown"], section["overdue"]) == ({"critical": 1, "high": 1}, 0, 0)
    assert [each["cve"] for each in section["open_cves"]] == [CRITICAL, HIGH]


def test_equal_hosts_share_one_result() -> None:
    found = exposures()
    assert found.of_record(EXPOSED) is found.of_record({**EXPOSED, "host": "other"})
    entries = [found.of_record(each)[0].open[0] for each in (EXPOSED, DISABLED)]
    assert entries[0] is entries[1]


OPTIONS: dict[str, t.Any] = {
    "vulnerability_data": ["/data"],
    "vulnerability_deadlines": {"critical": 7, "high": "30"},
    "minimum_priority": "high",
    "cache_dir": "~/cache",
    "openvex_author": "a team",
}


def test_options_are_read() -> None:
    found = ExposureOptions.of(OPTIONS)
    assert (found.data, dict(found.deadlines)) == (("/data",), {"critical": 7, "high": 30})
    assert "~" not in str(found.cache)
    assert found.openvex_author == "a team"
    plain = ExposureOptions.of({**OPTIONS, "vulnerability_data": None, "vulnerability_deadlines": None})
    assert (plain.data, plain.deadlines) == ((), {})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vulnerability_data": None}, "needs vulnerability data"),
        ({"vulnerability_deadlines": {"urgent": 7}}, "the priority 'urgent'"),
        ({"vulnerability_deadlines": {"high": -7}}, "-7 for high"),
        ({"vulnerability_deadlines": {"high": True}}, "True for high"),
        ({"vulnerability_deadlines": {"high": "a week"}}, "'a week' for high"),
        ({"vulnerability_deadlines": {7: 7}}, "the priority 7"),
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
