# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Policies: the shipped ones, those of an operator, and the errors of unusable ones."""

from __future__ import annotations

import datetime

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.policy import (
    PolicyError,
    parse_policy,
    policy_from_mapping,
)
from tests.samples.facts import shipped

OWN = """\
name: ours
systems:
  - release: 16.10
    architecture: amd64
    kernel: 4.8
    flavours:
      - generic
"""


def test_launch_supports_two_flavours_of_one_kernel() -> None:
    policy = shipped("launch")
    (row,) = policy.systems
    assert (row.distribution, row.release, row.architecture, row.series) == ("ubuntu", "16.04", "amd64", "4.4")
    assert row.flavours == ("generic", "lowlatency")
    assert (policy.snapd_minimum, policy.seats) == ("2.15", 3)
    assert policy.check_grace == datetime.timedelta(minutes=10)
    assert policy.stale_after == datetime.timedelta(hours=24)


def test_current_matches_the_published_table() -> None:
    policy = shipped("current")
    rows = {(row.release, row.architecture, row.series): row for row in policy.systems}
    assert len(rows) == len(policy.systems) == 18
    assert "aws" in rows["16.04", "amd64", "4.4"].flavours
    assert rows["24.04", "amd64", "6.14"].upgrade_within_months == 9
    assert rows["22.04", "s390x", "5.15"].flavours == ("generic",)
    assert policy.seats == 5


@pytest.mark.parametrize(("value", "decides"), [(True, True), (False, False), ("true", True), ("False", False)])
def test_the_service_decides_on_request(value: object, decides: bool) -> None:
    row = {"release": "18.04", "architecture": "amd64", "kernel": "4.15", "flavours": ["generic"]}
    assert policy_from_mapping({"systems": [row], "service_decides": value}, "policy").service_decides is decides
    assert parse_policy(f"{OWN}service_decides: {value}\n", "ours.yml").service_decides is decides


def test_only_current_lets_the_service_decide() -> None:
    assert parse_policy(OWN, "ours.yml").service_decides is False
    assert [shipped(name).service_decides for name in ("launch", "current")] == [False, True]


def test_versions_in_a_file_stay_text() -> None:
    """As a number, 16.10 would become 16.1, which is another release."""
    (row,) = parse_policy(OWN, "ours.yml").systems
    assert (row.release, row.series, row.upgrade_within_months) == ("16.10", "4.8", None)


def test_a_mapping_can_be_a_policy() -> None:
    policy = policy_from_mapping(
        {
            "systems": [{"release": "18.04", "architecture": "amd64", "kernel": "4.15", "flavours": ["generic"]}],
            "seats": 7,
            "stale_after_hours": "48",
            "applying_limit_minutes": 30,
        },
        "policy",
    )
    assert policy.name == "custom"
    assert policy.seats == 7
    assert policy.stale_after == datetime.timedelta(hours=48)
    assert policy.applying_limit == datetime.timedelta(minutes=30)
    assert shipped("launch").applying_limit == datetime.timedelta(minutes=60)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("systems:\n  - {release: '16.04'\n", "bad.yml:3: not valid YAML"),
        ("a: b: c\n", "bad.yml:1: not valid YAML"),
        ("", "bad.yml: expected a mapping with systems"),
        ("just text\n", "bad.yml:1: expected a mapping with systems"),
        ("name: x\n", "bad.yml:1: systems is missing"),
        ("systems: []\n", "bad.yml:1: systems: expected a list with at least one system"),
        (
            OWN.replace("kernel: 4.8", "kernels: 4.8"),
            "bad.yml:5: systems[0].kernels: unknown key; did you mean kernel?",
        ),
        (OWN + "colour: blue\n", "bad.yml:8: colour: unknown key; known keys are systems"),
        (OWN.replace("4.8", "four"), "bad.yml:5: systems[0].kernel: expected a version such as '16.04', found 'four'"),
        (OWN + "seats: many\n", "bad.yml:8: seats: expected a whole number, found 'many'"),
        (OWN + "service_decides: maybe\n", "bad.yml:8: service_decides: expected true or false, found 'maybe'"),
        (OWN + "seats: -1\n", "bad.yml:8: seats: expected a whole number, found '-1'"),
        (
            OWN.replace("flavours:\n      - generic", "flavours: []"),
            "bad.yml:6: systems[0].flavours: expected a list with at least one flavour",
        ),
        (OWN.replace("- generic", "- ''"), "bad.yml:7: systems[0].flavours[0]: expected text, found ''"),
        (
            OWN.replace("architecture: amd64", "architecture: [amd64]"),
            "bad.yml:4: systems[0].architecture: expected text",
        ),
        (OWN.replace("    architecture: amd64\n", ""), "bad.yml:3: systems[0]: architecture is missing"),
    ],
)
def test_an_invalid_file_is_reported_with_its_line(text: str, message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_policy(text, "bad.yml")
    assert str(caught.value).startswith(f"the policy cannot be used: {message}")


def test_a_numeric_version_is_refused() -> None:
    row = {"release": 16.1, "architecture": "amd64", "kernel": "4.4", "flavours": ["generic"]}
    with pytest.raises(PolicyError, match=r"systems\[0\].release: YAML reads 16.1 as a number.*use quotes"):
        policy_from_mapping({"systems": [row]}, "policy")
