# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Share work among all processors: this process and forked ones, which see everything as it is when they start."""

from __future__ import annotations

import collections.abc as c
import concurrent.futures
import concurrent.futures.process
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import typing as t

from .._errors import LivepatchError

_Share = t.TypeVar("_Share")
_Result = t.TypeVar("_Result")
_FORK = multiprocessing.get_context("fork")

# Forked processes inherit the work, so that neither it nor the shares need to be picklable.
_job: tuple[c.Callable[[t.Any], t.Any], c.Sequence[t.Any]] | None = None


def run_shared(work: c.Callable[[_Share], _Result], shares: c.Sequence[_Share]) -> list[_Result]:
    """Do all shares of work and return their results, in order.

    This process does the first share; other processes do the rest, in order, and this process helps from the end. The
    results of other processes must be picklable. With one processor, everything is done here.
    Raises what the work raises, and `LivepatchError` (``process_lost``) where another process was killed.
    """
    workers = min(len(shares), processors()) - 1
    if workers < 1:
        return [work(share) for share in shares]
    global _job  # noqa: PLW0603  (inherited by the forks; this is the only writer)
    _job = (work, shares)
    pool = concurrent.futures.ProcessPoolExecutor(workers, _FORK, _start_worker)
    try:
        futures = [pool.submit(_do_share, number) for number in range(1, len(shares))]
        results = {0: work(shares[0])}
        for number in range(len(shares) - 1, 0, -1):
            if futures[number - 1].cancel():
                results[number] = work(shares[number])
        results |= {number: futures[number - 1].result() for number in range(1, len(shares)) if number not in results}
        return [results[number] for number in range(len(shares))]
    except concurrent.futures.process.BrokenProcessPool as error:
        raise LivepatchError(
            "process_lost",
            "the report is not complete: a process that did a share of the work was killed",
            "check in the system log of the controller whether memory was short, and run again",
        ) from error
    finally:
        _job = None
        pool.shutdown(cancel_futures=True)


def processors() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start_worker() -> None:
    # An interrupt from the terminal reaches all processes; the first one then ends the others. Ansible's handler of
    # SIGTERM, which forks inherit, would keep the pool from ending its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    """Exit when the first process is gone: a pool's worker would wait for its next share for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def _do_share(number: int) -> t.Any:
    work, shares = t.cast("tuple[c.Callable[[t.Any], t.Any], c.Sequence[t.Any]]", _job)
    return work(shares[number])
