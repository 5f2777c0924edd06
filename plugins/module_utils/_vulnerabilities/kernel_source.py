# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The source package of a kernel: versions can only be compared within one source package.

A host can report the source package of its running kernel. Otherwise it is derived from Ubuntu release, series and
flavour, which can leave several candidates; the versions that were published of each then identify it.
Source of the names: the Ubuntu archive, by release.
"""

from __future__ import annotations

import collections.abc as c
import re

from .._kernel_name import KernelName

CODENAMES = {
    "trusty": "14.04",
    "xenial": "16.04",
    "bionic": "18.04",
    "focal": "20.04",
    "jammy": "22.04",
    "noble": "24.04",
    "resolute": "26.04",
}
"""The long-term releases by codename."""

_FIRST_SERIES = {
    "14.04": "3.13",
    "16.04": "4.4",
    "18.04": "4.15",
    "20.04": "5.4",
    "22.04": "5.15",
    "24.04": "6.8",
    "26.04": "7.0",
}
_LTS_BACKPORTS = {"3.16": "utopic", "3.19": "vivid", "4.2": "wily", "4.4": "xenial"}
_OWN_LOWLATENCY_SOURCE = ("22.04", "24.04", "26.04")
_GENERIC = ("generic", "lowlatency", "virtual")
_PAGE_SIZE = re.compile(r"-(?:16k|64k|lpae)$")
_NAME = re.compile(r"linux(?:-[0-9a-z.+]+)*")
_NAME_LIMIT = 64


def is_kernel_source(name: str) -> bool:
    """Return True if a source package has a name as kernels have. Some other packages have such names too."""
    return len(name) <= _NAME_LIMIT and _NAME.fullmatch(name) is not None


def source_candidates(release: str, kernel: KernelName) -> tuple[str, ...]:
    """Return the source packages that a kernel of an Ubuntu release can be built from, the most probable first.

    Nothing for a release that is not a long-term release.
    """
    series, flavour = kernel.series, _PAGE_SIZE.sub("", kernel.flavour)
    if release not in _FIRST_SERIES or series is None:
        return ()
    if kernel.fips:
        variant = flavour.removesuffix("-fips") if flavour.endswith("-fips") else flavour
        return ("linux-fips",) if variant in (*_GENERIC, "fips") else (f"linux-{variant}-fips",)
    first = series == _FIRST_SERIES[release]
    if flavour in _GENERIC:
        return _of_generic(release, series, flavour, first=first)
    return _of_variant(release, series, flavour, first=first)


def any_flavour_sources(sources: c.Iterable[str]) -> frozenset[str]:
    """Return sources with those that notices name for them: low-latency kernels are part of the generic ones."""
    names = frozenset(sources)
    return names | {name.replace("-lowlatency", "") for name in names}


def _of_generic(release: str, series: str, flavour: str, *, first: bool) -> tuple[str, ...]:
    if release == "14.04" and not first:
        return (f"linux-lts-{_LTS_BACKPORTS[series]}",) if series in _LTS_BACKPORTS else ()
    if first:
        own = flavour == "lowlatency" and release in _OWN_LOWLATENCY_SOURCE
        return ("linux-lowlatency", "linux") if own else ("linux",)
    if release == "16.04":
        return ("linux-hwe", "linux-hwe-edge")
    named = (f"linux-hwe-{series}",)
    if release == "18.04":
        return (*named, "linux-hwe", "linux-hwe-edge")
    return (f"linux-lowlatency-hwe-{series}", *named) if flavour == "lowlatency" else named


def _of_variant(release: str, series: str, flavour: str, *, first: bool) -> tuple[str, ...]:
    plain, named = f"linux-{flavour}", f"linux-{flavour}-{series}"
    if release == "16.04" and not first:
        return (f"{plain}-hwe", plain) if flavour == "aws" else (plain,)
    if release == "14.04":
        return (plain,)
    if first and flavour != "oem":
        # Azure and Google moved on from the first series of 18.04, which then got a source of its own.
        return (named, plain) if release == "18.04" else (plain,)
    return (named, plain)
