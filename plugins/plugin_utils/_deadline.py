# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A deadline for a round trip: a host that never answers must not block the run."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
import traceback
import typing as t

_T = t.TypeVar("_T")


class DeadlineError(TimeoutError):
    """The call did not return in time."""


class _Expired(BaseException):
    """Raised by the signal handler. Not an `Exception`, because connections catch those and try again."""


def call_within(seconds: float, call: t.Callable[[], _T]) -> _T:
    """Call a function, and interrupt it after a number of seconds. Raises `DeadlineError`.

    This uses the alarm of the process, as the keyword ``timeout`` of an Ansible task does. If an alarm is already set,
    the earlier of the two counts, and that alarm is set again at the end. A process that the interrupted call was
    waiting for is killed. Only the main thread can be interrupted: in other threads there is no deadline.
    """
    remaining = signal.getitimer(signal.ITIMER_REAL)[0]
    if 0 < remaining <= seconds or threading.current_thread() is not threading.main_thread():
        return call()
    started = time.monotonic()
    alarm = _Alarm()
    previous = signal.signal(signal.SIGALRM, alarm)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            return call()
        finally:
            alarm.armed = False
    except _Expired as expired:
        _kill_awaited(expired)
        raise DeadlineError from None
    finally:
        alarm.armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        if remaining:
            # An alarm that is due by now must still be raised, and zero would disable it.
            signal.setitimer(signal.ITIMER_REAL, max(remaining - (time.monotonic() - started), 0.001))


class _Alarm:
    """The handler of the signal. It raises only while it is armed."""

    def __init__(self) -> None:
        self.armed = True

    def __call__(self, _signal: int, _frame: object) -> None:
        if self.armed:
            self.armed = False
            raise _Expired


def _kill_awaited(expired: _Expired) -> None:
    """Kill the processes that the interrupted functions hold, such as an ssh client: they would wait without limit."""
    for frame, _line in traceback.walk_tb(expired.__traceback__):
        for value in list(frame.f_locals.values()):
            if isinstance(value, subprocess.Popen) and value.poll() is None:
                value.kill()
                value.wait()
