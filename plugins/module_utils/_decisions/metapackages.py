# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The metapackages of Ubuntu's kernels, by release, series and flavour.

Each release has two lines of kernels: its own (GA), and that of the newest hardware enablement (HWE). Source: the
packages ``linux-meta``, ``linux-meta-hwe-*`` and ``linux-meta-{aws,azure,gcp,oracle}`` in the archive. The cloud
packages without a suffix follow the HWE line, and those with ``-lts-`` stay on the GA line ("Kernels on the cloud",
Ubuntu on public clouds documentation).
"""

from __future__ import annotations

import datetime
import typing as t

from .policy import AdmittedSystem


class KernelLines(t.NamedTuple):
    """The series of the two lines of a release: the latest one for HWE, None where a release has no HWE line yet."""

    ga: str
    hwe: str | None


_LINES = {
    "14.04": KernelLines("3.13", "4.4"),
    "16.04": KernelLines("4.4", "4.15"),
    "18.04": KernelLines("4.15", "5.4"),
    "20.04": KernelLines("5.4", "5.15"),
    "22.04": KernelLines("5.15", "6.8"),
    "24.04": KernelLines("6.8", "7.0"),
    "26.04": KernelLines("7.0", None),
}


class ProService(t.NamedTuple):
    """The service of Ubuntu Pro that has the kernels of a release, and the end of the support without it."""

    name: str
    since: datetime.date


_SUPPORT_ENDS = {
    # The ends of standard support and of ESM, after which only the Legacy add-on has kernels. Source: Ubuntu release
    # cycle, ubuntu.com/about/release-cycle.
    "14.04": (datetime.date(2019, 4, 25), datetime.date(2024, 4, 25)),
    "16.04": (datetime.date(2021, 4, 30), datetime.date(2026, 4, 30)),
    "18.04": (datetime.date(2023, 5, 31), datetime.date(2028, 4, 30)),
    "20.04": (datetime.date(2025, 5, 31), datetime.date(2030, 4, 30)),
    "22.04": (datetime.date(2027, 4, 30), datetime.date(2032, 4, 30)),
    "24.04": (datetime.date(2029, 5, 31), datetime.date(2034, 4, 30)),
    "26.04": (datetime.date(2031, 5, 31), datetime.date(2036, 4, 30)),
}
_CLOUDS = frozenset({"aws", "azure", "gcp", "oracle"})
_SERVER = frozenset({"generic", "lowlatency"})
FLAVOURS = _CLOUDS | _SERVER | {"gke", "gkeop", "ibm", "ibm-gt", "ibm-gt-tdx", "kvm", "oem", "raspi", "realtime"}
"""Flavours of Ubuntu's kernels without the FIPS builds. Any other flavour is that of another builder."""

# On 16.04, the cloud packages had not got their suffixes yet.
_XENIAL = {
    ("4.4", "aws"): "linux-image-aws",
    ("4.15", "aws"): "linux-image-aws-hwe",
    ("4.15", "azure"): "linux-image-azure",
    ("4.15", "gcp"): "linux-image-gcp",
    ("4.15", "oracle"): "linux-image-oracle",
}


def metapackage(release: str, series: str, flavour: str) -> str | None:
    """Return the metapackage that leads to the newest kernel of this series and flavour; None if none is known.

    An HWE series that a later one has replaced (6.11 on 24.04) has no metapackage: its package leads to the later one.
    """
    lines = _LINES.get(release)
    if lines is None or series not in lines:
        return None
    is_ga = series == lines.ga
    if flavour in _SERVER:
        if release == "14.04":
            return f"linux-image-{flavour}" if is_ga else f"linux-{flavour}-lts-xenial"
        return f"linux-image-{flavour}" if is_ga else f"linux-image-{flavour}-hwe-{release}"
    if flavour not in _CLOUDS or release == "14.04":
        return None
    if release == "16.04":
        return _XENIAL.get((series, flavour))
    return f"linux-image-{flavour}-lts-{release}" if is_ga and lines.hwe else f"linux-image-{flavour}"


def pro_service(release: str | None, at: datetime.datetime | None) -> ProService | None:
    """Return the service of Ubuntu Pro without which a release gets no kernels at this time; None if it needs none."""
    ends = _SUPPORT_ENDS.get(release or "")
    if ends is None or at is None or at.date() <= ends[0]:
        return None
    return ProService("esm-infra" if at.date() <= ends[1] else "esm-infra-legacy", ends[0])


def preferred_row(rows: t.Sequence[AdmittedSystem], running: str | None) -> AdmittedSystem:
    """Return the row of one release whose series a host should run.

    The running series comes first, then a newer one, which the boot loader starts by itself. Among several, a series
    with a metapackage is preferred, then that of the GA line, then the newest. There must be at least one row.
    """

    def rank(row: AdmittedSystem) -> tuple[bool, bool, bool, bool, tuple[int, ...]]:
        lines = _LINES.get(row.release)
        number = series_number(row.series)
        newer = running is not None and number > series_number(running)
        return (
            row.series != running,
            not newer,
            lines is None or row.series not in lines,
            lines is None or row.series != lines.ga,
            tuple(-part for part in number),
        )

    return min(rows, key=rank)


def series_number(series: str) -> tuple[int, ...]:
    """Return a key by which series sort: (4, 15) is newer than (4, 4)."""
    return tuple(int(number) for number in series.split("."))
