# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Faults of variables: their text, and the error that lists them."""

from __future__ import annotations

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._variables.faults import (
    Fault,
    failure,
    nearest,
    quoted,
    suggestion,
)


def test_the_error_has_one_line_for_each_fault() -> None:
    error = failure([Fault("a", "too large"), Fault("b", "unknown", "web-1")], "the guide")
    assert error.as_result()["msg"].splitlines() == [
        "No host was contacted, because of 2 faults in variables:",
        "- a: too large",
        "- b of web-1: unknown",
        "Correct them: the guide lists the variables.",
    ]


def test_one_fault_is_in_the_singular() -> None:
    assert "because of a fault in variables" in failure([Fault("a", "x")], "the guide").message


def test_a_long_list_is_cut() -> None:
    lines = failure([Fault(f"v{number}", "x") for number in range(60)], "the guide").message.splitlines()
    assert lines[-2:] == ["- v49: x", "- and 10 more"]


def test_control_characters_are_escaped() -> None:
    assert "\x1b" not in str(Fault("a\x1b[31m", "x", "web\n1"))
    assert "\n" not in str(Fault("a\nb", "x", "web\n1"))


def test_long_values_are_cut() -> None:
    assert len(quoted("x" * 500)) == 81
    assert quoted(["a"]) == "['a']"


def test_only_similar_words_are_suggested() -> None:
    assert suggestion("tabel", ["table", "json"]) == "; did you mean 'table'?"
    assert suggestion("xyz", ["table", "json"]) == ""
    assert nearest("sate", ["state"], cutoff=0.8) == "state"
    assert nearest("plan", ["state"], cutoff=0.8) is None


@pytest.mark.parametrize(
    "value",
    [
        "http://anna:s3cret@proxy",
        ["https://anna:s3cret@x/" + "y" * 90],
        {"a": "anna:s3cret@proxy"},
        "https://anna:" + "s3cret" * 20 + "@x",
    ],
)
def test_a_value_is_shown_without_passwords(value: object) -> None:
    assert "s3cret" not in quoted(value)
