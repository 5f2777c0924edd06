# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Roots of small Debian systems, built from packages without mounting anything, and cached by their recipes."""

from __future__ import annotations

import fcntl
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

EXCLUDED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
"""Paths of packages that are not installed."""


def debian_release() -> str:
    """Return the codename of the Debian release of this machine."""
    return platform.freedesktop_os_release().get("VERSION_CODENAME", "stable")


def cached_folder(cache: Path, recipe: str, build: Callable[[Path], None]) -> Path:
    """Return the folder of a recipe below `cache`. If it is missing, remove the others and build it in a new one."""
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / recipe
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            for leftover in cache.iterdir():
                if leftover.is_dir():
                    shutil.rmtree(leftover)
            part = folder.with_suffix(".part")
            part.mkdir()
            build(part)
            part.rename(folder)
    return folder


def make_root(target: Path, packages: Iterable[str], hooks: Iterable[str] = ()) -> None:
    """Create the root of a Debian of this machine's release as a tar archive. `hooks` are those of `mmdebstrap`."""
    command = [
        *("mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(packages)}"),
        *(f"--dpkgopt=path-exclude={each}" for each in EXCLUDED),
        *(f"--customize-hook={hook}" for hook in hooks),
        *(debian_release(), str(target)),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise RuntimeError(f"mmdebstrap failed:\n{ended.stdout[-2000:]}{ended.stderr[-4000:]}")
