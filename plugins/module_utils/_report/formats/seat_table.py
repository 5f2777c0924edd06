# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A seat plan as a table for the terminal."""

from __future__ import annotations

import collections
import typing as t

from ..._text import pad, shorten, visible, width

MOST = 200
"""The maximum number of hosts in the table; the plan itself names all."""

_HEADING = ("HOST", "SEAT", "WHY", "NEXT STEP")
_WIDEST_HOST = 32
_SEAT_WIDTH = 7
_GAP = "  "
_NARROWEST_TEXT = 36
_INDENT = "    "
# SGR parameters (ECMA-48): green has a seat, yellow needs attention.
_BOLD = "1"
_COLOURS = {"kept": "32", "granted": "32", "denied": "33"}


class _SeatRow(t.NamedTuple):
    host: str
    seat: str
    why: str
    next_step: str


def render(plan: t.Mapping[str, t.Any], *, columns: int, colour: bool = False) -> t.Iterator[str]:
    """Yield the lines of the table from the result of the module seat_plan.

    A seat is kept by a host that holds one already, or may hold one, and granted to one that does not.
    """
    rows = _rows(plan)
    host_width = min(_WIDEST_HOST, max(width(host) for host in ("HOST", *(row.host for row in rows))))
    room = columns - host_width - _SEAT_WIDTH - 2 * len(_GAP)
    beside = room >= 2 * _NARROWEST_TEXT + len(_GAP)
    why_width = (room - len(_GAP)) // 2 if beside else room
    for row in (_SeatRow(*_HEADING), *rows[:MOST]) if rows else ():
        seat = pad(row.seat, _SEAT_WIDTH)
        if colour:
            seat = _paint(seat, _COLOURS.get(row.seat, _BOLD))
        line = _GAP.join((pad(row.host, host_width), seat, pad(row.why, why_width)))
        if beside:
            line += _GAP + shorten(row.next_step, why_width)
        yield line.rstrip() + "\n"
        if not beside and row.seat == "denied" and row.next_step:
            yield _INDENT + shorten(row.next_step, columns - len(_INDENT)) + "\n"
    if rows[MOST:]:
        yield f"and {len(rows) - MOST} more hosts\n"
    if rows:
        yield "\n"
    yield _totals(plan, rows)


def _rows(plan: t.Mapping[str, t.Any]) -> list[_SeatRow]:
    held = set(plan["in_use"])
    granted = [
        _SeatRow(visible(host), "kept", "holds a seat already", "")
        if host in held
        else _SeatRow(visible(host), "granted", "a free seat", "")
        for host in plan["granted"]
    ]
    denied = [
        _SeatRow(visible(denial["host"]), "denied", visible(denial["message"]), visible(denial["remedy"] or ""))
        for denial in plan["denied"]
    ]
    return granted + denied


def _totals(plan: t.Mapping[str, t.Any], rows: list[_SeatRow]) -> str:
    counts = collections.Counter(row.seat for row in rows)
    words = ", ".join(f"{counts[seat]} {seat}" for seat in _COLOURS if counts[seat])
    return f"{plan['seats']} seats, {plan['free']} left{': ' if words else ''}{words}.\n"


def _paint(text: str, parameter: str) -> str:
    return f"\x1b[{parameter}m{text}\x1b[0m"
