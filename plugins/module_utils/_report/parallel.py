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

_NUMBER_SIZE = 4  # bytes

# Forked processes inherit the work, so that neither it nor the shares need to be picklable.
_job: tuple[c.Callable[[t.Any], t.Any], c.Sequence[t.Any], _Queue] | None = None


def run_shared(work: c.Callable[[_Share], _Result], shares: c.Sequence[_Share]) -> list[_Result]:
    """Do all shares of work and return their results, in order.

    This process does the first share, and each other process one of those after it. Whichever process is ready does the
    next one, so the work takes the least time if the longest shares are the first ones. The results of other processes
    must be picklable. With one processor, everything is done here.
    Raises what the work raises, and `LivepatchError` (``process_lost``) where another process was killed.
    """
    workers = min(len(shares), processors()) - 1
    if workers < 1:
        return [work(share) for share in shares]
    global _job  # noqa: PLW0603  (inherited by the forks; this is the only writer)
    queue = _Queue(range(workers + 1, len(shares)))
    _job = (work, shares, queue)
    pool = concurrent.futures.ProcessPoolExecutor(workers, _FORK, _start_worker)
    try:
        futures: list[concurrent.futures.Future[tuple[int, t.Any] | None]]
        futures = [pool.submit(_do_share, number) for number in range(1, workers + 1)]
        # A pool takes tasks long before it begins them, so its later ones have no number yet.
        futures += [pool.submit(_do_next) for _share in shares[workers + 1 :]]
        results = [_do_share(0)]
        while (own := _do_next()) is not None:
            results.append(own)
        results += [found for found in (future.result() for future in futures) if found is not None]
        return [result for _number, result in sorted(results, key=lambda found: found[0])]
    except concurrent.futures.process.BrokenProcessPool as error:
        raise LivepatchError(
            "process_lost",
            "the report is not complete: a process that did a share of the work was killed",
            "check in the system log of the controller whether memory was short, and run again",
        ) from error
    finally:
        _job = None
        pool.shutdown(cancel_futures=True)
        queue.close()


class _Queue:
    """Numbers for several processes, each of which one process takes.

    They are in a pipe: reading is atomic, and unlike a lock, no killed process can keep it.
    """

    def __init__(self, numbers: c.Iterable[int]) -> None:
        self._receive, send = os.pipe()
        with os.fdopen(send, "wb") as pipe:
            pipe.writelines(number.to_bytes(_NUMBER_SIZE, "big") for number in numbers)

    def take(self) -> int | None:
        """Return the next number, or None if there is no more."""
        number = os.read(self._receive, _NUMBER_SIZE)
        return int.from_bytes(number, "big") if number else None

    def close(self) -> None:
        os.close(self._receive)


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


def _do_share(number: int) -> tuple[int, t.Any]:
    work, shares, _queue = t.cast("tuple[c.Callable[[t.Any], t.Any], c.Sequence[t.Any], _Queue]", _job)
    return number, work(shares[number])


def _do_next() -> tuple[int, t.Any] | None:
    """Do the next share that no process has begun. Return None if there is none."""
    _work, _shares, queue = t.cast("tuple[c.Callable[[t.Any], t.Any], c.Sequence[t.Any], _Queue]", _job)
    number = queue.take()
    return None if number is None else _do_share(number)
