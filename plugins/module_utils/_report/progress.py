# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""How far a run over a fleet has come: what is counted, and how it is told in one line.

Nothing here knows a clock or a terminal: times are seconds of any clock that never goes back, and what is told is text.
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

UNREACHABLE = "unreachable"
NO_RECORD = "no record"
OTHER = "other"
OK = "ok"
FAILED = "failed"
SKIPPED = "skipped"

BAR = ("━", "─")
"""What a bar is drawn with, done and not yet, where the terminal has it."""

# What is well comes first, for it is what most hosts are; then what needs a person.
_ORDER: tuple[str, ...] = ("protected", OK, NO_RECORD, *URGENCY[:-1], OTHER, SKIPPED)
_WORD_COLOURS = {str(state): colour for state, colour in COLOURS.items()}
_WORD_COLOURS |= {OK: "32", NO_RECORD: "31", OTHER: "35", SKIPPED: "36"}

_PATIENCE = 0.5  # seconds before a task is worth a line
_SILENCE = 5.0  # seconds without a result after which the hosts are named that everything waits for
_NAMED = 2
_FEWEST_RESULTS = 3  # for a guess of the time that is left

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
    """What the terminal can show. `columns` is the most that a line may take."""

    columns: int
    colour: bool = False
    unicode: bool = True


@dataclasses.dataclass
class TaskProgress:
    """One task over the hosts of a play. `running` holds the hosts that have begun and not ended, by their begin."""

    name: str
    started_at: float
    of_some_hosts: bool
    seen: set[str] = dataclasses.field(default_factory=set)
    running: dict[str, float] = dataclasses.field(default_factory=dict)
    outcomes: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    done: int = 0
    last_result_at: float = 0.0
    told: int = 0
    told_at: float = 0.0
    told_quarter: int = 0
    interval: float = _FIRST_INTERVAL


class PlayProgress:
    """The tasks of one play over `hosts`. A host that is `gone` has failed before and is not expected."""

    def __init__(self, hosts: t.Iterable[str], gone: t.Iterable[str] = ()) -> None:
        self._hosts = frozenset(hosts)
        self.gone = set(gone)
        self._tasks: dict[str, TaskProgress] = {}

    def start(self, task_id: str, name: str, host: str, now: float, *, of_some_hosts: bool = False) -> None:
        """A host begins with a task. `of_some_hosts` is for handlers: it is not known how many hosts they meet."""
        task = self._tasks.get(task_id)
        if task is None:
            self._forget()
            task = self._tasks[task_id] = TaskProgress(name, now, of_some_hosts, last_result_at=now, told_at=now)
        self.gone.discard(host)
        task.seen.add(host)
        task.running[host] = now

    def finish(self, task_id: str, host: str, outcome: str, now: float, *, gone: bool = False) -> None:
        """A host has ended a task, and takes no further part in the play when it is `gone`."""
        if gone:
            self.gone.add(host)
        task = self._tasks.get(task_id)
        if task is not None and task.running.pop(host, None) is not None:
            task.outcomes[outcome] += 1
            task.done += 1
            task.last_result_at = now

    def total(self, task: TaskProgress) -> int:
        """Count the hosts that a task has met, or that it is still expected to meet."""
        if task.of_some_hosts:
            return len(task.seen)
        return max(len(task.seen), len(self._hosts) - len(self.gone - task.seen))

    def current(self) -> TaskProgress | None:
        """The task that most hosts are at now, where more than one host has begun it."""
        tasks = (task for task in self._tasks.values() if task.running and len(task.seen) > 1)
        return max(tasks, key=lambda task: len(task.running), default=None)

    def line(self, now: float, style: Style) -> str:
        """One line for a terminal, or nothing when there is nothing worth it."""
        task = self.current()
        if task is None or now - task.started_at < _PATIENCE:
            return ""
        return status_line_text(task, self.total(task), now, style)

    def milestone(self, task_id: str, now: float) -> str:
        """One line for a log when enough has happened since the last one, else nothing. To be asked after `finish`."""
        task = self._tasks.get(task_id)
        if task is None:
            return ""
        total, since = self.total(task), now - task.told_at
        quarter = task.done * _MILESTONES // total
        if task.done >= total:
            due = task.told > 0 or (total >= _FEW_HOSTS and since >= _MILESTONE_GAP)
        elif task.told >= _MOST_MILESTONES - 1:
            due = False
        elif since >= task.interval:
            # A run of hours is told of less and less often.
            task.interval *= 2
            due = True
        else:
            due = quarter > task.told_quarter and total >= _FEW_HOSTS and since >= _MILESTONE_GAP
        if not due:
            return ""
        task.told, task.told_at, task.told_quarter = task.told + 1, now, quarter
        return milestone_line(task, total, now)

    def _forget(self) -> None:
        """Drop what no host will come to any more, and more than that when there is too much of it."""
        idle = [key for key, task in self._tasks.items() if not task.running]
        for key in idle:
            task = self._tasks[key]
            if task.done >= self.total(task) or len(self._tasks) >= _MOST_TASKS:
                del self._tasks[key]


def outcome_of_record(result: t.Mapping[str, t.Any]) -> str:
    """The state in a result of ``patch_info``; a word that is no state counts as `OTHER`."""
    try:
        said = result["record"]["assessment"]["state"]
    except (KeyError, TypeError):
        return OTHER
    return next((state for state in STATES if state == said), OTHER)


def status_line_text(task: TaskProgress, total: int, now: float, style: Style) -> str:
    """Tell of a task in at most ``style.columns``: its name and a bar where there is room, hosts, outcomes, time."""
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
    """Tell of a task in a log."""
    outcomes = ", ".join(f"{count} {word}" for word, count in _sorted(task.outcomes))
    name = visible(task.name)
    if task.done >= total:
        return f"{name}: {total} hosts in {duration(now - task.started_at)}: {outcomes}"
    clock = _clock(task, total, now)
    percent = task.done * 100 // total
    return f"{name}: {task.done} of {total} hosts ({percent} %): {outcomes}" + (f"; {clock}" if clock else "")


def time_left(done: int, total: int, elapsed: float) -> float | None:
    """Guess the seconds until all are done, from the rate so far; too early, there is no guess."""
    if done < _FEWEST_RESULTS or elapsed < 1 or done >= total:
        return None
    return (total - done) * elapsed / done


def duration(seconds: float) -> str:
    """Write a time as on a clock: ``0:07``, ``12:30``, ``1:02:03``. Begun seconds count."""
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _clock(task: TaskProgress, total: int, now: float) -> str:
    silence = now - task.last_result_at
    if task.running and silence >= _SILENCE:
        # No rate tells when a host will answer that has kept all others waiting.
        names = ", ".join(visible(host) for host in list(task.running)[:_NAMED])
        more = f" and {len(task.running) - _NAMED} more" if len(task.running) > _NAMED else ""
        return f"{duration(silence)} waiting for {names}{more}"
    left = time_left(task.done, total, now - task.started_at)
    return "" if left is None else f"{duration(left)} left"


def _sorted(outcomes: t.Mapping[str, int]) -> list[tuple[str, int]]:
    return [(word, outcomes[word]) for word in _ORDER if outcomes.get(word)]


def _outcomes(outcomes: t.Mapping[str, int], room: int, style: Style) -> str:
    """As many outcomes as there is room for, and how many hosts are not told of."""
    shown: list[str] = []
    untold = sum(outcomes.values())
    for word, count in _sorted(outcomes):
        text = f"{count} {word}"
        rest = untold - count
        if len(text) + (len(_more(rest)) + len(_GAP) if rest else 0) > room:
            return _GAP.join([*shown, _more(untold)]) if len(_more(untold)) <= room else ""
        shown.append(_paint(text, _WORD_COLOURS[word]) if style.colour else text)
        room -= len(text) + len(_GAP)
        untold = rest
    return _GAP.join(shown)


def _more(hosts: int) -> str:
    return f"{hosts} more"


def _bar(done: int, total: int, columns: int, style: Style) -> str:
    full, empty = BAR if style.unicode else ("#", ".")
    filled = done * columns // total
    parts = full * filled, empty * (columns - filled)
    return "".join(map(_paint, parts, ("32", "2"))) if style.colour else "".join(parts)


def _columns(text: str) -> int:
    """Columns of a part of a line, colours left out."""
    return width(_SGR.sub("", text))


def _paint(text: str, parameter: str) -> str:
    return f"\x1b[{parameter}m{text}\x1b[0m" if text else ""
