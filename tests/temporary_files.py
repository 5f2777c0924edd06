# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The place of the temporary files of tests."""

from __future__ import annotations

import os
import re
from pathlib import Path

_MEMORY = Path("/dev/shm")  # noqa: S108  (a place for files of one run)
_ENOUGH_BYTES = 4 << 30


def keep_in_memory() -> None:
    """Put the folders of pytest into memory if there is enough.

    The lab writes tens of thousands of small files, and stores wait until each of theirs is on the disk.
    """
    if "PYTEST_DEBUG_TEMPROOT" in os.environ or not os.access(_MEMORY, os.W_OK):
        return
    place = os.statvfs(_MEMORY)
    available = re.search(r"^MemAvailable: *(\d+) kB", Path("/proc/meminfo").read_text("ascii"), re.MULTILINE)
    least = min(place.f_bavail * place.f_frsize, int(available[1]) * 1024 if available else 0)
    if least >= _ENOUGH_BYTES and not place.f_flag & os.ST_NOEXEC:
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(_MEMORY)
