# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Count the progress of a run over a fleet, and describe it in one line.

This module uses no clock and no terminal: times are seconds of a monotonic clock, and the result is text.
"""

from __future__ import annotations

import collections
import dataclasses
import math
import re
import typing as t

from .._record import STATES
from .._text import shorten, visible, width
from .formats.table import COLOURS
from .report import URGENCY

NO_ANSWER = "no_answer"
NO_RECORD = "no record"
OTHER = "other"
OK = "ok"
FAILED = "failed"
SKIPPED = "skipped"

BAR = ("━", "─")
"""The characters of a progress bar: done, and not done. Used where the terminal has them."""

# Good outcomes come first because most hosts have them, then outcomes that need attention.
_ORDER: tuple[str, ...] = ("protected", OK, NO_RECORD, *URGENCY[:-1], OTHER, SKIPPED)
_WORD_COLOURS = {str(state): colour for state, colour in COLOURS.items()}
_WORD_COLOURS |= {OK: "32", NO_RECORD: "31", OTHER: "35", SKIPPED: "36"}

_SHOWN_AFTER = 0.5  # seconds of a task without a status line
_SILENCE = 5.0  # seconds without a result after which the line names the hosts that have not answered
_NAMED = 2
_FEWEST_RESULTS = 3  # results needed to estimate the remaining time

_FEW_HOSTS = 20
_MILESTONES = 4  # quarters of all hosts
_MILESTONE_GAP = 2.0  # seconds
_FIRST_INTERVAL = 30.0  # seconds
_MOST_MILESTONES = 12

_MOST_TASKS = 20
_SGR = re.compile("\x1b\\[[0-9]+m")
_GAP = "  "
_NAME_COLUMNS = 24


class Style(t.NamedTuple):
    """The capabilities of the terminal. `columns` is the maximum width of a line."""

    columns: int
    colour: bool = False
    unicode: bool = True


@dataclasses.dataclass
class TaskProgress:
    """One task over the hosts of a play. `running` maps each host that works on it to the time it started."""

    name: str
    started_at: float
    of_some_hosts: bool
    seen: set[str] = dataclasses.field(default_factory=set)
    running: dict[str, float] = dataclasses.field(default_factory=dict)
    outcomes: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    done: int = 0
    last_result_at: float = 0.0
    logged: int = 0
    logged_at: float = 0.0
    logged_quarter: int = 0
    interval: float = _FIRST_INTERVAL


class PlayProgress:
    """The tasks of one play over `hosts`. Hosts in `gone` failed in an earlier task and are not expected."""

    def __init__(self, hosts: t.Iterable[str], gone: t.Iterable[str] = ()) -> None:
        self._hosts = frozenset(hosts)
        self.gone = set(gone)
        self._tasks: dict[str, TaskProgress] = {}

    def start(self, task_id: str, name: str, host: str, now: float, *, of_some_hosts: bool = False) -> None:
        """Count that a host starts a task. `of_some_hosts` is for handlers, whose number of hosts is unknown."""
        task = self._tasks.get(task_id)
        if task is None:
            self._forget()
            task = self._tasks[task_id] = TaskProgress(name, now, of_some_hosts, last_result_at=now, logged_at=now)
        self.gone.discard(host)
        task.seen.add(host)
        task.running[host] = now

    def finish(self, task_id: str, host: str, outcome: str, now: float, *, gone: bool = False) -> None:
        """Count that a host finished a task. With `gone`, it takes no further part in the play."""
        if gone:
            self.gone.add(host)
        task = self._tasks.get(task_id)
        if task is not None and task.running.pop(host, None) is not None:
            task.outcomes[outcome] += 1
            task.done += 1
            task.last_result_at = now

    def total(self, task: TaskProgress) -> int:
        """Return the number of hosts that have started a task or are still expected to."""
        if task.of_some_hosts:
            return len(task.seen)
        return max(len(task.seen), len(self._hosts) - len(self.gone - task.seen))

    def current(self) -> TaskProgress | None:
        """Return the task on which most hosts work now, if more than one host has started it."""
        tasks = (task for task in self._tasks.values() if task.running and len(task.seen) > 1)
        return max(tasks, key=lambda task: len(task.running), default=None)

    def line(self, now: float, style: Style) -> str:
        """Return the line for a terminal, or an empty text if there is nothing to show yet."""
        task = self.current()
        if task is None or now - task.started_at < _SHOWN_AFTER:
            return ""
        return status_line_text(task, self.total(task), now, style)

    def milestone(self, task_id: str, now: float) -> str:
        """Return a line for a log if enough has changed since the last one, else an empty text. Call after `finish`."""
        task = self._tasks.get(task_id)
        if task is None:
            return ""
        total, since = self.total(task), now - task.logged_at
        quarter = task.done * _MILESTONES // total
        if task.done >= total:
            due = task.logged > 0 or (total >= _FEW_HOSTS and since >= _MILESTONE_GAP)
        elif task.logged >= _MOST_MILESTONES - 1:
            due = False
        elif since >= task.interval:
            # A long run is logged at growing intervals.
            task.interval *= 2
            due = True
        else:
            due = quarter > task.logged_quarter and total >= _FEW_HOSTS and since >= _MILESTONE_GAP
        if not due:
            return ""
        task.logged, task.logged_at, task.logged_quarter = task.logged + 1, now, quarter
        return milestone_line(task, total, now)

    def _forget(self) -> None:
        """Drop tasks that no host will start any more, and other idle tasks when there are too many."""
        idle = [key for key, task in self._tasks.items() if not task.running]
        for key in idle:
            task = self._tasks[key]
            if task.done >= self.total(task) or len(self._tasks) >= _MOST_TASKS:
                del self._tasks[key]


def outcome_of_record(result: t.Mapping[str, t.Any]) -> str:
    """Return the state in a result of ``patch_info``; an unknown state counts as `OTHER`."""
    try:
        found = result["record"]["assessment"]["state"] if "record" in result else result["state"]
    except (KeyError, TypeError):
        return OTHER
    return next((state for state in STATES if state == found), OTHER)


def status_line_text(task: TaskProgress, total: int, now: float, style: Style) -> str:
    """Describe a task in at most ``style.columns``: its name and a bar if there is room, hosts, outcomes, time."""
    digits = len(str(total))
    left = [f"{task.done:>{digits}}/{total}"]
    if style.columns >= 64:
        left.append(_bar(task.done, total, 10 if style.columns < 100 else 20, style))
    if style.columns >= 110:
        left.insert(0, shorten(visible(task.name), _NAME_COLUMNS))
    right = _clock(task, total, now)
    taken = sum(_columns(part) + len(_GAP) for part in left)
    if taken + width(right) > style.columns:
        right = ""
    room = style.columns - taken - (len(_GAP) + width(right) if right else 0)
    middle = _outcomes(task.outcomes, room, style)
    return _GAP.join(part for part in (*left, middle, right) if part)


def milestone_line(task: TaskProgress, total: int, now: float) -> str:
    """Describe a task in a line for a log."""
    outcomes = ", ".join(f"{count} {word}" for word, count in _sorted(task.outcomes))
    name = visible(task.name)
    if task.done >= total:
        return f"{name}: {total} hosts in {duration(now - task.started_at)}: {outcomes}"
    clock = _clock(task, total, now)
    percent = task.done * 100 // total
    return f"{name}: {task.done} of {total} hosts ({percent} %): {outcomes}" + (f"; {clock}" if clock else "")


def time_left(done: int, total: int, elapsed: float) -> float | None:
    """Estimate the seconds until all hosts are done from the rate so far; None if it is too early."""
    if done < _FEWEST_RESULTS or elapsed < 1 or done >= total:
        return None
    return (total - done) * elapsed / done


def duration(seconds: float) -> str:
    """Format seconds, rounded up: ``0:07``, ``12:30``, ``1:02:03``."""
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _clock(task: TaskProgress, total: int, now: float) -> str:
    silence = now - task.last_result_at
    if task.running and silence >= _SILENCE:
        # The rate does not predict when a host answers that blocks all others.
        names = ", ".join(visible(host) for host in list(task.running)[:_NAMED])
        more = f" and {len(task.running) - _NAMED} more" if len(task.running) > _NAMED else ""
        return f"{duration(silence)} waiting for {names}{more}"
    left = time_left(task.done, total, now - task.started_at)
    return "" if left is None else f"{duration(left)} left"


def _sorted(outcomes: t.Mapping[str, int]) -> list[tuple[str, int]]:
    return [(word, outcomes[word]) for word in _ORDER if outcomes.get(word)]


def _outcomes(outcomes: t.Mapping[str, int], room: int, style: Style) -> str:
    """Return as many outcomes as fit, and the number of hosts that are not shown."""
    shown: list[str] = []
    not_shown = sum(outcomes.values())
    for word, count in _sorted(outcomes):
        text = f"{count} {word}"
        rest = not_shown - count
        if len(text) + (len(_more(rest)) + len(_GAP) if rest else 0) > room:
            return _GAP.join([*shown, _more(not_shown)]) if len(_more(not_shown)) <= room else ""
        shown.append(_paint(text, _WORD_COLOURS[word]) if style.colour else text)
        room -= len(text) + len(_GAP)
        not_shown = rest
    return _GAP.join(shown)


def _more(hosts: int) -> str:
    return f"{hosts} more"


def _bar(done: int, total: int, columns: int, style: Style) -> str:
    full, empty = BAR if style.unicode else ("#", ".")
    filled = done * columns // total
    parts = full * filled, empty * (columns - filled)
    return "".join(map(_paint, parts, ("32", "2"))) if style.colour else "".join(parts)


def _columns(text: str) -> int:
    """Return the width of a part of a line without its colours."""
    return width(_SGR.sub("", text))


def _paint(text: str, parameter: str) -> str:
    return f"\x1b[{parameter}m{text}\x1b[0m" if text else ""
