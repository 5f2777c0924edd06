# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Tests of calls that take too long or use too much memory. Those with connections are in tests/components."""

from __future__ import annotations

import signal
import threading
import typing as t

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._interruption import (
    DeadlineError,
    MemoryLimitError,
    call_within,
    call_within_memory,
)

MEBIBYTE = 1 << 20


class _OtherAlarm(BaseException):
    """Raised by an alarm that was set before."""


@pytest.fixture
def other_alarm() -> t.Iterator[None]:
    def handle(_signal: int, _frame: object) -> None:
        raise _OtherAlarm

    previous = signal.signal(signal.SIGALRM, handle)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, previous)


@pytest.mark.usefixtures("other_alarm")
def test_an_earlier_alarm_counts() -> None:
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    with pytest.raises(_OtherAlarm):
        call_within(60, signal.pause)


@pytest.mark.usefixtures("other_alarm")
def test_a_later_alarm_is_set_again() -> None:
    signal.setitimer(signal.ITIMER_REAL, 60)
    with pytest.raises(DeadlineError):
        call_within(0.1, signal.pause)
    assert 50 < signal.getitimer(signal.ITIMER_REAL)[0] < 60
    assert call_within(5, lambda: "answer") == "answer"
    assert 50 < signal.getitimer(signal.ITIMER_REAL)[0] < 60
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    with pytest.raises(_OtherAlarm):
        signal.pause()


def test_a_connection_that_catches_every_exception_is_interrupted() -> None:
    """As the plugin `ssh` does with retries."""
    attempts = []

    def stubborn() -> None:
        for number in range(3):
            attempts.append(number)
            try:
                signal.pause()
            except Exception:  # noqa: S112  (this is what the test is about)
                continue

    with pytest.raises(DeadlineError):
        call_within(0.1, stubborn)
    assert attempts == [0]


def test_another_thread_has_no_deadline() -> None:
    answers: list[str] = []

    def ask() -> None:
        answers.append(call_within(0.001, lambda: "answer"))
        answers.append(call_within_memory(0, lambda: "large answer"))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert answers == ["answer", "large answer"]


def test_a_connection_that_catches_every_exception_is_too_large() -> None:
    attempts = []

    def stubborn() -> None:
        kept = []
        for number in range(3):
            attempts.append(number)
            try:
                while True:
                    kept.append(bytes(MEBIBYTE))
            except Exception:  # noqa: S112  (this is what the test is about)
                continue

    with pytest.raises(MemoryLimitError):
        call_within_memory(64 * MEBIBYTE, stubborn)
    assert attempts == [0]
    assert signal.getitimer(signal.ITIMER_PROF)[0] == 0
    assert call_within(5, lambda: call_within_memory(64 * MEBIBYTE, lambda: "answer")) == "answer"


def test_a_deadline_interrupts_a_call_with_a_memory_limit() -> None:
    with pytest.raises(DeadlineError):
        call_within(0.1, lambda: call_within_memory(64 * MEBIBYTE, signal.pause))
