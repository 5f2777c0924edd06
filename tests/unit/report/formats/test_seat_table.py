# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The plan of seats as a table."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._report.formats.seat_table import MOST, render
from ansible_collections.kernelops.livepatch.plugins.module_utils._text import width

REMEDY = "disable a host that can do without, or get more seats"
PLAN: dict[str, t.Any] = {
    "seats": 2,
    "free": 0,
    "granted": ["web1", "db1"],
    "denied": [{"host": "web2", "id": "seats_used_up", "message": "all 2 seats are taken", "remedy": REMEDY}],
    "in_use": ["web1", "elsewhere"],
}


def text(columns: int = 140, colour: bool = False, **parts: t.Any) -> str:
    return "".join(render({**PLAN, **parts}, columns=columns, colour=colour))


def test_each_host_is_a_line() -> None:
    why = 61
    assert text().splitlines() == [
        f"HOST  SEAT     {'WHY':{why}}  NEXT STEP",
        "web1  kept     holds a seat already",
        "db1   granted  a free seat",
        f"web2  denied   {'all 2 seats are taken':{why}}  {REMEDY}",
        "",
        "2 seats, 0 left: 1 kept, 1 granted, 1 denied.",
    ]


def test_a_narrow_terminal_wraps_the_next_step() -> None:
    lines = text(80).splitlines()
    assert lines[3:5] == ["web2  denied   all 2 seats are taken", f"    {REMEDY}"]


@pytest.mark.parametrize("columns", [80, 100, 180])
def test_no_line_is_wider_than_the_terminal(columns: int) -> None:
    denial = {"host": "漢字" * 40, "id": "cloned", "message": "x" * 300, "remedy": "y" * 300}
    lines = text(columns, denied=[denial] * 3).splitlines()
    assert max(map(width, lines)) <= columns
    assert "…" in lines[3]


def test_a_plan_without_requests_is_shown() -> None:
    assert text(granted=[], denied=[]).splitlines() == ["2 seats, 0 left."]


def test_a_large_fleet_is_shortened() -> None:
    denied = [{**PLAN["denied"][0], "host": f"h{number}"} for number in range(MOST + 40)]
    lines = text(denied=denied).splitlines()
    assert lines[-3:] == ["and 42 more hosts", "", "2 seats, 0 left: 1 kept, 1 granted, 240 denied."]
    assert len(lines) == 1 + MOST + 3


def test_hostile_text_is_harmless() -> None:
    hostile = {"host": "a\x1b[2J", "id": "cloned", "message": "b\x1b]0;t\x07\n\u202e", "remedy": None}
    shown = text(denied=[hostile])
    assert not set("\x1b\x07\u202e") & set(shown)
    assert "a\\x1b[2J" in shown


def test_colours_apply_only_to_the_state() -> None:
    assert "\x1b[33mdenied \x1b[0m" in text(colour=True)
    assert "\x1b[32mkept   \x1b[0m" in text(colour=True)
