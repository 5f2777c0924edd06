# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The end of processes. A killed one still ends its system call, and then releases its memory, files and locks."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Iterable

_SECONDS = 60


def kill(processes: Iterable[int]) -> None:
    """Kill processes, and wait until all have ended. They need not be children of this one."""
    handles = []
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            handles.append(os.pidfd_open(process))
    for handle in handles:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
    for handle in handles:
        select.select([handle], [], [], _SECONDS)
        os.close(handle)
