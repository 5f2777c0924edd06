# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Safe access to files that another user may have created: regular files only, bounded reads, atomic writes."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import typing as t
from pathlib import Path

from ._errors import LivepatchError


def open_regular(path: str) -> t.BinaryIO:
    """Open a regular file for reading. Raises `OSError`, also for any other kind of file."""
    # Opening a pipe would block.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file")
    return open(descriptor, "rb")


def read_bounded(path: str, limit: int) -> bytes:
    """Return the content of a regular file. Raises `OSError`, also for more than `limit` bytes."""
    with open_regular(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"the file is larger than {limit >> 20} MiB")
    return data


def file_error(error: OSError, path: str, remedy: str) -> LivepatchError:
    """Return the error (``files``) for a file or folder that cannot be used. `path` is used if `error` has no path."""
    return LivepatchError("files", f"cannot use {error.filename or path}: {error.strerror or error}", remedy)


TEMPORARY_PREFIX = "."
"""Prefix of unfinished files. A killed run can leave one; readers skip them."""

_BUFFER = 256 * 1024  # bytes: a large report is written in few calls


def write_atomically(path: Path, chunks: t.Iterable[str]) -> None:
    """Write the chunks as UTF-8 to a temporary file in the same folder, then rename it to `path`.

    The mode is 0644 less the umask. Parent folders are created. Raises `OSError`; the file is then unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}.tmp"
    # O_EXCL: never follow a link that another user created in a shared folder.
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        with os.fdopen(descriptor, "w", _BUFFER, encoding="utf-8", newline="\n") as file:
            file.writelines(chunks)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def has_content(path: Path, chunks: t.Iterable[str], *, ignore: int | None = None) -> bool:
    """Return True if the file has exactly this text. The chunk with the index `ignore` may differ, with equal length.

    A file that does not exist has no content. Raises `OSError` for one that cannot be read.
    """
    try:
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            same = all(file.read(len(chunk)) == chunk or index == ignore for index, chunk in enumerate(chunks))
            return same and not file.read(1)
    except FileNotFoundError:
        return False
