# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Interrupt a call that takes too long or uses too much memory, whatever it does.

Connections of Ansible have neither limit: they wait for a host, and keep everything that it sends. Only the main thread
can be interrupted: in other threads there is no limit.
"""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import threading
import traceback
import typing as t

_T = t.TypeVar("_T")

_CPU_SECONDS = 0.02
"""Seconds of processor time between two measurements of the memory. A process that waits for a host uses none."""

_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


class DeadlineError(TimeoutError):
    """The call did not return in time."""


class MemoryLimitError(Exception):
    """The call used more memory than allowed."""


class _Interrupted(BaseException):
    """Raised by the signal handlers. Not an `Exception`, because connections catch those and try again."""


def call_within(seconds: float, call: t.Callable[[], _T]) -> _T:
    """Call a function, and interrupt it after a number of seconds. Raises `DeadlineError`.

    This uses the alarm of the process, as the keyword ``timeout`` of an Ansible task does. If an alarm is already set,
    the earlier of the two counts, and that alarm is set again at the end. A process that the interrupted call was
    waiting for is killed.
    """
    remaining = signal.getitimer(signal.ITIMER_REAL)[0]
    if 0 < remaining <= seconds or not _is_main_thread():
        return call()
    alarm = _Alarm(lambda: True)
    previous = signal.signal(signal.SIGALRM, alarm)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        return alarm.guard(call)
    except _Interrupted as interrupted:
        if interrupted.args != (alarm,):
            raise
        _kill_awaited(interrupted)
        raise DeadlineError from None
    finally:
        alarm.armed = False
        left = signal.setitimer(signal.ITIMER_REAL, 0)[0]
        signal.signal(signal.SIGALRM, previous)
        if remaining:
            # An alarm that is due by now must still be raised, and zero would disable it.
            signal.setitimer(signal.ITIMER_REAL, max(remaining - (seconds - left), 0.001))


def call_within_memory(limit: int, call: t.Callable[[], _T]) -> _T:
    """Call a function, and interrupt it when the process has grown by `limit` bytes. Raises `MemoryLimitError`.

    The memory is measured after every `_CPU_SECONDS` of processor time, so that the limit is exceeded by what a process
    can receive in that time. A process that the interrupted call was reading from is killed. A profiler that uses the
    same timer is not disturbed: then there is no limit.
    """
    if signal.getitimer(signal.ITIMER_PROF)[0] or not _is_main_thread():
        return call()
    allowed = _peak_memory() + limit
    alarm = _Alarm(lambda: _peak_memory() > allowed)
    previous = signal.signal(signal.SIGPROF, alarm)
    try:
        signal.setitimer(signal.ITIMER_PROF, _CPU_SECONDS, _CPU_SECONDS)
        return alarm.guard(call)
    except _Interrupted as interrupted:
        if interrupted.args != (alarm,):
            raise
        _kill_awaited(interrupted)
        raise MemoryLimitError from None
    finally:
        alarm.armed = False
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)


class _Alarm:
    """The handler of a signal. It interrupts once, while it is armed and if the condition holds."""

    def __init__(self, condition: t.Callable[[], bool]) -> None:
        self.armed = True
        self._condition = condition

    def __call__(self, _signal: int, _frame: object) -> None:
        if self.armed and self._condition():
            self.armed = False
            raise _Interrupted(self)

    def guard(self, call: t.Callable[[], _T]) -> _T:
        try:
            return call()
        finally:
            self.armed = False


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _peak_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT


def _kill_awaited(error: BaseException) -> None:
    """Kill the processes that the interrupted functions hold, such as an ssh client: they would wait without limit."""
    for frame, _line in traceback.walk_tb(error.__traceback__):
        for value in list(frame.f_locals.values()):
            if isinstance(value, subprocess.Popen) and value.poll() is None:
                value.kill()
                value.wait()
