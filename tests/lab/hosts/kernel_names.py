# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Names of a described kernel: ``uname``, ``/proc/version``, ``/proc/version_signature``, its modules."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re

from .description import DescriptionError, Kernel

_UTS_FIELD = 64
"""Characters of ``uname -v``: the kernel cuts longer texts, also in /proc/version."""

_FULL = re.compile(r"(?P<base>\d+\.\d+\.\d+)-(?P<abi>\d+)\.(?P<upload>\d(?:[0-9.~+a-z]*?\d)?)-(?P<flavour>[a-z].*)")


@dataclasses.dataclass(frozen=True)
class KernelIdentity:
    """The names that a kernel shows. `signature` is None for a kernel that Ubuntu did not build."""

    release: str
    version: str
    proc_version: str
    signature: str | None
    status_name: str
    """The name in the client's status."""


def identify(kernel: Kernel) -> KernelIdentity:
    """Derive every name of a kernel from its description. Raises `DescriptionError`."""
    if kernel.full is None:
        if kernel.release is None or kernel.version is None:
            raise DescriptionError("a kernel needs `full`, or `release` and `version`")
        release, version, signature, name = kernel.release, kernel.version, None, kernel.release
    else:
        parts = _FULL.fullmatch(kernel.full)
        if parts is None:
            raise DescriptionError(f"{kernel.full} is not a full kernel name such as 4.4.0-168.197-generic")
        release = f"{parts['base']}-{parts['abi']}-{parts['flavour']}"
        built = dt.datetime.fromisoformat(kernel.built).strftime("%a %b %-d %H:%M:%S UTC %Y")
        preemption = f" {kernel.preemption}" if kernel.preemption else ""
        version = f"#{parts['upload']}-Ubuntu SMP{preemption} {built}"[:_UTS_FIELD]
        signature = f"Ubuntu {kernel.full} {kernel.upstream}" if kernel.shows_signature else None
        name = kernel.full
    proc_version = f"Linux version {release} ({kernel.builder}) ({kernel.compiler}) {version}"
    return KernelIdentity(release, version, proc_version, signature, name)


def module_name(kernel_full: str, patch_version: str) -> str:
    """Return the name of a patch's module: every character that C does not allow becomes ``_``."""
    return f"lkp_{_c_name(kernel_full)}_{patch_version.partition('.')[0]}"


def lock_name(kernel_full: str, patch_version: str) -> str:
    """Return the name of the daemon's lock file for a patch that may have crashed the kernel."""
    return f"livepatch_{_c_name(kernel_full)}_{patch_version.partition('.')[0]}_{patch_version}"


def _c_name(kernel_full: str) -> str:
    return "Ubuntu_" + re.sub("[^A-Za-z0-9]", "_", kernel_full)
