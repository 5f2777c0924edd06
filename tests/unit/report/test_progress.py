# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The progress of a run: the counts, and the lines that show them."""

from __future__ import annotations

import re

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._record import STATES
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.progress import (
    PlayProgress,
    Style,
    duration,
    outcome_of_record,
    time_left,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._text import width
from tests.samples.records import make_record
from tests.samples.reports import HOSTILE

TASK = "task-1"
WIDE = Style(200)
SGR = re.compile(r"\x1b\[[0-9]+m")


def a_run(hosts: int, done: int, outcome: str = "protected", *, seconds: float = 10, begun: int = 0) -> PlayProgress:
    """Return a play with finished hosts, spread evenly over the seconds, and with others that started at 0."""
    play = PlayProgress(names(hosts))
    for host in names(hosts)[: done + begun]:
        play.start(TASK, "Look", host, 0)
    for number, host in enumerate(names(hosts)[:done], 1):
        play.finish(TASK, host, outcome, seconds * number / done)
    return play


def names(hosts: int) -> list[str]:
    return [f"web{number}" for number in range(hosts)]


@pytest.mark.parametrize("state", STATES)
def test_a_result_is_counted_by_its_state(state: str) -> None:
    assert outcome_of_record({"record": {"assessment": {"state": state}}}) == state
    assert outcome_of_record({"state": state, "record_file": "records/web1.json"}) == state


@pytest.mark.parametrize(
    "result",
    [
        {},
        {"record": None},
        {"record": {"assessment": []}},
        {"censored": "hidden"},
        *({"record": {"assessment": {"state": word}}} for word in (*HOSTILE, None, 7, ["protected"], {})),
    ],
)
def test_unknown_states_count_as_other(result: dict[str, object]) -> None:
    assert outcome_of_record(result) == "other"


def test_a_real_record_is_counted() -> None:
    assert outcome_of_record({"record": make_record("web1", "stale"), "changed": False}) == "stale"


def test_the_line_shows_task_hosts_outcomes_time() -> None:
    play = a_run(60, 30, begun=5)
    assert play.line(10, WIDE) == f"Look  30/60  {'━' * 10}{'─' * 10}  30 protected  0:10 left"
    assert play.line(10, WIDE._replace(unicode=False)) == f"Look  30/60  {'#' * 10}{'.' * 10}  30 protected  0:10 left"


def test_a_narrow_terminal_keeps_hosts_and_time_longest() -> None:
    play = a_run(60, 30, begun=5)
    lines = [play.line(10, Style(columns)) for columns in (120, 80, 40, 20, 8)]
    assert lines == [
        f"Look  30/60  {'━' * 10}{'─' * 10}  30 protected  0:10 left",
        f"30/60  {'━' * 5}{'─' * 5}  30 protected  0:10 left",
        "30/60  30 protected  0:10 left",
        "30/60  0:10 left",
        "30/60",
    ]


def test_outcomes_without_space_are_summed() -> None:
    play = PlayProgress(names(100))
    outcomes = ["protected"] * 4 + ["stale"] * 3 + ["disabled"] * 2 + ["unknown"]
    for host, outcome in zip(names(100), outcomes, strict=False):
        play.start(TASK, "Look", host, 0)
        play.finish(TASK, host, outcome, 5)
    play.start(TASK, "Look", "web50", 5)
    assert [play.line(5, Style(columns)) for columns in (63, 50, 40, 30)] == [
        " 10/100  4 protected  2 disabled  3 stale  1 unknown  0:45 left",
        " 10/100  4 protected  6 more  0:45 left",
        " 10/100  4 protected  6 more  0:45 left",
        " 10/100  10 more  0:45 left",
    ]


@pytest.mark.parametrize("columns", range(5, 160, 3))
@pytest.mark.parametrize("colour", [False, True])
def test_no_line_is_wider_than_its_terminal(columns: int, colour: bool) -> None:
    hosts = [*names(30), *HOSTILE]
    play = PlayProgress(hosts)
    for number, host in enumerate(hosts):
        play.start(TASK, "漢字" * 40, host, 0)
        if number < 20:
            play.finish(TASK, host, STATES[number % len(STATES)], 1)
    for now in (2, 3 * 3600):
        line = play.line(now, Style(columns, colour=colour))
        assert width(SGR.sub("", line)) <= columns, line


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_names_are_inert(hostile: str) -> None:
    play = PlayProgress([hostile, "web1"])
    for host in (hostile, "web1"):
        play.start(TASK, hostile, host, 0)
    line = play.line(60, Style(100_000, colour=False))
    assert line.isprintable()
    assert play.milestone(TASK, 60).isprintable()


def test_only_colours_are_added_to_a_coloured_line() -> None:
    play = a_run(60, 30, begun=5)
    coloured = play.line(10, WIDE._replace(colour=True))
    assert "\x1b[32m30 protected\x1b[0m" in coloured
    assert SGR.sub("", coloured) == play.line(10, WIDE)


def test_a_new_task_has_no_line() -> None:
    play = a_run(60, 0, begun=5)
    assert play.line(0.3, WIDE) == ""
    assert play.line(0.6, WIDE).startswith("Look   0/60")


def test_a_task_of_one_host_has_no_line() -> None:
    play = a_run(60, 0, begun=1)
    assert play.line(30, WIDE) == ""


def test_a_finished_task_has_no_line() -> None:
    assert a_run(5, 5).line(10, WIDE) == ""


def test_a_waiting_line_names_missing_hosts() -> None:
    play = a_run(60, 55, begun=5)
    assert play.line(14, WIDE).endswith("55 protected  0:02 left")
    assert play.line(17, WIDE).endswith("55 protected  0:07 waiting for web55, web56 and 3 more")


def test_failed_hosts_are_not_expected() -> None:
    play = PlayProgress(names(10))
    for host in names(10):
        play.start("a", "First", host, 0)
        play.finish("a", host, "failed" if host in ("web0", "web1") else "ok", 1, gone=host in ("web0", "web1"))
    for host in ("web2", "web3"):
        play.start("b", "Second", host, 1)
    assert play.line(3, WIDE).startswith("Second  0/8")
    # The rescue of a block restores one of them.
    play.start("b", "Second", "web0", 2)
    assert play.line(3, WIDE).startswith("Second  0/9")


def test_the_next_play_ignores_failed_hosts() -> None:
    first = a_run(10, 0, begun=2)
    first.finish(TASK, "web0", "no_answer", 1, gone=True)
    second = PlayProgress(names(10), first.gone)
    for host in ("web1", "web2"):
        second.start(TASK, "Look", host, 2)
    assert second.line(4, WIDE).startswith("Look  0/9")


def test_a_handler_counts_its_hosts() -> None:
    play = PlayProgress(names(50))
    for host in ("web1", "web2", "web3"):
        play.start(TASK, "Restart", host, 0, of_some_hosts=True)
    play.finish(TASK, "web1", "ok", 1)
    assert play.line(2, WIDE).startswith("Restart  1/3")


def test_the_task_with_most_hosts_is_shown() -> None:
    play = PlayProgress(names(10))
    for host in names(10)[:6]:
        play.start("a", "First", host, 0)
    for host in names(10)[:4]:
        play.finish("a", host, "ok", 1)
        play.start("b", "Second", host, 1)
    assert play.line(2, WIDE).startswith("Second   0/10")


def test_a_result_without_start_is_not_counted() -> None:
    play = a_run(10, 2, begun=2)
    play.finish(TASK, "web0", "protected", 11)
    play.finish("other", "web0", "protected", 11)
    assert play.line(12, WIDE).startswith("Look   2/10")


def test_finished_tasks_are_dropped() -> None:
    play = PlayProgress(names(3))
    for number in range(500):
        play.start(str(number), "Rescue", "web0", number)
        play.finish(str(number), "web0", "ok", number)
    assert len([number for number in range(500) if play.milestone(str(number), 10_000)]) <= 20


def a_log(hosts: int, seconds: float) -> list[str]:
    """Return the milestones of a task whose hosts answer evenly over the seconds."""
    play = PlayProgress(names(hosts))
    lines = []
    for number, host in enumerate(names(hosts), 1):
        play.start(TASK, "Look", host, seconds * (number - 1) / hosts)
        play.finish(TASK, host, "protected", seconds * number / hosts)
        lines.append(play.milestone(TASK, seconds * number / hosts))
    return [line for line in lines if line]


def test_a_log_gets_a_line_per_quarter() -> None:
    assert a_log(100, 20) == [
        "Look: 25 of 100 hosts (25 %): 25 protected; 0:15 left",
        "Look: 50 of 100 hosts (50 %): 50 protected; 0:10 left",
        "Look: 75 of 100 hosts (75 %): 75 protected; 0:05 left",
        "Look: 100 hosts in 0:20: 100 protected",
    ]


def test_a_short_task_is_not_logged() -> None:
    assert a_log(1000, 1.9) == []
    assert a_log(19, 29) == []


def test_a_slow_task_of_few_hosts_is_logged() -> None:
    assert a_log(4, 100) == [
        "Look: 2 of 4 hosts (50 %): 2 protected",
        "Look: 4 hosts in 1:40: 4 protected",
    ]


@pytest.mark.parametrize("hosts", [10, 100, 3000])
@pytest.mark.parametrize("hours", [0.02, 0.5, 3, 48])
def test_a_task_gets_at_most_twelve_lines(hosts: int, hours: float) -> None:
    lines = a_log(hosts, hours * 3600)
    assert 2 <= len(lines) <= 12
    assert lines[-1].startswith(f"Look: {hosts} hosts in ")


@pytest.mark.parametrize(
    ("done", "total", "elapsed", "left"),
    [(30, 60, 10.0, 10.0), (1, 60, 10.0, None), (30, 60, 0.5, None), (60, 60, 10.0, None), (3, 6, 2.0, 2.0)],
)
def test_the_remaining_time_is_estimated(done: int, total: int, elapsed: float, left: float | None) -> None:
    assert time_left(done, total, elapsed) == left


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (0.1, "0:01"), (59.5, "1:00"), (750, "12:30"), (3723, "1:02:03")]
)
def test_durations_are_formatted(seconds: float, text: str) -> None:
    assert duration(seconds) == text
