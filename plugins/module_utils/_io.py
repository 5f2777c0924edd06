# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Files that somebody else may have laid: read only where they are regular, and no further than was meant."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import typing as t
from pathlib import Path


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


TEMPORARY_PREFIX = "."
"""How the names of unfinished files begin. A killed run can leave one behind; readers pass over them."""

_BUFFER = 256 * 1024  # bytes: a report of a large fleet is written in few calls


def write_atomically(path: Path, chunks: t.Iterable[str]) -> None:
    """Write the chunks as UTF-8 beside `path`, then put the result in its place, mode 0644 less the umask.

    Parent folders are made. Raises `OSError`; the file is then as it was before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}.tmp"
    # O_EXCL: never write through a link that somebody laid in a folder that many may write to.
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        with os.fdopen(descriptor, "w", _BUFFER, encoding="utf-8", newline="\n") as file:
            file.writelines(chunks)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def holds(path: Path, chunks: t.Iterable[str], *, besides: int | None = None) -> bool:
    """Tell whether the file has just this text. The chunk with the index `besides` may differ, not in length.

    A file that does not exist holds nothing. Raises `OSError` for one that cannot be read.
    """
    try:
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            same = all(file.read(len(chunk)) == chunk or index == besides for index, chunk in enumerate(chunks))
            return same and not file.read(1)
    except FileNotFoundError:
        return False
