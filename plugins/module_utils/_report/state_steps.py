# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The step that the state of a host asks for before its vulnerabilities can be closed.

A live patch of a host with a crash lock, or a kernel upgrade of a host that was tampered with, is not the next step.
"""

from __future__ import annotations

import collections.abc as c
import typing as t

from .._decisions.next_steps import limit
from .._record import Reason, Record
from .._vulnerabilities.exposure import NOT_CONFIRMED, Verdict

_BEFORE_ALL = ("no_answer", "tampered", "held_back", "failed", "unverified")
"""States whose problem comes first, whatever closes the vulnerability."""

_BEFORE_PATCH = ("stale", "applying", "unknown")
"""States in which no live patch can be applied yet."""

_UNKNOWN_BY_STATE = (NOT_CONFIRMED["id"], "no_current_record")
"""Reasons for an unknown status that the step of the state removes. Others are missing data."""


class StateStep(t.NamedTuple):
    """The state of hosts, and its step without the name of a host."""

    state: str
    step: str

    def precedes(self, verdict: Verdict) -> bool:
        """Return True if the step comes before that of a vulnerability with this evaluation."""
        if verdict.reason is not None:
            return verdict.reason["id"] in _UNKNOWN_BY_STATE
        return verdict.status == "open" and (self.state in _BEFORE_ALL or verdict.fix == "patch")


def step_of_state(host: str, state: str, reasons: c.Sequence[Reason]) -> StateStep | None:
    """Return the step of a host in this state; ``None`` if the step of each vulnerability is the right one."""
    remedy = reasons[0]["remedy"] if reasons else None
    if state not in (*_BEFORE_ALL, *_BEFORE_PATCH) or not remedy:
        return None
    # Hosts with the same step are one group, so it cannot have the name of one of them.
    return StateStep(state, remedy.replace(f" --limit {limit(host)}", ""))


def step_of_record(record: Record) -> StateStep | None:
    """Return the step of the state in a record."""
    return step_of_state(record["host"], record["assessment"]["state"], record["assessment"]["reasons"])
