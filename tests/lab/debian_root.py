# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Roots of small Debian systems, built from packages without mounting anything, and cached by their recipes."""

from __future__ import annotations

import fcntl
import io
import platform
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from .vm.debian_packages import UnavailableError

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


def write_archive(target: Path, files: Mapping[str, bytes], programs: Mapping[str, bytes]) -> None:
    """Write a tar archive of files that belong to root, for the hook ``tar-in`` of `mmdebstrap`."""
    with tarfile.open(target, "w") as tar:
        for mode, contents in ((0o644, files), (0o755, programs)):
            for name, content in contents.items():
                entry = tarfile.TarInfo(name)
                # sshd refuses a private key that others can read.
                entry.size, entry.mode = len(content), 0o600 if name.endswith("_key") else mode
                tar.addfile(entry, io.BytesIO(content))


def make_root(
    target: Path,
    packages: Iterable[str],
    hooks: Iterable[str] = (),
    *,
    early_hooks: Iterable[str] = (),
    release: str | None = None,
) -> None:
    """Create the root of a Debian as a tar archive, by default of this machine's release.

    `hooks` are those of `mmdebstrap` that it runs at the end, and `early_hooks` those before it installs `packages`.
    Raises `UnavailableError` without an archive of this release, or without its keys.
    """
    release = release or debian_release()
    command = [
        *("mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(packages)}"),
        *(f"--dpkgopt=path-exclude={each}" for each in EXCLUDED),
        *(f"--essential-hook={hook}" for hook in early_hooks),
        *(f"--customize-hook={hook}" for hook in hooks),
        *(release, str(target)),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if "apt-get update" in ended.stderr and ended.returncode != 0:
        raise UnavailableError(f"no archive of Debian {release} can be used: {ended.stderr.strip()[-500:]}")
    if ended.returncode != 0:
        raise RuntimeError(f"mmdebstrap failed:\n{ended.stdout[-2000:]}{ended.stderr[-4000:]}")
