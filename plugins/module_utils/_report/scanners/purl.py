# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Package URLs of the installed packages of a kernel, as vulnerability scanners write them.

A VEX statement applies to a package of a scanner if type, namespace, name and version are equal and all qualifiers of
the statement are among those of the scanner. Scanners write ``arch`` and, in different forms, ``distro``: only the
former is part of these package URLs.
"""

from __future__ import annotations

import collections.abc as c
import re
import urllib.parse

from ..._kernel_name import KernelName

_NAME = re.compile(r"linux-[a-z0-9+.-]{1,200}")
_VERSION = re.compile(r"[0-9][0-9A-Za-z.~+:-]{0,127}")
_ARCHITECTURE = re.compile(r"[a-z0-9-]{1,32}")
_FOR_ALL_FLAVOURS = re.compile(r"linux-(?:[a-z0-9.-]+-)?headers-[0-9.]+-[0-9]+")
"""Headers that the flavours of a kernel share. They are built for all architectures."""


def running_packages(kernel: KernelName, packages: c.Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return the packages, name and version, that have the code of the running kernel: sorted, each once.

    These have its version and its release or ABI at the end of their names. Packages of other installed kernels have
    not, and a live patch does not protect them.
    """
    if kernel.upload is None:
        return ()
    version = kernel.package_version
    endings = (f"-{kernel.release}", f"-{kernel.version}-{kernel.abi}{kernel.suffix}")
    # The source package of signed images can add a number to the version.
    same = re.compile(re.escape(version) + r"(?:\+[0-9]+)?")
    return tuple(
        sorted(
            {
                (name, installed)
                for name, installed in packages
                if name.endswith(endings) and _NAME.fullmatch(name) and same.fullmatch(installed)
            }
        )
    )


def package_url(name: str, version: str, architecture: str) -> str | None:
    """Return the package URL of an installed package of Ubuntu; ``None`` for values that are not valid."""
    if not (_NAME.fullmatch(name) and _VERSION.fullmatch(version) and _ARCHITECTURE.fullmatch(architecture)):
        return None
    shown = "all" if _FOR_ALL_FLAVOURS.fullmatch(name) else architecture
    encoded = urllib.parse.quote(version, safe="")
    return f"pkg:deb/ubuntu/{urllib.parse.quote(name, safe='')}@{encoded}?arch={shown}"
