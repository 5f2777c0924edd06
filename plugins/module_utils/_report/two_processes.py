# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Work for two processors."""

from __future__ import annotations

import collections.abc as c
import multiprocessing
import multiprocessing.connection
import os
import signal
import typing as t

_Share = t.TypeVar("_Share")
_Result = t.TypeVar("_Result")
# As Ansible itself starts the processes that run tasks. What is shared is not copied, and nothing is imported again.
_FORK = multiprocessing.get_context("fork")


class LostProcessError(RuntimeError):
    """The other process is gone, and with it its work."""


def in_two(work: c.Callable[[_Share], _Result], one: _Share, other: _Share) -> tuple[_Result, _Result]:
    """Do two shares of work at the same time, the other in a process of its own, and return what comes of them.

    The other process sees everything as it is now and can change nothing here; what comes of its share must be
    picklable. Where there is one processor only, one share is done after the other.
    Raises what the work raises, and `LostProcessError`.
    """
    if _processors() < 2:
        return work(one), work(other)
    receiver, sender = _FORK.Pipe(duplex=False)
    process = _FORK.Process(target=_answer, args=(sender, work, other), daemon=True)
    process.start()
    sender.close()
    try:
        mine = work(one)
        theirs, error = receiver.recv()
    except EOFError:
        process.join()
        raise LostProcessError(f"a process that had to do half of the work ended with {process.exitcode}") from None
    finally:
        # One that has answered is at its end. Where this one failed, nobody wants the answer.
        process.terminate()
        process.join()
        receiver.close()
    if error is not None:
        raise error
    return mine, theirs


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _answer(sender: multiprocessing.connection.Connection, work: c.Callable[[_Share], object], share: _Share) -> None:
    # An interrupt from the terminal reaches both processes; the first one then ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        answer: tuple[object, Exception | None] = (work(share), None)
    except Exception as error:
        answer = (None, error)
    sender.send(answer)
