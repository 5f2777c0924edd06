# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Files that somebody else may have laid: read only where they are regular, and no further than was meant."""

from __future__ import annotations

import errno
import os
import stat
import typing as t


def open_regular(path: str) -> t.BinaryIO:
    """Open a regular file to be read. Raises `OSError` for any other, too."""
    # A pipe would keep the caller waiting.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "this is no regular file")
    return open(descriptor, "rb")


def read_bounded(path: str, limit: int) -> bytes:
    """The content of a regular file of at most `limit` bytes. Raises `OSError` for any other, too."""
    with open_regular(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"the file is larger than {limit >> 20} MiB")
    return data
