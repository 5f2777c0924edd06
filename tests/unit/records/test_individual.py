# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Tests of splitting sections into their common text and their individual values."""

from __future__ import annotations

import json

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._records.individual import split_section
from tests.samples.records import make_record


def _section(key: str, **places: object) -> str:
    return f'"{key}": {json.dumps(dict(make_record(**places))[key])}'


def test_similar_hosts_have_the_same_common_text() -> None:
    one = split_section(_section("system"))
    other = split_section(_section("system", system__machine_id_sha256=None, system__kernel__booted_at="2026-01-02"))
    assert one is not None
    assert other is not None
    assert one.common == other.common
    assert one.individual == {"machine_id_sha256": "5f" * 32, "booted_at": "2026-01-01T00:00:00Z"}
    assert other.individual == {"machine_id_sha256": None, "booted_at": "2026-01-02"}


def test_other_differences_are_in_the_common_text() -> None:
    one, other = (split_section(_section("client", client__tier=tier)) for tier in ("free", "stable"))
    assert one is not None
    assert other is not None
    assert one.common != other.common
    assert one.individual == other.individual == {"last_check": "2026-01-10T05:31:02Z"}


@pytest.mark.parametrize(
    "text",
    [
        _section("patch"),
        _section("client", client__server='a \\ "last_check": "b"'),
        _section("client", client__server="last_check"),
        _section("client").replace(": ", ":"),
        _section("client").replace("last_check", "checked"),
        _section("client").replace('"2026-01-10T05:31:02Z"', "5"),
        _section("client").replace("05:31", "05\n31"),
        _section("client").replace("{", '{"last_check": null, '),
        _section("system").replace("booted_at", "last_check"),
        '"client": {"last_check": ',
        "",
    ],
)
def test_doubtful_sections_are_not_split(text: str) -> None:
    assert split_section(text) is None
