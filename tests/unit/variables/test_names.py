# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Names of variables that no playbook and no role has."""

from __future__ import annotations

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._variables.names import (
    misspelt_variables,
    unknown_variables,
)

KNOWN = ("livepatch_policy", "livepatch_seats", "livepatch_report_dir")
OF_ROLE = ("client_state", "client_seats", "client_record_dir")


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("livepatch_polcy", "; did you mean livepatch_policy?"),
        ("livepatch_seat", "; did you mean livepatch_seats?"),
        ("livepatch_reports_dir", "; did you mean livepatch_report_dir?"),
        ("livepatch_zzz", "; the prefix livepatch_ is reserved for the collection"),
    ],
)
def test_an_unknown_name_is_a_fault(name: str, end: str) -> None:
    [fault] = unknown_variables({name: None}, KNOWN)
    assert (fault.variable, fault.problem) == (name, f"there is no such variable{end}")


def test_other_prefixes_and_known_names_are_not() -> None:
    assert unknown_variables({"policy": None, "livepatch_policy": None, "vault_livepatch_token": "web-1"}, KNOWN) == []


def test_the_fault_names_the_host() -> None:
    [fault] = unknown_variables({"livepatch_polcy": "web-1"}, KNOWN)
    assert fault.host == "web-1"


@pytest.mark.parametrize(("name", "near"), [("client_sate", "client_state"), ("client_seat", "client_seats")])
def test_a_misspelt_role_variable_is_a_fault(name: str, near: str) -> None:
    [fault] = misspelt_variables([name], OF_ROLE, "client_")
    assert fault.problem.endswith(f"did you mean {near}?")


def test_variables_of_other_roles_are_not() -> None:
    assert misspelt_variables(["client_id", "client_seat_plan", "client_result", "state"], OF_ROLE, "client_") == []
