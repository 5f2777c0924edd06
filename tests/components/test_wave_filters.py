# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Filters on a large fleet: what tasks show of it has a limited size, and what plays select hosts with is complete."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.kernelops.livepatch.plugins.filter.enable_waves import FilterModule as Enabling
from ansible_collections.kernelops.livepatch.plugins.filter.has_seat import FilterModule as Seats
from ansible_collections.kernelops.livepatch.plugins.filter.upgrade_waves import FilterModule as Upgrades
from ansible_collections.kernelops.livepatch.plugins.module_utils._fleet.host_list import write_hosts

HOSTS = [f"web-{number:06}.example.com" for number in range(100_000)]
SHOWN = ("plan", "left_out", "not_selected", "not_checked", "not_listed")

pytestmark = pytest.mark.matrix


def checked(state: str, **look: t.Any) -> dict[str, t.Any]:
    record = {"assessment": {"state": state, "reasons": [{"message": "the kernel gets no patches any more"}]}}
    return {
        "livepatch_upgrade_check": {"record": record},
        "livepatch_upgrade_look": {"from": "4.4.0-1-generic", **look},
    }


def test_the_shown_plan_of_many_hosts_is_small() -> None:
    kinds = (
        checked("end_of_life"),
        checked("end_of_life") | {"drain_group": "down"},
        checked("stale", reasons=[{"id": "x"}]),
        checked("stale", failed=True, msg="the connection failed") | {"drain_group": "down"},
    )
    variables = {name: kinds[number % len(kinds)] for number, name in enumerate(HOSTS)}
    waves = Upgrades().filters()["upgrade_waves"](HOSTS, variables)
    assert waves["order"] == waves["by_state"] == HOSTS[:: len(kinds)]
    assert waves["sizes"] == [1] * len(waves["order"])
    assert len(json.dumps({key: waves[key] for key in SHOWN})) < 300_000
    for key in SHOWN[:4]:
        assert len(waves[key]) + waves["not_listed"][key] == len(HOSTS) / len(kinds), key


def test_the_shown_plan_of_few_hosts_is_complete() -> None:
    waves = Upgrades().filters()["upgrade_waves"](HOSTS[:3], dict.fromkeys(HOSTS[:3], checked("end_of_life")))
    assert (len(waves["plan"]), waves["not_listed"]) == (3, {})


def test_a_seat_is_found_in_list_and_file(tmp_path: Path) -> None:
    has_seat = Seats().filters()["has_seat"]
    write_hosts(tmp_path / "granted", ["web-3", "web-1"])
    assert has_seat({"granted": ["web-2"], "granted_file": None}, "web-2")
    assert not has_seat({"granted": ["web-2"], "granted_file": None}, "web-1")
    assert not has_seat({}, "web-1")
    plan = {"granted": ["web-2"], "granted_file": str(tmp_path / "granted")}
    assert [has_seat(plan, f"web-{number}") for number in range(5)] == [False, True, True, True, False]
    with pytest.raises(AnsibleFilterError, match="cannot be read: No such file or directory"):
        has_seat({**plan, "granted_file": str(tmp_path / "gone")}, "web-1")


def test_all_hosts_with_a_seat_are_enabled_in_their_order(tmp_path: Path) -> None:
    enable_waves = Enabling().filters()["enable_waves"]
    write_hosts(tmp_path / "granted", ["web-3", "web-1"])
    names = ["web-1", "web-2", "web-3"]
    variables: dict[str, t.Any] = {name: {} for name in names}
    plan = {"granted": ["web-3"], "granted_file": str(tmp_path / "granted")}
    assert enable_waves(names, variables, plan)["order"] == ["web-3", "web-1"]
    assert enable_waves(names, variables, {"granted": ["web-2"], "granted_file": None})["order"] == ["web-2"]
    assert enable_waves(names, variables, ["web-2", "web-1"])["order"] == ["web-2", "web-1"]
    with pytest.raises(AnsibleFilterError, match="cannot be read: No such file or directory"):
        enable_waves(names, variables, {**plan, "granted_file": str(tmp_path / "gone")})
