# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Groups of hosts: which ones a host has, and which ones a report shows."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._fleet.groups import (
    MOST_NAMES,
    MOST_VARIABLES,
    host_groups,
    name_fault,
    shown_keys,
)

INVENTORY = ("all", "production", "staging", "web")


def _groups(names: list[str], of_host: list[str], **variables: object) -> dict[str, str]:
    return host_groups(names, of_host, INVENTORY, variables.get)


def test_the_first_group_of_the_inventory_counts() -> None:
    assert _groups(["staging", "production"], ["production", "web"]) == {"group": "production"}
    assert _groups(["web", "production"], ["production", "web"]) == {"group": "web"}
    assert _groups(["staging"], ["production"]) == {}


def test_each_variable_is_a_key() -> None:
    found = _groups(["region", "production", "rack"], ["production"], region="eu", rack=7, owner="x")
    assert found == {"region": "eu", "group": "production", "rack": "7"}


@pytest.mark.parametrize("value", [None, "", " ", ["a"], {"a": 1}])
def test_a_value_that_is_no_text_is_left_out(value: object) -> None:
    assert _groups(["region"], [], region=value) == {}


def test_names_and_values_are_bounded() -> None:
    variables: dict[str, t.Any] = {f"v{number}": "x" * 5000 for number in range(MOST_NAMES)}
    found = _groups([*variables], [], **variables)
    assert len(found) == MOST_VARIABLES
    assert all(len(value) <= 100 for value in found.values())


def test_unusable_names_are_named() -> None:
    assert name_fault(["production", "my-group"]) is None
    assert name_fault(["a"] * 51) == "it has 51 names, and 50 are possible"
    assert name_fault([" "]) == "' ' is neither a group of the inventory nor a host variable"


def test_a_report_shows_recorded_keys_in_order() -> None:
    recorded = [{"region": "eu", "group": "production"}, {"region": "us", "owner": "x"}, {}]
    assert shown_keys(["region", "staging", "production"], recorded) == (["region", "group"], ["staging"])
    assert shown_keys([], recorded) == ([], [])
    assert shown_keys(["regoin"], recorded) == ([], ["regoin"])
