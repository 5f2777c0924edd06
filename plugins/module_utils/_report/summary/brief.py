# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The report in at most 20 lines, for mail and chat."""

from __future__ import annotations

import collections.abc as c
from pathlib import Path

from ..._text import shorten, visible
from ..changes.wording import before, short
from ..report import URGENCY, Report
from .actions import Action
from .protection import protection_of

_MOST_ACTIONS = 8
_MOST_RULES = 10
_NAMED_HOSTS = 3
_LONGEST_HEADING = 120


def subject(report: Report) -> str:
    """Return the report in one line, with its title."""
    found = protection_of(report)
    changes = report.changes
    changed = short(changes) if changes else ""
    parts = [f"{found.protected} of {found.eligible} protected", *([changed] if changed else [])]
    return f"{visible(report.context.title)}: {'; '.join(parts)}"


def lines(report: Report, page: Path | None) -> c.Iterator[str]:
    """Yield the lines. The first one has the time of the report. `page` is the file with the whole report."""
    yield report.context.heading(report.generated_at)
    yield _protection(report)
    states = report.states()
    found = ", ".join(f"{states[state]} {state}" for state in ("protected", *URGENCY[:-1]) if states[state])
    yield f"Hosts: {found}."
    if report.context.limit is not None:
        yield f"Limited to {visible(report.context.limit)}."
    if report.changes is not None:
        yield f"Since {report.changes.since}: {short(report.changes) or 'nothing changed'}."
        yield from (f"Note: {visible(note)}." for note in report.changes.notes[:2])
    yield from _rules(report)
    yield from _to_do(report)
    if page is not None:
        yield f"Report: {visible(page.as_uri())}"


def _protection(report: Report) -> str:
    text = protection_of(report).sentence()
    return text if report.changes is None else f"{text} Before: {before(report.changes)}."


def _rules(report: Report) -> c.Iterator[str]:
    broken = [f"{rule} ({found})" for rule, found in report.findings_by_rule().items() if found]
    if broken:
        more = f" and {len(broken) - _MOST_RULES} more" if broken[_MOST_RULES:] else ""
        yield f"Failed rules: {', '.join(broken[:_MOST_RULES])}{more}."


def _to_do(report: Report) -> c.Iterator[str]:
    actions = report.actions
    if actions:
        yield "To do:"
    yield from map(_action, actions[:_MOST_ACTIONS])
    if actions[_MOST_ACTIONS:]:
        rest = sum(len(action.hosts) for action in actions[_MOST_ACTIONS:])
        yield f"- and {len(actions) - _MOST_ACTIONS} more steps for {rest} hosts"


def _action(action: Action) -> str:
    hosts = action.hosts
    more = f" and {len(hosts) - _NAMED_HOSTS} more" if hosts[_NAMED_HOSTS:] else ""
    named = f"{', '.join(map(visible, hosts[:_NAMED_HOSTS]))}{more}"
    return f"- {shorten(action.heading(), _LONGEST_HEADING)} [{named}]"
