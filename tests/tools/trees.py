# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The folders in .build that contain this repository as `ansible_collections/kernelops/livepatch`.

Ansible finds a collection by its path. Tests use a symbolic link to the repository; tools that need a git checkout get
a copy.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / ".build"
COLLECTIONS = BUILD / "collections"
_COLLECTION = Path("ansible_collections", "kernelops", "livepatch")


def link_collection() -> Path:
    """Create the link to the repository in .build/collections, and return that folder."""
    link = COLLECTIONS / _COLLECTION
    if not link.is_symlink():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to("../../../..", target_is_directory=True)
    return COLLECTIONS


def copy_collection(collections: Path) -> Path:
    """Copy all tracked and untracked files that git does not ignore, and return the copy, a git checkout."""
    copy = collections / _COLLECTION
    shutil.rmtree(copy, ignore_errors=True)
    for name, source in _files():
        target = copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target, follow_symlinks=False)
    _git(copy, "init", "--quiet")
    _git(copy, "add", "--all")
    return copy


def fingerprint() -> str:
    """Return a digest of the names, modes and contents of all files that git does not ignore."""
    seen = hashlib.sha256()
    for name, source in sorted(_files()):
        content = str(source.readlink()).encode() if source.is_symlink() else source.read_bytes()
        seen.update(f"{name}\0{source.lstat().st_mode:o}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return seen.hexdigest()


def _files() -> Iterator[tuple[str, Path]]:
    for name in _git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0"):
        source = ROOT / name
        # A file that was deleted and not yet committed is still listed.
        if name and (source.is_file() or source.is_symlink()):
            yield name, source


def _git(directory: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments],
        cwd=directory,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout


if __name__ == "__main__":
    link_collection()
