# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Folders and files on the controller that a run reads or writes, checked without a change."""

from __future__ import annotations

import os
from pathlib import Path

from .faults import quoted

_LEAST_BYTES = 1 << 20
_BYTES_OF_A_HOST = 16 << 10


def unwritable(folder: Path, hosts: int) -> str | None:
    """Return the reason why files for a number of hosts cannot be written to a folder, or None.

    The folder need not exist. Nothing is created.
    """
    try:
        return _unwritable(folder, hosts)
    except OSError as error:
        return f"{quoted(str(folder))} cannot be used: {error.strerror}"


def _unwritable(folder: Path, hosts: int) -> str | None:
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        return f"{existing} is not a folder"
    if not os.access(existing, os.W_OK | os.X_OK):
        return f"{existing} is not writable for the user who runs Ansible"
    return _no_room(existing, hosts)


def unwritable_file(path: Path) -> str | None:
    """Return the reason why a file cannot be written, or None."""
    try:
        if path.is_dir():
            return f"{path} is a folder, not a file"
        if path.exists() and not os.access(path, os.W_OK):
            return f"{path} is not writable for the user who runs Ansible"
    except OSError as error:
        return f"{quoted(str(path))} cannot be used: {error.strerror}"
    return unwritable(path.parent, 0)


def unreadable_file(path: Path) -> str | None:
    """Return the reason why a file cannot be read, or None."""
    if not path.is_file():
        return f"{path} is not a file on the controller"
    return None if os.access(path, os.R_OK) else f"{path} is not readable for the user who runs Ansible"


def _no_room(folder: Path, hosts: int) -> str | None:
    disk = os.statvfs(folder)
    wanted = _LEAST_BYTES + hosts * _BYTES_OF_A_HOST
    # A file system without a size, as some in memory, has no blocks.
    if disk.f_blocks and disk.f_bavail * disk.f_frsize < wanted:
        return f"the disk of {folder} has {disk.f_bavail * disk.f_frsize >> 10} KiB left, of {wanted >> 10} needed"
    if disk.f_files and not disk.f_favail:
        return f"the disk of {folder} has no inodes left"
    return None
