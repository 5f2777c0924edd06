# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The waits that tasks are built from, with a clock that only moves when the task sleeps."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks import commands
from tests.samples.replay import ConnectionLost, Replay, sections


def no_script(_command: commands.RunScript) -> None:
    raise AssertionError("this task runs no script")


def polled(replay: Replay, seconds: float, answers: list[str | None]) -> str | None:
    """The result of `poll` over attempts that take a second each."""
    left = iter(answers)

    def attempt() -> commands.Task[str | None]:
        replay.elapsed += 1
        return next(left, None)
        yield

    def task() -> commands.Task[dict[str, t.Any]]:
        return {"found": (yield from commands.poll(seconds, attempt))}

    return t.cast("str | None", replay.run(task())["found"])


def test_poll_doubles_its_pauses() -> None:
    replay = Replay(no_script)
    assert polled(replay, 600, [None] * 7 + ["there"]) == "there"
    assert replay.sleeps == [0.5, 1, 2, 4, 8, 15, 15]


def test_poll_returns_a_first_answer_at_once() -> None:
    replay = Replay(no_script)
    assert polled(replay, 0, ["there"]) == "there"
    assert replay.sleeps == []


def test_poll_ends_at_its_deadline() -> None:
    replay = Replay(no_script)
    assert polled(replay, 10, [None] * 9) is None
    assert replay.elapsed >= 10
    assert replay.elapsed - 1 <= 10  # the last attempt begins at the deadline


def test_a_script_that_may_fail_hides_every_failure() -> None:
    answers: list[t.Any] = [LivepatchError("x", "m"), ConnectionLost(), None, sections(complete=False), sections(a="1")]

    def task() -> commands.Task[dict[str, t.Any]]:
        found = []
        for _each in range(len(answers)):
            found.append((yield from commands.try_script("probe", {})))
        return {"found": found}

    left = iter(answers)
    replay = Replay(lambda _command: next(left))
    assert replay.run(task())["found"] == [None, None, None, None, answers[-1]]
    assert replay.resets == 4


def test_an_error_of_a_command_is_raised() -> None:
    def task() -> commands.Task[dict[str, t.Any]]:
        try:
            yield from commands.run_script(("probe", "patch"), {})
        except LivepatchError as error:
            return {"caught": error.id}
        return {}

    def refuse(_command: commands.RunScript) -> t.Any:
        raise LivepatchError("script_did_not_run", "m")

    assert Replay(refuse).run(task()) == {"caught": "script_did_not_run"}


def test_a_lost_connection_ends_a_task() -> None:
    def task() -> commands.Task[dict[str, t.Any]]:
        yield from commands.run_script("probe", {})
        return {}

    with pytest.raises(ConnectionLost):
        Replay(lambda _command: ConnectionLost()).run(task())
